//! MQTT-SN by hand: a socket that speaks messages, and a blocking node on top of it.
//!
//! The node is written from the standard, apart from `shared::client`: a test of the gateway
//! must not rest on the machine that the gateway was built together with.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use shared::wire::{
    Acknowledgement, Connect, Disconnect, Message, MsgId, PingReq, Publish, QoS, Register,
    ReturnCode, ShortName, Subscribe, TopicFilter, TopicId, TopicRef, WireError,
};

use crate::carrier::Attachment;

/// A node's way to one gateway: a UDP socket of its own port, or a place at a [`Carrier`].
///
/// [`Carrier`]: crate::Carrier
#[derive(Debug)]
pub struct SnSocket(Way);

#[derive(Debug)]
enum Way {
    Udp(UdpSocket),
    Carried(Attachment),
}

/// One datagram as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram(pub Vec<u8>);

impl Datagram {
    /// Reads the message.
    ///
    /// # Errors
    /// Why it is not one.
    pub fn message(&self) -> Result<Message<'_>, WireError> {
        Message::parse(&self.0)
    }
}

impl SnSocket {
    /// Opens a socket towards the gateway at `gateway`.
    ///
    /// # Errors
    /// The system's error.
    pub fn open(gateway: SocketAddr) -> Result<Self> {
        let local = if gateway.is_ipv6() {
            IpAddr::from(Ipv6Addr::LOCALHOST)
        } else {
            IpAddr::from(Ipv4Addr::LOCALHOST)
        };
        Self::open_from((local, 0).into(), gateway)
    }

    /// Opens a socket at `local`, which may be any address of the loopback.
    ///
    /// # Errors
    /// The system's error.
    pub fn open_from(local: SocketAddr, gateway: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind(local)?;
        socket.connect(gateway)?;
        Ok(Self(Way::Udp(socket)))
    }

    pub(crate) const fn carried(attachment: Attachment) -> Self {
        Self(Way::Carried(attachment))
    }

    /// Returns the socket's own address.
    ///
    /// # Errors
    /// The system's error, or that it is a place at a carrier.
    pub fn local_addr(&self) -> Result<SocketAddr> {
        match &self.0 {
            Way::Udp(socket) => Ok(socket.local_addr()?),
            Way::Carried(_) => bail!("a place at a carrier has no address"),
        }
    }

    /// Sends one message.
    ///
    /// # Errors
    /// Where the message does not fit a datagram, or the system's error.
    pub fn send(&self, message: &Message<'_>) -> Result<()> {
        let mut buffer = vec![0; message.encoded_len()];
        let len = message.emit(&mut buffer).context("cannot emit")?;
        self.send_bytes(&buffer[..len])
    }

    /// Sends any bytes as one datagram.
    ///
    /// # Errors
    /// The system's error.
    pub fn send_bytes(&self, bytes: &[u8]) -> Result<()> {
        let socket = match &self.0 {
            Way::Udp(socket) => socket,
            Way::Carried(attachment) => return attachment.send(bytes),
        };
        match socket.send(bytes) {
            Ok(_) => Ok(()),
            // The answer to an earlier datagram: nobody listens there just now.
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the next datagram, or `None` where none comes within `timeout`.
    ///
    /// # Errors
    /// The system's error.
    pub fn receive(&self, timeout: Duration) -> Result<Option<Datagram>> {
        let socket = match &self.0 {
            Way::Udp(socket) => socket,
            Way::Carried(attachment) => return Ok(attachment.receive(timeout)),
        };
        let start = Instant::now();
        let mut buffer = [0; 65_536];
        loop {
            let left = timeout.saturating_sub(start.elapsed());
            // A read timeout of zero would mean to wait for ever.
            socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            match socket.recv(&mut buffer) {
                Ok(len) => return Ok(Some(Datagram(buffer[..len].to_vec()))),
                Err(error) if is_timeout(&error) && left.is_zero() => return Ok(None),
                Err(error) if is_timeout(&error) => {}
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                    std::thread::sleep(Duration::from_millis(5).min(left));
                    if left.is_zero() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Returns the next datagram for which `wanted` holds; others are passed over.
    ///
    /// # Errors
    /// Where none comes within `timeout`; the message lists what came instead.
    pub fn expect(
        &self,
        timeout: Duration,
        wanted: impl Fn(&Message<'_>) -> bool,
    ) -> Result<Datagram> {
        let start = Instant::now();
        let mut others = Vec::new();
        while let Some(left) = timeout.checked_sub(start.elapsed()) {
            let Some(datagram) = self.receive(left)? else {
                break;
            };
            if wanted(&datagram.message()?) {
                return Ok(datagram);
            }
            others.push(datagram.message()?.kind().name());
        }
        bail!("the expected message did not come within {timeout:?}; instead: {others:?}")
    }
}

/// A node that blocks until each of its requests is answered, repeating them like any node.
#[derive(Debug)]
pub struct SnNode {
    socket: SnSocket,
    client_id: String,
    last_id: MsgId,
    names: HashMap<TopicId, String>,
    unreleased: HashSet<MsgId>,
    inbox: VecDeque<Delivery>,
    repeats: u64,
    retry: Duration,
    acknowledges: bool,
}

/// One publication that came down to a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The topic's name; a pre-defined id is written as `#ID`.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// The quality of service.
    pub qos: QoS,
    /// Whether it was a retained one.
    pub retain: bool,
    /// Whether the gateway marked it as a repetition.
    pub dup: bool,
}

impl SnNode {
    /// Opens a socket towards `gateway`, nothing more.
    ///
    /// # Errors
    /// The system's error.
    pub fn new(gateway: SocketAddr, client_id: &str) -> Result<Self> {
        Ok(Self::over(SnSocket::open(gateway)?, client_id))
    }

    /// Creates a node that speaks over `socket`.
    #[must_use]
    pub fn over(socket: SnSocket, client_id: &str) -> Self {
        Self {
            socket,
            client_id: client_id.to_owned(),
            last_id: MsgId::NONE,
            names: HashMap::new(),
            unreleased: HashSet::new(),
            inbox: VecDeque::new(),
            repeats: 0,
            retry: Duration::from_secs(1),
            acknowledges: true,
        }
    }

    /// Moves the node to another place, with all that it knows.
    pub fn move_to(&mut self, socket: SnSocket) {
        self.socket = socket;
    }

    /// Opens a socket and a clean session.
    ///
    /// # Errors
    /// Where the gateway does not answer or refuses.
    pub fn connect(gateway: SocketAddr, client_id: &str) -> Result<Self> {
        let mut node = Self::new(gateway, client_id)?;
        node.open_session(true)?;
        Ok(node)
    }

    /// Sets how long the node waits before it repeats a request; 1 s unless set.
    pub const fn set_retry(&mut self, retry: Duration) {
        self.retry = retry;
    }

    /// Sets whether the node answers publications; off, it plays a node out of reach.
    pub const fn set_acknowledges(&mut self, on: bool) {
        self.acknowledges = on;
    }

    /// Returns the socket, for what a well-behaved node would not send.
    #[must_use]
    pub const fn socket(&self) -> &SnSocket {
        &self.socket
    }

    /// Returns how often the node had to repeat a request.
    #[must_use]
    pub const fn repeats(&self) -> u64 {
        self.repeats
    }

    /// Opens the session with CONNECT.
    ///
    /// # Errors
    /// Where the gateway does not answer or refuses.
    pub fn open_session(&mut self, clean: bool) -> Result<()> {
        let client_id = self.client_id.clone();
        let connect = Message::Connect(Connect {
            will: false,
            clean,
            protocol_id: Connect::PROTOCOL_ID,
            duration_s: 60,
            client_id: client_id.as_bytes(),
        });
        let answer = self.request(&connect, |m| matches!(m, Message::ConnAck(_)))?;
        let Ok(Message::ConnAck(answer)) = answer.message() else {
            bail!("no CONNACK");
        };
        accepted("CONNECT", answer.return_code)
    }

    /// Registers `name` and returns its id.
    ///
    /// # Errors
    /// Where the gateway does not answer or refuses.
    pub fn register(&mut self, name: &str) -> Result<TopicId> {
        let msg_id = self.next_id();
        let register = Message::Register(Register {
            topic_id: TopicId::NONE,
            msg_id,
            topic_name: name.as_bytes(),
        });
        let answer = self.request(
            &register,
            |m| matches!(m, Message::RegAck(ack) if ack.msg_id == msg_id),
        )?;
        let Ok(Message::RegAck(ack)) = answer.message() else {
            bail!("no REGACK");
        };
        accepted("REGISTER", ack.return_code)?;
        self.names.insert(ack.topic_id, name.to_owned());
        Ok(ack.topic_id)
    }

    /// Publishes and, at QoS 1 and 2, waits until the gateway has taken the publication.
    ///
    /// # Errors
    /// Where the gateway does not answer or refuses.
    pub fn publish(&mut self, topic: TopicRef, qos: QoS, payload: &[u8]) -> Result<()> {
        self.publish_as(topic, qos, payload, false)
    }

    /// Publishes like [`Self::publish`] and asks the broker to retain the publication.
    ///
    /// # Errors
    /// As [`Self::publish`].
    pub fn publish_retained(&mut self, topic: TopicRef, qos: QoS, payload: &[u8]) -> Result<()> {
        self.publish_as(topic, qos, payload, true)
    }

    fn publish_as(
        &mut self,
        topic: TopicRef,
        qos: QoS,
        payload: &[u8],
        retain: bool,
    ) -> Result<()> {
        let acknowledged = matches!(qos, QoS::AtLeastOnce | QoS::ExactlyOnce);
        let msg_id = if acknowledged {
            self.next_id()
        } else {
            MsgId::NONE
        };
        let publish = Publish {
            dup: false,
            qos,
            retain,
            topic,
            msg_id,
            payload,
        };
        if !acknowledged {
            return self.socket.send(&Message::Publish(publish));
        }
        let answer = self.request(&Message::Publish(publish), |message| match message {
            Message::PubAck(ack) => ack.msg_id == msg_id,
            Message::PubRec(id) => *id == msg_id,
            _ => false,
        })?;
        match answer.message()? {
            Message::PubAck(ack) => accepted("PUBLISH", ack.return_code)?,
            Message::PubRec(_) => {
                ensure!(qos == QoS::ExactlyOnce, "PUBREC at QoS {qos}");
                let release = Message::PubRel(msg_id);
                self.request(
                    &release,
                    |m| matches!(m, Message::PubComp(id) if *id == msg_id),
                )?;
            }
            _ => {}
        }
        Ok(())
    }

    /// Subscribes and returns the topic id and the granted quality of service.
    ///
    /// # Errors
    /// Where the gateway does not answer or refuses.
    pub fn subscribe(&mut self, topic: TopicFilter<'_>, qos: QoS) -> Result<(TopicId, QoS)> {
        let msg_id = self.next_id();
        let subscribe = Message::Subscribe(Subscribe {
            dup: false,
            qos,
            msg_id,
            topic,
        });
        let answer = self.request(
            &subscribe,
            |m| matches!(m, Message::SubAck(ack) if ack.msg_id == msg_id),
        )?;
        let Ok(Message::SubAck(ack)) = answer.message() else {
            bail!("no SUBACK");
        };
        accepted("SUBSCRIBE", ack.return_code)?;
        if let TopicFilter::Name(name) = topic
            && ack.topic_id != TopicId::NONE
        {
            let name = String::from_utf8_lossy(name).into_owned();
            self.names.insert(ack.topic_id, name);
        }
        Ok((ack.topic_id, ack.qos))
    }

    /// Asks whether the gateway is there.
    ///
    /// # Errors
    /// Where it does not answer.
    pub fn ping(&mut self) -> Result<()> {
        let ping = Message::PingReq(PingReq { client_id: &[] });
        self.request(&ping, |m| matches!(m, Message::PingResp))?;
        Ok(())
    }

    /// Goes to sleep for `duration_s` seconds.
    ///
    /// # Errors
    /// Where the gateway does not answer.
    pub fn sleep(&mut self, duration_s: u16) -> Result<()> {
        self.disconnect_as(Some(duration_s))
    }

    /// Wakes from sleep to collect what waits; ends with the gateway's PINGRESP.
    ///
    /// # Errors
    /// Where the gateway does not answer.
    pub fn wake(&mut self) -> Result<()> {
        let client_id = self.client_id.clone();
        let ping = Message::PingReq(PingReq {
            client_id: client_id.as_bytes(),
        });
        self.request(&ping, |m| matches!(m, Message::PingResp))?;
        Ok(())
    }

    /// Ends the connection.
    ///
    /// # Errors
    /// Where the gateway does not answer.
    pub fn disconnect(&mut self) -> Result<()> {
        self.disconnect_as(None)
    }

    fn disconnect_as(&mut self, duration_s: Option<u16>) -> Result<()> {
        let disconnect = Message::Disconnect(Disconnect { duration_s });
        self.request(&disconnect, |m| matches!(m, Message::Disconnect(_)))?;
        Ok(())
    }

    /// Returns the next publication that came down, waiting for it up to `timeout`.
    ///
    /// # Errors
    /// Where the gateway sends what is not a message, or the system's error.
    pub fn delivery(&mut self, timeout: Duration) -> Result<Option<Delivery>> {
        let start = Instant::now();
        while self.inbox.is_empty() {
            let Some(left) = timeout.checked_sub(start.elapsed()) else {
                return Ok(None);
            };
            let Some(datagram) = self.socket.receive(left)? else {
                return Ok(None);
            };
            self.take(&datagram)?;
        }
        Ok(self.inbox.pop_front())
    }

    /// Returns the next `count` publications.
    ///
    /// # Errors
    /// Where fewer come, each within `timeout` of the last.
    pub fn deliveries(&mut self, count: usize, timeout: Duration) -> Result<Vec<Delivery>> {
        let mut all = Vec::new();
        while all.len() < count {
            let next = self.delivery(timeout)?;
            all.push(
                next.with_context(|| {
                    format!("{} of {count} publications came: {all:?}", all.len())
                })?,
            );
        }
        Ok(all)
    }

    /// Sends a request until it is answered; what comes in between is handled.
    fn request(
        &mut self,
        message: &Message<'_>,
        answered: impl Fn(&Message<'_>) -> bool,
    ) -> Result<Datagram> {
        let mut message = *message;
        for _ in 0..ATTEMPTS {
            self.socket.send(&message)?;
            let start = Instant::now();
            while let Some(left) = self.retry.checked_sub(start.elapsed()) {
                let Some(datagram) = self.socket.receive(left)? else {
                    break;
                };
                if answered(&datagram.message()?) {
                    return Ok(datagram);
                }
                // [MQTT-SN 1.2 §6.12] D-19: unasked for, it means "connect again".
                if matches!(datagram.message(), Ok(Message::Disconnect(_))) {
                    bail!("the gateway has closed the session");
                }
                self.take(&datagram)?;
            }
            self.repeats += 1;
            mark_repeated(&mut message);
        }
        bail!("{} is not answered", message.kind().name())
    }

    /// Handles what the gateway sends by itself.
    fn take(&mut self, datagram: &Datagram) -> Result<()> {
        match datagram.message().context("the gateway sent no message")? {
            Message::Register(register) => {
                let name = String::from_utf8(register.topic_name.to_vec())?;
                self.names.insert(register.topic_id, name);
                self.acknowledge(Message::RegAck(Acknowledgement {
                    topic_id: register.topic_id,
                    msg_id: register.msg_id,
                    return_code: ReturnCode::Accepted,
                }))
            }
            Message::Publish(publish) => self.take_publish(&publish),
            Message::PubRel(id) => {
                self.unreleased.remove(&id);
                self.acknowledge(Message::PubComp(id))
            }
            Message::PingReq(_) => self.acknowledge(Message::PingResp),
            _ => Ok(()),
        }
    }

    fn take_publish(&mut self, publish: &Publish<'_>) -> Result<()> {
        match publish.qos {
            QoS::AtLeastOnce => self.acknowledge(Message::PubAck(Acknowledgement {
                topic_id: publish.topic.topic_id(),
                msg_id: publish.msg_id,
                return_code: ReturnCode::Accepted,
            }))?,
            QoS::ExactlyOnce => {
                let first = self.unreleased.insert(publish.msg_id);
                self.acknowledge(Message::PubRec(publish.msg_id))?;
                if !first {
                    return Ok(());
                }
            }
            QoS::AtMostOnce | QoS::MinusOne => {}
        }
        let topic = match publish.topic {
            TopicRef::Normal(id) => self
                .names
                .get(&id)
                .cloned()
                .with_context(|| format!("a publication with the unknown topic id {id}"))?,
            TopicRef::Predefined(id) => format!("#{id}"),
            TopicRef::Short(name) => short_text(name),
        };
        self.inbox.push_back(Delivery {
            topic,
            payload: publish.payload.to_vec(),
            qos: publish.qos,
            retain: publish.retain,
            dup: publish.dup,
        });
        Ok(())
    }

    fn acknowledge(&self, message: Message<'_>) -> Result<()> {
        if self.acknowledges {
            self.socket.send(&message)?;
        }
        Ok(())
    }

    const fn next_id(&mut self) -> MsgId {
        self.last_id = self.last_id.next();
        self.last_id
    }
}

fn accepted(request: &str, code: ReturnCode) -> Result<()> {
    ensure!(code == ReturnCode::Accepted, "{request}: {code}");
    Ok(())
}

/// Sets DUP where the message has it [MQTT-SN 1.2 §5.3.4].
const fn mark_repeated(message: &mut Message<'_>) {
    match message {
        Message::Publish(publish) => publish.dup = true,
        Message::Subscribe(subscribe) => subscribe.dup = true,
        _ => {}
    }
}

fn short_text(name: ShortName) -> String {
    String::from_utf8_lossy(&name.0).into_owned()
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

/// How often a request is sent before the gateway counts as gone.
const ATTEMPTS: u32 = 20;
