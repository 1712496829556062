//! The project's own node machine, driven in real time over a real way to gateways.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use shared::client::{Client, Config, Destination, Event, GatewayAddr, Topic};
use shared::rng::Rng;
use shared::wire::QoS;

use crate::{Group, SnSocket};

/// A node with the machine of `shared::client`.
#[derive(Debug)]
pub struct ClientNode {
    client: Client<8, 4, 64>,
    air: Air,
    epoch: Instant,
    received: Vec<Taken>,
    events: Vec<String>,
}

/// How a node reaches gateways.
#[derive(Debug)]
pub enum Air {
    /// One gateway, and no addresses.
    Point(SnSocket),
    /// Any gateway of a group.
    Group {
        /// The group.
        group: Group,
        /// What it speaks by.
        mouth: UdpSocket,
        /// What it hears the group by.
        ear: UdpSocket,
        /// Whether nothing of it reaches the group: then it only listens.
        muffled: bool,
    },
}

/// A publication that the application was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The topic's name.
    pub topic: String,
    /// The payload.
    pub payload: Vec<u8>,
    /// The quality of service.
    pub qos: QoS,
    /// Whether it may have been given before.
    pub dup: bool,
}

impl Air {
    /// Opens the sockets of a node in `group`.
    ///
    /// # Errors
    /// The system's error.
    pub fn group(group: &Group, muffled: bool) -> Result<Self> {
        let (mouth, ear) = (group.sender()?, group.listener()?);
        mouth.set_nonblocking(true)?;
        ear.set_nonblocking(true)?;
        Ok(Self::Group {
            group: group.clone(),
            mouth,
            ear,
            muffled,
        })
    }

    fn send(&self, to: Destination, datagram: &[u8]) -> Result<()> {
        match (self, to) {
            (Self::Point(socket), _) => socket.send_bytes(datagram),
            (Self::Group { muffled: true, .. }, Destination::Broadcast { .. }) => Ok(()),
            (Self::Group { group, mouth, .. }, to) => {
                let to = match to {
                    Destination::Broadcast { .. } => group.address(),
                    Destination::Gateway(address) => group.peer(socket_address(address)?),
                };
                match mouth.send_to(datagram, to) {
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
                    sent => Ok(sent.map(drop)?),
                }
            }
        }
    }

    /// Returns what has come, and from where, waiting for a moment.
    fn receive(&self) -> Result<Option<(GatewayAddr, Vec<u8>)>> {
        match self {
            Self::Point(socket) => {
                let datagram = socket.receive(MOMENT)?;
                Ok(datagram.map(|datagram| (GatewayAddr::POINT_TO_POINT, datagram.0)))
            }
            Self::Group { mouth, ear, .. } => {
                let mut buffer = [0; 1500];
                for socket in [mouth, ear] {
                    if let Ok((len, from)) = socket.recv_from(&mut buffer) {
                        return Ok(Some((gateway_address(from)?, buffer[..len].to_vec())));
                    }
                }
                std::thread::sleep(MOMENT);
                Ok(None)
            }
        }
    }
}

impl ClientNode {
    /// Creates a node that is off.
    ///
    /// # Errors
    /// What is wrong with `config`.
    pub fn new(config: Config, seed: u64, air: Air) -> Result<Self> {
        let client = Client::new(config, Rng::new(seed));
        Ok(Self {
            client: client.map_err(|error| anyhow::anyhow!("{error:?}"))?,
            air,
            epoch: Instant::now(),
            received: Vec::new(),
            events: Vec::new(),
        })
    }

    /// Gives the machine a command at the present time.
    ///
    /// # Errors
    /// What the machine says against it.
    pub fn command<T, E: std::fmt::Debug>(
        &mut self,
        command: impl FnOnce(&mut Client<8, 4, 64>, shared::time::Instant) -> Result<T, E>,
    ) -> Result<T> {
        let now = self.now();
        command(&mut self.client, now).map_err(|error| anyhow::anyhow!("{error:?}"))
    }

    /// Returns the machine.
    #[must_use]
    pub const fn client(&self) -> &Client<8, 4, 64> {
        &self.client
    }

    /// Returns the port of the gateway that it is or was connected to.
    #[must_use]
    pub fn gateway_port(&self) -> Option<u16> {
        let address = socket_address(self.client.gateway()?).ok()?;
        Some(address.port())
    }

    /// Takes the publications that have come since this was last asked.
    pub fn take_received(&mut self) -> Vec<Taken> {
        std::mem::take(&mut self.received)
    }

    /// Returns whether an event that is written so has come since this was last asked.
    pub fn take_event(&mut self, name: &str) -> bool {
        let before = self.events.len();
        self.events.retain(|event| !event.starts_with(name));
        self.events.len() < before
    }

    /// Runs the machine until something is so.
    ///
    /// # Errors
    /// Where it does not come to be within `timeout`; the message holds the events.
    pub fn run_until(
        &mut self,
        timeout: Duration,
        mut done: impl FnMut(&mut Self) -> bool,
    ) -> Result<()> {
        let start = Instant::now();
        loop {
            self.settle()?;
            if done(self) {
                return Ok(());
            }
            if start.elapsed() > timeout {
                bail!(
                    "{:?} after {timeout:?}: {:?}",
                    self.client.phase(),
                    self.events
                );
            }
            if let Some((from, datagram)) = self.air.receive()? {
                let now = self.now();
                self.client.handle_datagram(now, from, &datagram);
            }
            let now = self.now();
            if self.client.poll_timeout().is_some_and(|due| due <= now) {
                self.client.handle_timeout(now);
            }
        }
    }

    /// Carries away what the machine has to send and to tell.
    fn settle(&mut self) -> Result<()> {
        let mut buffer = [0; 1500];
        loop {
            let mut idle = true;
            while let Some(event) = self.client.poll_event() {
                idle = false;
                match event {
                    Event::Received(received) => self.received.push(Taken {
                        topic: topic_text(received.topic),
                        payload: received.payload.to_vec(),
                        qos: received.qos,
                        dup: received.dup,
                    }),
                    other => self.events.push(format!("{other:?}")),
                }
            }
            let now = self.now();
            while let Some(transmit) = self.client.poll_transmit(now, &mut buffer) {
                idle = false;
                self.air.send(transmit.to, &buffer[..transmit.len])?;
            }
            if idle {
                return Ok(());
            }
        }
    }

    fn now(&self) -> shared::time::Instant {
        let ms = self.epoch.elapsed().as_millis();
        shared::time::Instant::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
    }
}

fn topic_text(topic: Topic<'_>) -> String {
    match topic {
        Topic::Name(name) => name.to_owned(),
        Topic::Predefined(id) => format!("#{id}"),
        Topic::Short(name) => String::from_utf8_lossy(&name.0).into_owned(),
    }
}

/// Writes an address as octets: the IP address, then the port.
fn gateway_address(address: SocketAddr) -> Result<GatewayAddr> {
    let mut octets = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    octets.extend_from_slice(&address.port().to_be_bytes());
    GatewayAddr::new(&octets).context("too long an address")
}

fn socket_address(address: GatewayAddr) -> Result<SocketAddr> {
    let octets = address.as_bytes();
    let (ip, port) = octets.split_at(octets.len().saturating_sub(2));
    let port = u16::from_be_bytes(port.try_into().context("no port")?);
    let ip: IpAddr = match <[u8; 4]>::try_from(ip) {
        Ok(v4) => v4.into(),
        Err(_) => <[u8; 16]>::try_from(ip).context("no IP address")?.into(),
    };
    Ok(SocketAddr::new(ip, port))
}

/// How long it waits for a datagram before it looks at its clock.
const MOMENT: Duration = Duration::from_millis(1);
