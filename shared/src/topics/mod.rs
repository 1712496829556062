//! Topic names and filters by MQTT's rules, and topics known to both sides beforehand.
//!
//! MQTT-SN names topics as MQTT does, so what a valid name is and what a filter matches is
//! MQTT 3.1.1 §4.7 (with the shared subscriptions of MQTT 5 §4.8.2 recognised).
//! [`TopicName`] and [`Filter`] hold text that was checked once; [`matches()`] and [`covers()`] are
//! for text that was checked before.

mod error;
mod filter;
mod name;
mod predefined;

pub use error::{PredefinedError, TopicError};
pub use filter::{Filter, covers, matches};
pub use name::TopicName;
pub use predefined::{PredefinedTable, PredefinedTopic};

/// The longest topic name or filter, in octets: its length must fit 16 bits [MQTT 3.1.1 §4.7.3].
pub const TOPIC_LEN_MAX: usize = 65_535;

#[cfg(test)]
mod tests;
