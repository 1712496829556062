//! Records: bytes with a head that tells whether they are whole.
//!
//! What a node keeps in flash, and what is written there from a host, is a record:
//!
//! | offset | octets | content |
//! |---:|---:|---|
//! | 0 | 4 | `SGN1` |
//! | 4 | 1 | what it is: 1 settings, 2 state |
//! | 5 | 1 | the version of the payload's layout |
//! | 6 | 2 | octets of the payload |
//! | 8 | 4 | counter: of several records of a kind, the highest is the newest |
//! | 12 | 4 | CRC-32/ISO-HDLC of octets 4 to 11 and the payload |
//! | 16 | | the payload, in postcard |
//!
//! Integers are big-endian, as they are in MQTT-SN.

use core::fmt;

use crc::{CRC_32_ISO_HDLC, Crc, NoTable};

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// The node's [`Settings`](crate::Settings), written from a host.
    Settings = 1,
    /// What the node itself keeps, [`State`](crate::state::State).
    State = 2,
}

impl Kind {
    /// Returns the version of the payload's layout that this firmware reads and writes.
    #[must_use]
    pub const fn version(self) -> u8 {
        match self {
            Self::Settings | Self::State => 1,
        }
    }
}

/// A whole record, as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// The counter that orders records of one kind.
    pub counter: u32,
    /// The content.
    pub payload: &'a [u8],
}

impl<'a> Record<'a> {
    /// Reads the record of `kind` at the front of `bytes`; what follows it is ignored.
    ///
    /// # Errors
    /// Why there is none: see [`RecordError`].
    pub fn parse(kind: Kind, bytes: &'a [u8]) -> Result<Self, RecordError> {
        let (head, rest) = bytes
            .split_first_chunk::<RECORD_OVERHEAD>()
            .ok_or(RecordError::Truncated)?;
        let [
            m0,
            m1,
            m2,
            m3,
            found,
            version,
            l0,
            l1,
            c0,
            c1,
            c2,
            c3,
            r0,
            r1,
            r2,
            r3,
        ] = *head;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(RecordError::Absent);
        }
        let len = usize::from(u16::from_be_bytes([l0, l1]));
        let payload = rest.get(..len).ok_or(RecordError::Truncated)?;
        let counter = [c0, c1, c2, c3];
        let sum = checksum([found, version, l0, l1], counter, payload);
        if sum != u32::from_be_bytes([r0, r1, r2, r3]) {
            return Err(RecordError::Checksum);
        }
        if found != kind as u8 {
            return Err(RecordError::Kind(found));
        }
        if version != kind.version() {
            return Err(RecordError::Version(version));
        }
        Ok(Self {
            counter: u32::from_be_bytes(counter),
            payload,
        })
    }

    /// Writes the record into `buf` and returns its length.
    ///
    /// # Errors
    /// [`RecordError::Buffer`] where it does not fit `buf`, or the payload is longer than the
    /// length field can tell.
    pub fn emit(&self, kind: Kind, buf: &mut [u8]) -> Result<usize, RecordError> {
        let len = u16::try_from(self.payload.len()).map_err(|_| RecordError::Buffer)?;
        let total = RECORD_OVERHEAD + self.payload.len();
        let out = buf.get_mut(..total).ok_or(RecordError::Buffer)?;
        let [l0, l1] = len.to_be_bytes();
        let about = [kind as u8, kind.version(), l0, l1];
        let counter = self.counter.to_be_bytes();
        let sum = checksum(about, counter, self.payload).to_be_bytes();
        let parts: [&[u8]; 5] = [&MAGIC, &about, &counter, &sum, self.payload];
        for (place, byte) in out.iter_mut().zip(parts.into_iter().flatten()) {
            *place = *byte;
        }
        Ok(total)
    }
}

/// Why bytes are not the record that was looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordError {
    /// No record begins here: an erased or foreign region.
    Absent,
    /// The bytes end before the record does.
    Truncated,
    /// The content is not what was written.
    Checksum,
    /// The record holds something else; its kind.
    Kind(u8),
    /// The layout is of another version; which.
    Version(u8),
    /// The record does not fit the buffer.
    Buffer,
}

impl fmt::Display for RecordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("there is no record"),
            Self::Truncated => f.write_str("the record is cut short"),
            Self::Checksum => f.write_str("the record's checksum does not match"),
            Self::Kind(kind) => write!(f, "the record is of kind {kind}"),
            Self::Version(version) => write!(f, "the record's layout has version {version}"),
            Self::Buffer => f.write_str("the record does not fit the buffer"),
        }
    }
}

impl core::error::Error for RecordError {}

fn checksum(about: [u8; 4], counter: [u8; 4], payload: &[u8]) -> u32 {
    let mut digest = CRC.digest();
    digest.update(&about);
    digest.update(&counter);
    digest.update(payload);
    digest.finalize()
}

/// The octets that a record adds to its payload.
pub const RECORD_OVERHEAD: usize = 16;

const MAGIC: [u8; 4] = *b"SGN1";

/// Without a table: records are read at boot and written now and then.
static CRC: Crc<u32, NoTable> = Crc::<u32, NoTable>::new(&CRC_32_ISO_HDLC);

#[cfg(test)]
mod tests {
    use super::*;

    const RECORD: Record<'static> = Record {
        counter: 7,
        payload: b"hello",
    };

    #[test]
    fn a_record_reads_back() {
        let mut buf = [0xFF; 32];
        let len = RECORD.emit(Kind::State, &mut buf).unwrap();
        assert_eq!(len, RECORD_OVERHEAD + 5);
        assert_eq!(Record::parse(Kind::State, &buf), Ok(RECORD));
        assert_eq!(
            Record::parse(Kind::Settings, &buf),
            Err(RecordError::Kind(2))
        );
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let mut buf = [0xFF; 32];
        let len = RECORD.emit(Kind::State, &mut buf).unwrap();
        for bit in 0..len * 8 {
            let mut bad = buf;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::parse(Kind::State, &bad).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn erased_flash_holds_no_record() {
        assert_eq!(
            Record::parse(Kind::State, &[0xFF; 64]),
            Err(RecordError::Absent)
        );
        assert_eq!(
            Record::parse(Kind::State, &[0xFF; 3]),
            Err(RecordError::Truncated)
        );
    }

    #[test]
    fn a_buffer_too_small_is_an_error() {
        assert_eq!(
            RECORD.emit(Kind::State, &mut [0; 20]),
            Err(RecordError::Buffer)
        );
    }
}
