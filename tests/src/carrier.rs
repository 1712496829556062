//! What carries the messages of several nodes: a forwarder's UDP socket, or a serial line.
//!
//! The encapsulation is written out here, apart from `shared::wire`; on a line the messages are
//! in the frames of `shared::frame`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use nix::pty::openpty;
use nix::sys::termios::{SetArg, cfmakeraw, tcgetattr, tcsetattr};
use shared::frame::{DELIMITER, FrameReader, Lead, encode, frame_len_max};

use crate::{Datagram, SnSocket};

/// Carries messages between nodes and a gateway; ends when it and its nodes are dropped.
#[derive(Debug)]
pub struct Carrier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    way: Way,
    hub: Arc<Hub>,
    reader: Option<JoinHandle<()>>,
}

#[derive(Debug)]
enum Way {
    Udp(UdpSocket),
    /// The radio's end of the line, and the gateway's, held open so that a gateway that leaves
    /// does not hang up.
    Line {
        radio: Mutex<File>,
        device: File,
        path: PathBuf,
    },
}

/// Where what comes in goes to.
#[derive(Debug, Default)]
struct Hub {
    nodes: Mutex<HashMap<Option<Vec<u8>>, Sender<Datagram>>>,
    received: AtomicU64,
    unknown: AtomicU64,
    ended: AtomicBool,
}

/// A node's place at a carrier.
#[derive(Debug)]
pub(crate) struct Attachment {
    carrier: Arc<Inner>,
    node_id: Option<Vec<u8>>,
    inbox: Receiver<Datagram>,
}

impl Carrier {
    /// Opens a forwarder's socket at `local`, for the gateway at `gateway`.
    ///
    /// # Errors
    /// The system's error.
    pub fn udp(local: SocketAddr, gateway: SocketAddr) -> Result<Self> {
        let socket = UdpSocket::bind(local)?;
        socket.connect(gateway)?;
        socket.set_read_timeout(Some(READ_PAUSE))?;
        let hub = Arc::new(Hub::default());
        let (ear, reader) = (socket.try_clone()?, Arc::clone(&hub));
        let reader = std::thread::spawn(move || listen_to_socket(&ear, &reader));
        Ok(Self::new(Way::Udp(socket), hub, reader))
    }

    /// Opens a serial line; [`Self::device`] is the gateway's end.
    ///
    /// # Errors
    /// Where no pseudo-terminal is to be had.
    pub fn serial() -> Result<Self> {
        let pty = openpty(None, None).context("no pseudo-terminal")?;
        let mut raw = tcgetattr(&pty.slave)?;
        cfmakeraw(&mut raw);
        tcsetattr(&pty.slave, SetArg::TCSANOW, &raw)?;
        let path = nix::unistd::ttyname(&pty.slave)?;
        let radio = File::from(pty.master);
        let hub = Arc::new(Hub::default());
        let (ear, reader) = (radio.try_clone()?, Arc::clone(&hub));
        let reader = std::thread::spawn(move || listen_to_line(ear, &reader));
        let way = Way::Line {
            radio: Mutex::new(radio),
            device: File::from(pty.slave),
            path,
        };
        Ok(Self::new(way, hub, reader))
    }

    fn new(way: Way, hub: Arc<Hub>, reader: JoinHandle<()>) -> Self {
        Self(Arc::new(Inner {
            way,
            hub,
            reader: Some(reader),
        }))
    }

    /// Returns the serial device that the gateway is to open; `None` for a UDP forwarder.
    #[must_use]
    pub fn device(&self) -> Option<PathBuf> {
        match &self.0.way {
            Way::Line { path, .. } => Some(path.clone()),
            Way::Udp(_) => None,
        }
    }

    /// Attaches a node that the gateway shall know by `node_id`: its messages are encapsulated.
    #[must_use]
    pub fn attach(&self, node_id: &[u8]) -> SnSocket {
        self.place(Some(node_id.to_vec()))
    }

    /// Attaches the one node that speaks without encapsulation.
    #[must_use]
    pub fn attach_alone(&self) -> SnSocket {
        self.place(None)
    }

    /// Returns how many messages the gateway has sent over it.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.0.hub.received.load(Ordering::Relaxed)
    }

    /// Returns how many of these were for nobody that is attached, or no messages at all.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.0.hub.unknown.load(Ordering::Relaxed)
    }

    fn place(&self, node_id: Option<Vec<u8>>) -> SnSocket {
        let (sender, inbox) = channel();
        self.0.hub.nodes().insert(node_id.clone(), sender);
        SnSocket::carried(Attachment {
            carrier: Arc::clone(&self.0),
            node_id,
            inbox,
        })
    }
}

impl Attachment {
    pub(crate) fn send(&self, message: &[u8]) -> Result<()> {
        let Some(node_id) = &self.node_id else {
            return self.carrier.send(message);
        };
        // [MQTT-SN 1.2 §5.5] The length counts up to the end of the node id.
        let mut datagram = vec![u8::try_from(3 + node_id.len())?, ENCAPSULATED, 0];
        datagram.extend_from_slice(node_id);
        datagram.extend_from_slice(message);
        self.carrier.send(&datagram)
    }

    pub(crate) fn receive(&self, timeout: Duration) -> Option<Datagram> {
        self.inbox.recv_timeout(timeout).ok()
    }
}

impl Inner {
    fn send(&self, datagram: &[u8]) -> Result<()> {
        match &self.way {
            Way::Udp(socket) => match socket.send(datagram) {
                // The answer to an earlier datagram: nobody listens there just now.
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
                sent => Ok(sent.map(drop)?),
            },
            Way::Line { radio, .. } => {
                let mut frame = vec![0; frame_len_max(datagram.len())];
                let len = encode(datagram, Lead::None, &mut frame).context("cannot frame")?;
                let mut radio = radio.lock().unwrap_or_else(PoisonError::into_inner);
                Ok(radio.write_all(&frame[..len])?)
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.hub.ended.store(true, Ordering::Relaxed);
        if let Way::Line { device, .. } = &mut self.way {
            // The reader waits for an octet.
            let _ = device.write_all(&[DELIMITER]);
        }
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Hub {
    fn nodes(&self) -> MutexGuard<'_, HashMap<Option<Vec<u8>>, Sender<Datagram>>> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ended(&self) -> bool {
        self.ended.load(Ordering::Relaxed)
    }

    fn hand_on(&self, datagram: &[u8]) {
        self.received.fetch_add(1, Ordering::Relaxed);
        let delivered = unwrapped(datagram).is_ok_and(|(node_id, message)| {
            let nodes = self.nodes();
            let node = nodes.get(&node_id);
            node.is_some_and(|node| node.send(Datagram(message.to_vec())).is_ok())
        });
        if !delivered {
            self.unknown.fetch_add(1, Ordering::Relaxed);
        }
    }
}

fn listen_to_socket(socket: &UdpSocket, hub: &Hub) {
    let mut buffer = [0; 65_536];
    while !hub.ended() {
        if let Ok(len) = socket.recv(&mut buffer) {
            hub.hand_on(&buffer[..len]);
        }
    }
}

fn listen_to_line(mut radio: File, hub: &Hub) {
    let mut reader = FrameReader::<1400>::new();
    let mut buffer = [0; 512];
    while let Ok(len) = radio.read(&mut buffer) {
        if hub.ended() {
            return;
        }
        let mut rest = &buffer[..len];
        while let Some(datagram) = reader.feed(&mut rest) {
            hub.hand_on(datagram);
        }
    }
}

/// Takes a datagram apart: for which node, and what.
fn unwrapped(datagram: &[u8]) -> Result<(Option<Vec<u8>>, &[u8])> {
    let [len, ENCAPSULATED, ..] = *datagram else {
        return Ok((None, datagram));
    };
    let len = usize::from(len);
    ensure!((3..=datagram.len()).contains(&len), "a wrong length");
    let (head, message) = datagram.split_at(len);
    Ok((Some(head[3..].to_vec()), message))
}

/// The type of an encapsulated message [MQTT-SN 1.2 §5.5].
const ENCAPSULATED: u8 = 0xFE;

/// How often a reader looks whether it is to end.
const READ_PAUSE: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PATIENCE;

    #[test]
    fn a_forwarder_wraps_and_unwraps() {
        let gateway = UdpSocket::bind("127.0.0.1:0").unwrap();
        let local = "127.0.0.1:0".parse().unwrap();
        let forwarder = Carrier::udp(local, gateway.local_addr().unwrap()).unwrap();
        let node = forwarder.attach(&[7, 8]);
        node.send_bytes(&[2, 0x16]).unwrap();
        let mut buffer = [0; 64];
        let (len, from) = gateway.recv_from(&mut buffer).unwrap();
        assert_eq!(buffer[..len], [5, 0xFE, 0, 7, 8, 2, 0x16]);
        gateway.send_to(&[5, 0xFE, 0, 9, 9, 2, 0x17], from).unwrap();
        gateway.send_to(&[5, 0xFE, 0, 7, 8, 2, 0x17], from).unwrap();
        let answer = node.receive(PATIENCE).unwrap().unwrap();
        assert_eq!(answer.0, [2, 0x17]);
        assert_eq!((forwarder.received(), forwarder.unknown()), (2, 1));
    }

    #[test]
    fn a_line_carries_frames_both_ways() {
        let line = Carrier::serial().unwrap();
        let (alone, other) = (line.attach_alone(), line.attach(&[1]));
        let path = line.device().unwrap();
        let open = File::options().read(true).write(true).open(path);
        let mut device = open.unwrap();
        let mut sent = [0; 32];
        let len = encode(&[2, 0x17], Lead::None, &mut sent).unwrap();
        alone.send_bytes(&[2, 0x17]).unwrap();
        let mut heard = vec![0; len];
        device.read_exact(&mut heard).unwrap();
        assert_eq!(heard, sent[..len]);
        device.write_all(&heard).unwrap();
        assert_eq!(alone.receive(PATIENCE).unwrap().unwrap().0, [2, 0x17]);
        let len = encode(&[4, 0xFE, 0, 1, 2, 0x17], Lead::None, &mut sent).unwrap();
        device.write_all(&sent[..len]).unwrap();
        assert_eq!(other.receive(PATIENCE).unwrap().unwrap().0, [2, 0x17]);
    }
}
