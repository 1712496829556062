//! Framing for byte-stream radios: where a datagram begins, ends, and whether it is whole.
//!
//! A serial radio delivers bytes, not datagrams, and loses some of them. On the line,
//!
//! ```text
//! frame    = [0x00] COBS(datagram crc) 0x00
//! datagram = message                              (one node on the line)
//!          | length 0xFE ctrl node-id message     (a shared radio) [MQTT-SN 1.2 §5.5]
//! crc      = CRC-16/IBM-SDLC of the datagram, low octet first
//! ```
//!
//! **COBS** (Cheshire, Baker: "Consistent Overhead Byte Stuffing", IEEE/ACM Transactions on
//! Networking 7(2), 1999) frees the content from 0x00, so that 0x00 always and only ends a
//! frame. It costs one octet for every 254 at most, where SLIP would double the worst case.
//! Resynchronising therefore means waiting for the next 0x00: after any garbage at most one
//! good frame is lost, and none if it was sent with [`Lead::Delimiter`].
//!
//! **CRC-16/IBM-SDLC** is the frame check of PPP on serial lines (RFC 1662 §C): the polynomial
//! 0x1021 in the order in which a UART sends bits, so that it finds every burst of up to 16
//! bits as the line has it, and every one, two and three flipped bits, in datagrams of up to
//! 4 kB. It starts from ones, which finds zeros lost in front, and ends inverted, which finds
//! zeros lost behind: without that (CRC-16/IBM-3740), where the CRC's last octet is 0 one
//! flipped bit in the last COBS code would end the frame an octet early, with a fitting CRC.
//!
//! That all holds for flips in data octets that leave them data. Flips in a COBS code octet or
//! a delimiter, and those that make one, move zeros instead; most break the stuffing, the rest
//! pass the CRC with a chance of 2⁻¹⁶, as any other garbage does.
//!
//! The price is [`FRAME_OVERHEAD`] octets for datagrams of up to 252 octets.
//!
//! # Sending
//! [`encode`] frames a datagram, [`encode_message`] a message with the name of its node.
//!
//! # Receiving
//! [`FrameReader`] takes bytes in any portions and gives datagrams; [`split`] takes the
//! node's name off.

mod encode;
mod error;
mod node;
mod reader;

pub use encode::{Lead, encode};
pub use error::{FrameError, NodeError};
pub use node::{NODE_OVERHEAD_MAX, encode_message, split};
pub use reader::{FrameReader, FrameStats};

/// The octet that ends every frame and occurs nowhere else on the line.
pub const DELIMITER: u8 = 0x00;

/// The octets that a frame adds to a datagram of up to 252 octets: one of COBS, two of CRC
/// and the delimiter.
pub const FRAME_OVERHEAD: usize = 4;

/// Returns the octets that the frame of a datagram of `datagram_len` octets takes at most,
/// the leading delimiter included.
///
/// It is usable for array lengths: `[0; frame_len_max(255)]`.
#[must_use]
pub const fn frame_len_max(datagram_len: usize) -> usize {
    let content = datagram_len.saturating_add(CRC_LEN);
    content
        .saturating_add(cobs::max_encoding_overhead(content))
        .saturating_add(DELIMITERS)
}

/// The octets of the CRC.
const CRC_LEN: usize = 2;

/// One delimiter before a frame, at most, and one after it.
const DELIMITERS: usize = 2;

/// One table of 512 octets: eight times faster than without, and still small for a node.
static CRC: crc::Crc<u16> = crc::Crc::<u16>::new(&crc::CRC_16_IBM_SDLC);

#[cfg(test)]
mod tests;
