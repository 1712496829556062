//! The Sandgrouse gateway: MQTT-SN below, MQTT above.
//!
//! [`session`] is the protocol machine, without any input or output. [`link`] and [`upstream`]
//! carry datagrams and publications; [`driver`] is the loop between them. [`config`] is the
//! one file they are set up from, [`broker`] the broker that serves where none is configured,
//! [`drop_log`] the log of what was not served, [`cli`] the `sandgrouse` command. What was decided
//! where the standard is silent, and which test proves it, is the table of [`decisions`].

pub mod broker;
pub mod cli;
pub mod config;
pub mod driver;
pub mod drop_log;
pub mod link;
pub mod session;
pub mod upstream;

/// Decisions, and the tests that prove them.
#[doc = include_str!("../docs/decisions.md")]
pub mod decisions {}
