//! The way out of a link, whatever it is made of.

use std::sync::Arc;

use super::paced::Paced;
use super::pacing::Target;
use super::serial::{self, SerialSender};
use super::stats::DropReason;
use super::udp::{self, UdpSender};
use crate::session::Peer;

/// How datagrams get to the sender: at once or by the pacer.
#[derive(Debug)]
pub(super) enum Outlet {
    Direct(Sender),
    Paced(Paced),
}

#[derive(Debug)]
pub(super) enum Sender {
    Udp(UdpSender),
    Serial(SerialSender),
}

impl Sender {
    pub(super) fn send(&mut self, peer: Peer, datagram: &[u8]) {
        match self {
            Self::Udp(udp) => udp.send(peer, datagram),
            Self::Serial(serial) => serial.send(peer, datagram),
        }
    }

    pub(super) fn broadcast(&mut self, radius: u8, datagram: &[u8]) {
        match self {
            Self::Udp(udp) => udp.broadcast(radius, datagram),
            Self::Serial(serial) => serial.send(Peer::Line, datagram),
        }
    }

    /// Returns whether a datagram may be queued that will be sent later.
    pub(super) fn check(&self, to: Target, octets: usize) -> Result<(), DropReason> {
        match (self, to) {
            (Self::Udp(udp), Target::Node(to)) => udp.check(to.peer, octets).map(|_| ()),
            (Self::Udp(udp), Target::Everyone(_)) => udp.check_len(octets),
            (Self::Serial(serial), Target::Node(to)) => serial.check(to.peer, octets).map(|_| ()),
            (Self::Serial(serial), Target::Everyone(_)) => {
                serial.check(Peer::Line, octets).map(|_| ())
            }
        }
    }

    pub(super) fn flusher(&self) -> Flusher {
        match self {
            Self::Udp(udp) => Flusher::Udp(udp.port()),
            Self::Serial(serial) => Flusher::Serial(serial.line()),
        }
    }
}

/// Waits for a sender without holding it.
pub(super) enum Flusher {
    Udp(Arc<udp::Port>),
    Serial(Arc<serial::Line>),
}

impl Flusher {
    pub(super) async fn flush(&self) {
        match self {
            Self::Udp(port) => port.flush().await,
            Self::Serial(line) => line.flush().await,
        }
    }
}
