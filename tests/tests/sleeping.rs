//! A burst for a node that sleeps: it gets what its mailbox may hold, in order, over several
//! wakes, and nothing twice [MQTT-SN 1.2 §6.14].
//!
//! The judge is the raw socket: it answers by hand and writes down every message.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use shared::client::{Config, GatewayAddr, Topic};
use shared::wire::{
    Acknowledgement, Connect, Disconnect, Message, MsgId, PingReq, QoS, ReturnCode, Subscribe,
    TopicFilter, TopicId, TopicRef,
};
use tests::{
    Air, Carrier, ClientNode, Mosquitto, MosquittoOptions, MqttProbe, PATIENCE, ProbeOptions,
    Sandgrouse, SnNode, SnSocket, config, free_udp_port, seed,
};

#[test]
fn a_burst_reaches_a_sleeper_over_udp_in_order_and_once() -> Result<()> {
    let rig = Rig::start(None)?;
    let gateway = rig.gateway.address();
    // A sleeper behind a NAT wakes at a new address each time (D-31).
    rig.burst_reaches_a_sleeper(|| SnSocket::open(gateway))
}

#[test]
fn a_burst_reaches_a_sleeper_over_serial_in_order_and_once() -> Result<()> {
    let line = Carrier::serial()?;
    let rig = Rig::start(Some(&line))?;
    rig.burst_reaches_a_sleeper(|| Ok(line.attach_alone()))
}

#[test]
fn a_burst_reaches_a_sleeper_behind_a_serial_forwarder_in_order_and_once() -> Result<()> {
    let line = Carrier::serial()?;
    let rig = Rig::start(Some(&line))?;
    rig.burst_reaches_a_sleeper(|| Ok(line.attach(&[0x12, 0x34])))
}

#[test]
fn a_burst_reaches_our_own_client_over_udp() -> Result<()> {
    let rig = Rig::start(None)?;
    let place = SnSocket::open(rig.gateway.address())?;
    rig.burst_reaches_our_own_client(place)
}

#[test]
fn a_burst_reaches_our_own_client_over_serial() -> Result<()> {
    let line = Carrier::serial()?;
    let rig = Rig::start(Some(&line))?;
    rig.burst_reaches_our_own_client(line.attach(&[0x12, 0x34]))
}

#[test]
fn d22_a_wake_ends_at_its_budget_and_the_rest_waits_over_udp() -> Result<()> {
    let rig = Rig::start_with(None, BUDGET_RULES)?;
    let place = SnSocket::open(rig.gateway.address())?;
    rig.burst_comes_in_portions(place)
}

#[test]
fn d22_a_wake_ends_at_its_budget_and_the_rest_waits_over_serial() -> Result<()> {
    let line = Carrier::serial()?;
    let rig = Rig::start_with(Some(&line), BUDGET_RULES)?;
    rig.burst_comes_in_portions(line.attach_alone())
}

/// A gateway with a UDP link, and a serial one where wanted, beside a mosquitto.
struct Rig {
    broker: Mosquitto,
    probe: MqttProbe,
    gateway: Sandgrouse,
    marked: u32,
}

impl Rig {
    fn start(line: Option<&Carrier>) -> Result<Self> {
        Self::start_with(line, "")
    }

    fn start_with(line: Option<&Carrier>, rules: &str) -> Result<Self> {
        let broker = Mosquitto::start(MosquittoOptions::default())?;
        let probe = MqttProbe::start(ProbeOptions::new(&broker, &["none"]))?;
        let udp_port = free_udp_port()?;
        let mut text = config::udp_link(udp_port) + CLOCK;
        if let Some(device) = line.and_then(Carrier::device) {
            text += &(config::serial_link(&device) + CLOCK);
        }
        text += &config::upstream(&broker);
        text += &format!("[gateway.mailbox]\nmessages_max = {KEPT}\nqos0_max = {KEPT_QOS0}\n");
        text += rules;
        Ok(Self {
            gateway: Sandgrouse::with_config(udp_port, text)?,
            broker,
            probe,
            marked: 0,
        })
    }

    fn burst_reaches_a_sleeper(mut self, place: impl Fn() -> Result<SnSocket>) -> Result<()> {
        let mut witness = SnNode::connect(self.gateway.address(), "witness")?;
        witness.subscribe(TopicFilter::Name(b"marker"), QoS::ExactlyOnce)?;
        let mut sleeper = Sleeper::connect(place()?)?;
        sleeper.sleep()?;
        self.publish_burst(&mut witness)?;
        sleeper.hears_nothing()?;

        let mut judge = Judge::default();
        for _ in 0..2 {
            let wake = sleeper.wake(Some(KEPT / 3))?;
            ensure!(!wake.finished, "PINGRESP while one is not acknowledged");
            judge.judge(&wake.letters)?;
            let left = wake.letters.last().context("no publication at all")?;
            sleeper.hears_only_repetitions_of(left)?;
            sleeper.socket = place()?;
        }
        let wake = sleeper.wake(None)?;
        ensure!(wake.finished, "PINGRESP at the end");
        judge.judge(&wake.letters)?;
        judge.is_complete()?;

        // Nothing is left, and nothing comes by itself.
        sleeper.hears_nothing()?;
        sleeper.socket = place()?;
        let wake = sleeper.wake(None)?;
        ensure!(
            wake.finished && wake.letters.is_empty(),
            "{:?}",
            wake.letters
        );

        // The mailbox has room again.
        self.probe.publish("burst/1", b"500", 1, false)?;
        self.mark(&mut witness)?;
        let wake = sleeper.wake(None)?;
        ensure!(
            wake.finished && wake.letters.len() == 1,
            "{:?}",
            wake.letters
        );
        judge.judge(&wake.letters)
    }

    /// Each wake brings no more than its budget and ends with PINGRESP; what is most important
    /// comes first.
    fn burst_comes_in_portions(mut self, place: SnSocket) -> Result<()> {
        let mut witness = SnNode::connect(self.gateway.address(), "witness")?;
        witness.subscribe(TopicFilter::Name(b"marker"), QoS::ExactlyOnce)?;
        let mut sleeper = Sleeper::connect(place)?;
        sleeper.sleep()?;
        // One after the other, so that the mailbox has room for the important ones.
        let client = self.broker.client();
        let important = 40;
        let first = u32::try_from(KEPT)? - important;
        for (qos, numbers) in [(1, 0..first), (2, 0..important), (1, first..BURST)] {
            let lines = numbers.map(|number| number.to_string());
            client.publish_lines(&format!("burst/{qos}"), qos, lines)?;
        }
        self.mark(&mut witness)?;
        let mut judge = Judge::default();
        let mut all = Vec::new();
        for wakes in 1.. {
            let wake = sleeper.wake(None)?;
            ensure!(
                wake.finished && wake.letters.len() <= BUDGET,
                "{:?}",
                wake.letters
            );
            sleeper.hears_nothing()?;
            judge.judge(&wake.letters)?;
            if wake.letters.is_empty() {
                ensure!(wakes > KEPT / BUDGET, "only {wakes} wakes");
                break;
            }
            all.extend(wake.letters);
        }
        judge.is_complete()?;
        let in_turn = all.iter().take_while(|letter| letter.topic == "burst/2");
        ensure!(
            in_turn.count() == usize::try_from(important)?,
            "out of turn: {all:?}"
        );
        Ok(())
    }

    fn burst_reaches_our_own_client(mut self, place: SnSocket) -> Result<()> {
        let mut witness = SnNode::connect(self.gateway.address(), "witness")?;
        witness.subscribe(TopicFilter::Name(b"marker"), QoS::ExactlyOnce)?;
        let node_config = Config::new("own").map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let node_config = node_config
            .with_gateway(GatewayAddr::POINT_TO_POINT)
            .map_err(|error| anyhow::anyhow!("{error:?}"))?;
        let mut node = ClientNode::new(node_config, seed(7), Air::Point(place))?;
        node.command(|client, now| client.connect(now))?;
        for filter in ["burst/0", "burst/1", "burst/2"] {
            node.command(|client, _| client.subscribe(Topic::Name(filter), QoS::ExactlyOnce))?;
            node.run_until(PATIENCE, |node| node.take_event("Subscribed"))?;
        }
        node.command(|client, _| client.sleep(600))?;
        node.run_until(PATIENCE, |node| node.take_event("Asleep"))?;
        self.publish_burst(&mut witness)?;

        node.command(|client, _| client.wake())?;
        node.run_until(PATIENCE, |node| node.take_event("WakeFinished"))?;
        let mut judge = Judge::default();
        for taken in node.take_received() {
            judge.judge(&[Letter {
                topic: taken.topic,
                number: std::str::from_utf8(&taken.payload)?.parse()?,
                qos: taken.qos,
                dup: taken.dup,
                msg_id: MsgId::NONE,
            }])?;
        }
        judge.is_complete()?;
        node.command(|client, _| client.wake())?;
        node.run_until(PATIENCE, |node| node.take_event("WakeFinished"))?;
        let more = node.take_received();
        ensure!(more.is_empty(), "a replay: {more:?}");
        ensure!(node.client().stats().events_lost == 0, "events were lost");
        Ok(())
    }

    /// Publishes the burst, a topic for each QoS and all at once, and waits until the gateway has it.
    fn publish_burst(&mut self, witness: &mut SnNode) -> Result<()> {
        let client = self.broker.client();
        std::thread::scope(|scope| {
            let writers = [0, 1, 2].map(|qos| {
                let numbers = (0..BURST).filter(move |number| number % 3 == u32::from(qos));
                let lines = numbers.map(|number| number.to_string());
                let client = &client;
                scope.spawn(move || client.publish_lines(&format!("burst/{qos}"), qos, lines))
            });
            for writer in writers {
                writer.join().expect("a writer panicked")?;
            }
            Ok::<(), anyhow::Error>(())
        })?;
        self.mark(witness)
    }

    /// Waits until the gateway has what was published so far: at QoS 2 nothing is overtaken.
    fn mark(&mut self, witness: &mut SnNode) -> Result<()> {
        self.marked += 1;
        let mark = self.marked.to_string();
        self.probe.publish("marker", mark.as_bytes(), 2, false)?;
        let seen = witness.deliveries(1, PATIENCE)?;
        ensure!(seen[0].payload == mark.as_bytes(), "{seen:?}");
        Ok(())
    }
}

/// A node that is nothing but its socket and what it must remember to answer.
struct Sleeper {
    socket: SnSocket,
    names: HashMap<TopicId, String>,
    unreleased: HashSet<MsgId>,
}

/// What came in one wake.
struct Wake {
    letters: Vec<Letter>,
    /// Whether PINGRESP ended it.
    finished: bool,
}

/// A PUBLISH as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Letter {
    topic: String,
    number: u32,
    qos: QoS,
    dup: bool,
    msg_id: MsgId,
}

impl Sleeper {
    fn connect(socket: SnSocket) -> Result<Self> {
        let sleeper = Self {
            socket,
            names: HashMap::new(),
            unreleased: HashSet::new(),
        };
        sleeper.socket.send(&Message::Connect(Connect {
            will: false,
            clean: true,
            protocol_id: Connect::PROTOCOL_ID,
            duration_s: 60,
            client_id: CLIENT_ID,
        }))?;
        let accepted = |m: &Message<'_>| matches!(m, Message::ConnAck(ack) if ack.return_code == ReturnCode::Accepted);
        sleeper.socket.expect(PATIENCE, accepted)?;
        sleeper.socket.send(&Message::Subscribe(Subscribe {
            dup: false,
            qos: QoS::ExactlyOnce,
            msg_id: MsgId(1),
            topic: TopicFilter::Name(b"burst/#"),
        }))?;
        let granted = |m: &Message<'_>| matches!(m, Message::SubAck(ack) if ack.return_code == ReturnCode::Accepted);
        sleeper.socket.expect(PATIENCE, granted)?;
        Ok(sleeper)
    }

    fn sleep(&self) -> Result<()> {
        let duration_s = Some(60);
        let sleep = Message::Disconnect(Disconnect { duration_s });
        self.socket.send(&sleep)?;
        let asleep = Message::Disconnect(Disconnect { duration_s: None });
        self.socket.expect(PATIENCE, |m| *m == asleep)?;
        Ok(())
    }

    fn hears_nothing(&self) -> Result<()> {
        let heard = self.socket.receive(QUIET)?;
        ensure!(heard.is_none(), "it sleeps: {heard:?}");
        Ok(())
    }

    /// After the radio went off in the middle: the gateway repeats what was not answered, then
    /// gives up for now (D-24).
    fn hears_only_repetitions_of(&self, left: &Letter) -> Result<()> {
        let mut count = 0;
        while let Some(datagram) = self.socket.receive(QUIET)? {
            let Message::Publish(publish) = datagram.message()? else {
                bail!("{:?} while {left:?} is not answered", datagram.message());
            };
            ensure!(
                publish.dup && publish.msg_id == left.msg_id,
                "{publish:?} while {left:?} is not answered"
            );
            count += 1;
        }
        ensure!(count <= REPETITIONS, "{count} repetitions");
        Ok(())
    }

    /// Wakes up and answers what comes. With `radio_off_after`, the first publication beyond so
    /// many that asks for an answer gets none.
    fn wake(&mut self, radio_off_after: Option<usize>) -> Result<Wake> {
        self.socket.send(&Message::PingReq(PingReq {
            client_id: CLIENT_ID,
        }))?;
        let mut wake = Wake {
            letters: Vec::new(),
            finished: false,
        };
        loop {
            let datagram = self.socket.receive(PATIENCE)?;
            let datagram = datagram.with_context(|| format!("silence: {:?}", wake.letters))?;
            match datagram.message()? {
                Message::PingResp => {
                    wake.finished = true;
                    return Ok(wake);
                }
                Message::Register(register) => {
                    let name = String::from_utf8(register.topic_name.to_vec())?;
                    self.names.insert(register.topic_id, name);
                    self.socket.send(&Message::RegAck(Acknowledgement {
                        topic_id: register.topic_id,
                        msg_id: register.msg_id,
                        return_code: ReturnCode::Accepted,
                    }))?;
                }
                Message::PubRel(msg_id) => {
                    self.unreleased.remove(&msg_id);
                    self.socket.send(&Message::PubComp(msg_id))?;
                }
                Message::Publish(publish) => {
                    let TopicRef::Normal(id) = publish.topic else {
                        bail!("{:?}", publish.topic);
                    };
                    let letter = Letter {
                        topic: self.names.get(&id).context("an unknown id")?.clone(),
                        number: std::str::from_utf8(publish.payload)?.parse()?,
                        qos: publish.qos,
                        dup: publish.dup,
                        msg_id: publish.msg_id,
                    };
                    wake.letters.push(letter.clone());
                    let off = radio_off_after.is_some_and(|count| wake.letters.len() > count);
                    if off && publish.qos != QoS::AtMostOnce {
                        return Ok(wake);
                    }
                    self.answer(&letter, id)?;
                }
                other => bail!("unexpected: {other:?}"),
            }
        }
    }

    fn answer(&mut self, letter: &Letter, topic_id: TopicId) -> Result<()> {
        match letter.qos {
            QoS::AtLeastOnce => self.socket.send(&Message::PubAck(Acknowledgement {
                topic_id,
                msg_id: letter.msg_id,
                return_code: ReturnCode::Accepted,
            })),
            QoS::ExactlyOnce => {
                self.unreleased.insert(letter.msg_id);
                self.socket.send(&Message::PubRec(letter.msg_id))
            }
            QoS::AtMostOnce | QoS::MinusOne => Ok(()),
        }
    }
}

/// What has come over all wakes.
#[derive(Debug, Default)]
struct Judge {
    by_topic: BTreeMap<String, Vec<u32>>,
    last: Option<Letter>,
}

impl Judge {
    /// Takes the letters of a wake: new ones in order, and first the one left from the wake
    /// before, marked as a repetition.
    fn judge(&mut self, letters: &[Letter]) -> Result<()> {
        for (index, letter) in letters.iter().enumerate() {
            let Letter { number, dup, .. } = *letter;
            ensure!(
                letter.topic == format!("burst/{}", letter.qos),
                "{letter:?}"
            );
            let is_left = self.last.as_ref().is_some_and(|left| {
                index == 0 && left.qos != QoS::AtMostOnce && left.number == number
            });
            ensure!(dup == is_left, "DUP: {letter:?} after {:?}", self.last);
            if is_left {
                let left = self.last.as_ref().map(|left| left.msg_id);
                ensure!(left == Some(letter.msg_id), "{letter:?} for {left:?}");
            } else {
                let numbers = self.by_topic.entry(letter.topic.clone()).or_default();
                let before = numbers.last().copied();
                ensure!(before < Some(number), "{letter:?} after {before:?}");
                numbers.push(number);
            }
            self.last = Some(letter.clone());
        }
        Ok(())
    }

    fn is_complete(&self) -> Result<()> {
        let count: usize = self.by_topic.values().map(Vec::len).sum();
        ensure!(count == KEPT, "{count} of {KEPT}: {self:?}");
        let qos0 = self.by_topic.get("burst/0").map_or(0, Vec::len);
        ensure!(qos0 <= KEPT_QOS0, "{qos0} at QoS 0");
        Ok(())
    }
}

const CLIENT_ID: &[u8] = b"sleeper";
/// Publications while it sleeps, QoS 0, 1 and 2 in turn.
const BURST: u32 = 500;
/// What the mailbox may hold.
const KEPT: usize = 100;
const KEPT_QOS0: usize = 20;
/// The most publications in one wake, where there is a budget, and what goes first.
const BUDGET: usize = 30;
const BUDGET_RULES: &str = "[[node]]\nmatch = \"sleeper\"\nmax_awake_messages = 30\n\
    [[topics.priority]]\nfilter = \"burst/2\"\npriority = \"high\"\n";
/// The gateway's clock: short, so that a stalled wake is soon over.
const CLOCK: &str = "t_retry = \"150ms\"\nn_retry = 2\n";
const REPETITIONS: usize = 2;
/// Longer than the time between two repetitions.
const QUIET: Duration = Duration::from_millis(600);
