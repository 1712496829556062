//! Serial radios: [`Radio`] over anything that reads and writes bytes.

use core::fmt;

use embedded_io_async::{ErrorKind, Read, Write};
use shared::frame::{
    FrameReader, FrameStats, Lead, NODE_OVERHEAD_MAX, encode_message, frame_len_max, split,
};
use shared::wire::NodeId;

use crate::ports::Radio;
use crate::settings::DATAGRAM_LEN_MAX;

/// A serial radio: datagrams in frames on a line of bytes.
///
/// On a radio that several nodes share, every message carries the node id in the forwarder
/// encapsulation, and what is for other nodes is skipped.
#[derive(Debug)]
pub struct SerialRadio<L> {
    line: L,
    node_id: Option<NodeId>,
    reader: FrameReader<WIRE_LEN_MAX>,
    /// Bytes that were read off the line behind the end of a frame.
    ahead: [u8; READ_LEN],
    ahead_start: usize,
    ahead_end: usize,
    foreign: u32,
}

/// Why a serial radio neither sends nor receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SerialError {
    /// The line reports this.
    Line(ErrorKind),
    /// The line was hung up.
    Closed,
    /// The datagram is empty or too long for a frame.
    Datagram,
}

impl<L: Read + Write> SerialRadio<L> {
    /// Uses `line`, alone on it or as one of several nodes.
    pub const fn new(line: L, node_id: Option<NodeId>) -> Self {
        Self {
            line,
            node_id,
            reader: FrameReader::new(),
            ahead: [0; READ_LEN],
            ahead_start: 0,
            ahead_end: 0,
            foreign: 0,
        }
    }

    /// Returns what was seen on the line.
    pub const fn stats(&self) -> &FrameStats {
        self.reader.stats()
    }

    /// Returns how many datagrams were for other nodes, or named none where one was due.
    pub const fn foreign(&self) -> u32 {
        self.foreign
    }

    /// Takes bytes that were read before up to the next datagram for this node; returns its
    /// length in `buf`.
    fn next_datagram(&mut self, buf: &mut [u8]) -> Option<usize> {
        while let Some(mut bytes) = self.ahead.get(self.ahead_start..self.ahead_end) {
            let datagram = self.reader.feed(&mut bytes);
            self.ahead_start = self.ahead_end - bytes.len();
            let datagram = datagram?;
            let Some(message) = message_for(self.node_id, datagram) else {
                self.foreign = self.foreign.wrapping_add(1);
                continue;
            };
            if let Some(place) = buf.get_mut(..message.len()) {
                place.copy_from_slice(message);
                return Some(message.len());
            }
        }
        None
    }
}

impl<L: Read + Write> Radio for SerialRadio<L> {
    type Error = SerialError;

    async fn transmit(&mut self, datagram: &[u8]) -> Result<(), SerialError> {
        let mut frame = [0; frame_len_max(WIRE_LEN_MAX)];
        let node_id = self.node_id.as_ref();
        // The line was idle, and a radio gives stray bytes when it wakes.
        let len = encode_message(node_id, datagram, Lead::Delimiter, &mut frame)
            .map_err(|_| SerialError::Datagram)?;
        let frame = frame.get(..len).ok_or(SerialError::Datagram)?;
        self.line.write_all(frame).await.map_err(line_error)?;
        self.line.flush().await.map_err(line_error)
    }

    async fn receive(&mut self, buf: &mut [u8]) -> Result<usize, SerialError> {
        loop {
            if let Some(len) = self.next_datagram(buf) {
                return Ok(len);
            }
            // The only wait: what it has read is kept before anything else can be cancelled.
            let len = self.line.read(&mut self.ahead).await.map_err(line_error)?;
            if len == 0 {
                return Err(SerialError::Closed);
            }
            (self.ahead_start, self.ahead_end) = (0, len);
        }
    }
}

/// Returns the message in `datagram`, if it is for this node.
fn message_for(node_id: Option<NodeId>, datagram: &[u8]) -> Option<&[u8]> {
    match (node_id, split(datagram).ok()?) {
        (None, (None, message)) => Some(message),
        (Some(own), (Some(named), message)) if own == named => Some(message),
        // A message for everyone carries no node id.
        (Some(_), (None, message)) => Some(message),
        _ => None,
    }
}

fn line_error(error: impl embedded_io_async::Error) -> SerialError {
    SerialError::Line(error.kind())
}

impl fmt::Display for SerialError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(kind) => write!(f, "the line: {kind}"),
            Self::Closed => f.write_str("the line was hung up"),
            Self::Datagram => f.write_str("the datagram does not fit a frame"),
        }
    }
}

impl core::error::Error for SerialError {}

/// The longest datagram on the line, the node's name included.
const WIRE_LEN_MAX: usize = DATAGRAM_LEN_MAX + NODE_OVERHEAD_MAX;

/// Bytes taken off the line at once; a UART's FIFO has 16 to 128.
const READ_LEN: usize = 64;

#[cfg(test)]
mod tests;
