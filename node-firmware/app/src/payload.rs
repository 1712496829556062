//! What a node publishes, in postcard: integers as varints, signed ones zigzag, fields in the
//! order they are declared, nothing between them.

use serde::{Deserialize, Serialize};

/// One measurement, published on the reading topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The reading's number: rises by one, leaps at a restart, is never given twice.
    pub sequence: u32,
    /// Seconds since the node was powered up, when it was measured.
    pub uptime_s: u32,
    /// The supply voltage in millivolts, 0 where the board cannot measure it.
    pub battery_mv: u16,
    /// The measured value, in thousandths of its unit (millidegrees Celsius on our boards).
    pub value_milli: i32,
}

/// What a node did with a command, and how it is; published on the status topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The id of the command that this confirms, 0 where it had none.
    pub command_id: u32,
    /// What became of it.
    pub outcome: Outcome,
    /// Commands that arrived since the node started, repeated ones included.
    pub commands: u32,
    /// The reporting interval now in force, in seconds.
    pub interval_s: u32,
    /// Whether the LED is on.
    pub led: bool,
    /// Publications lost since the node started because the queue was full.
    pub dropped: u32,
    /// How often the node has started.
    pub boots: u32,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Done.
    #[default]
    Done,
    /// It carries the id of the command before it and was not done again.
    Repeated,
    /// It is not a command that this node knows.
    Unknown,
    /// Its argument is missing or out of range.
    Argument,
    /// It was understood, but could not be stored.
    Storage,
}

impl Reading {
    /// Reads a reading from the payload of a publication.
    ///
    /// # Errors
    /// Postcard's, where it is not one.
    pub fn decode(payload: &[u8]) -> Result<Self, postcard::Error> {
        whole(postcard::take_from_bytes(payload)?)
    }
}

impl Status {
    /// Reads a status from the payload of a publication.
    ///
    /// # Errors
    /// Postcard's, where it is not one.
    pub fn decode(payload: &[u8]) -> Result<Self, postcard::Error> {
        whole(postcard::take_from_bytes(payload)?)
    }
}

fn whole<T>((value, rest): (T, &[u8])) -> Result<T, postcard::Error> {
    if rest.is_empty() {
        Ok(value)
    } else {
        Err(postcard::Error::DeserializeBadEncoding)
    }
}

/// The longest payload that a node publishes: [`Status`] with every varint at its longest.
pub const PAYLOAD_LEN_MAX: usize = 27;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reading_has_the_documented_layout() {
        let reading = Reading {
            sequence: 300,
            uptime_s: 60,
            battery_mv: 3300,
            value_milli: -1500,
        };
        let mut buf = [0; PAYLOAD_LEN_MAX];
        let payload = postcard::to_slice(&reading, &mut buf).unwrap();
        // 300 and 3300 as two-octet varints, 60 as one, -1500 zigzag 2999.
        assert_eq!(payload, [0xAC, 0x02, 60, 0xE4, 0x19, 0xB7, 0x17]);
        assert_eq!(Reading::decode(payload), Ok(reading));
    }

    #[test]
    fn trailing_octets_are_refused() {
        assert!(Reading::decode(&[1, 2, 3, 4]).is_ok());
        assert!(Reading::decode(&[1, 2, 3, 4, 5]).is_err());
        assert!(Reading::decode(&[1, 2, 3]).is_err());
    }

    #[test]
    fn the_longest_payloads_fit() {
        let mut buf = [0; PAYLOAD_LEN_MAX];
        let status = Status {
            command_id: u32::MAX,
            outcome: Outcome::Storage,
            commands: u32::MAX,
            interval_s: u32::MAX,
            led: true,
            dropped: u32::MAX,
            boots: u32::MAX,
        };
        let payload = postcard::to_slice(&status, &mut buf).unwrap();
        assert_eq!(payload.len(), PAYLOAD_LEN_MAX);
        assert_eq!(Status::decode(payload), Ok(status));
        let reading = Reading {
            sequence: u32::MAX,
            uptime_s: u32::MAX,
            battery_mv: u16::MAX,
            value_milli: i32::MIN,
        };
        assert!(postcard::to_slice(&reading, &mut buf).is_ok());
    }
}
