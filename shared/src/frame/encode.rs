//! From a datagram to a frame.

use cobs::CobsEncoder;

use super::{CRC, DELIMITER, FrameError};

/// What stands before a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Lead {
    /// Nothing: the delimiter of the frame before this one is enough, as long as the line
    /// was quiet or carried frames in between.
    #[default]
    None,
    /// A delimiter, for a line that was idle: a radio's UART gives stray bytes when either
    /// end powers up or sleeps, and they would spoil this frame. The price is one octet,
    /// about 5 % of a frame with a 15-octet PUBLISH; the gain is the frame that would
    /// otherwise be sent again.
    Delimiter,
}

/// Writes the frame of `datagram` into `frame` and returns the octets written.
///
/// # Errors
/// [`FrameError::Empty`] where `datagram` is empty; [`FrameError::Buffer`] where `frame` is
/// too short, which never happens with [`frame_len_max`](super::frame_len_max) octets.
pub fn encode(datagram: &[u8], lead: Lead, frame: &mut [u8]) -> Result<usize, FrameError> {
    if datagram.is_empty() {
        return Err(FrameError::Empty);
    }
    encode_parts([datagram, &[]], lead, frame)
}

/// Writes the frame of a datagram that comes in two parts, either of which may be empty.
pub(super) fn encode_parts(
    parts: [&[u8]; 2],
    lead: Lead,
    frame: &mut [u8],
) -> Result<usize, FrameError> {
    let start = match lead {
        Lead::None => 0,
        Lead::Delimiter => {
            *frame.first_mut().ok_or(FrameError::Buffer)? = DELIMITER;
            1
        }
    };
    let content = frame.get_mut(start..).ok_or(FrameError::Buffer)?;
    let end = start + stuff(parts, content)?;
    *frame.get_mut(end).ok_or(FrameError::Buffer)? = DELIMITER;
    Ok(end + 1)
}

fn stuff(parts: [&[u8]; 2], content: &mut [u8]) -> Result<usize, FrameError> {
    let mut digest = CRC.digest();
    let mut encoder = CobsEncoder::new(content);
    // The encoder must not be pushed an empty part: after a full block it would take it for
    // the start of a new one.
    for part in parts.into_iter().filter(|part| !part.is_empty()) {
        digest.update(part);
        encoder.push(part).map_err(|_| FrameError::Buffer)?;
    }
    encoder
        .push(&digest.finalize().to_le_bytes())
        .map_err(|_| FrameError::Buffer)?;
    Ok(encoder.finalize())
}
