//! PINGREQ and DISCONNECT, which also carry sleep [MQTT-SN 1.2 §5.4.19–5.4.21, §6.14].

use super::WireError;
use super::cursor::{Reader, Writer};

/// PINGREQ: is the other side there; with a client id, a sleeping node says that it woke up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PingReq<'a> {
    /// The waking node's client id, empty in a plain ping.
    pub client_id: &'a [u8],
}

/// DISCONNECT: the end of a connection; with a duration, the start of sleep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Disconnect {
    /// How long the node will sleep, in seconds; only from a node.
    pub duration_s: Option<u16>,
}

impl Disconnect {
    pub(super) fn parse(mut body: Reader<'_>) -> Result<Self, WireError> {
        let duration_s = if body.is_empty() {
            None
        } else {
            Some(body.u16()?)
        };
        body.end(Self { duration_s })
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        self.duration_s
            .map_or(Ok(()), |duration_s| w.u16(duration_s))
    }
}
