//! The node application: wakes, measures, publishes, collects its commands and sleeps.
//!
//! It knows no chip, no executor and no clock of its own. A board gives it a [`Radio`],
//! [`Storage`], [`Sensor`], [`Power`] and [`Clock`]; the protocol is
//! [`shared::client`]'s. So the code that runs on an ESP32 runs in an emulated CPU, in the
//! gateway's demo and in tests on a host, too.
//!
//! ```text
//!            interval over                       queue empty            nothing more
//!   sleep ------------------> sample, PUBLISH ----------------> PINGREQ --------------> sleep
//!     ^    gateway's time over                                  commands
//!     +---------------------------------------------------------------------------------+
//! ```
//!
//! # What it publishes
//! [`Reading`] on the reading topic, [`Status`] on the status topic for every
//! [command] that arrives.
//!
//! # Using it
//! 1. Gather the board's [`Parts`].
//! 2. [`Node::start`] reads the settings and the state; it fails without valid settings.
//! 3. [`Node::run`] is the rest of the node's life. It ends only where the settings limit the
//!    number of readings.

#![no_std]

#[cfg(test)]
extern crate std;

pub mod command;
pub mod flash;
mod node;
mod outbox;
pub mod payload;
mod ports;
pub mod record;
pub mod serial;
pub mod settings;
pub mod state;

pub use node::{Node, NodeStats, Parts, StartError};
pub use outbox::OUTBOX_LEN;
pub use payload::{Outcome, Reading, Status};
pub use ports::{Clock, Power, Radio, Sample, Sensor, Storage};
pub use settings::{Settings, SettingsError};
