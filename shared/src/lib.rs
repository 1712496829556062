//! What both ends of a Sandgrouse link must agree on.
//!
//! This crate holds the parts that the node firmware, the gateway, the simulator and the
//! test rigs share, so that there is one of each: the MQTT-SN 1.2 messages ([`wire`]), the
//! framing of byte-stream radios ([`frame`]), the node's protocol machine ([`client`]), topic
//! names and filters ([`topics`]) and the seeded model of a bad link ([`fault`]).
//!
//! # The contract of every machine
//!
//! The machines are sans-IO: they own no clock, socket, task, allocator or randomness.
//!
//! 1. Feed one input: `handle_datagram(now, …)`, `handle_timeout(now)` or a command.
//! 2. Drain `poll_transmit` and `poll_event` until both are empty.
//! 3. Sleep until `poll_timeout()` or the next input, and start again.
//!
//! `no_std`, no allocator, no `unsafe`. Bytes from the air never panic.

#![no_std]

#[cfg(test)]
extern crate std;

pub mod client;
pub mod fault;
pub mod frame;
mod octets;
pub mod rng;
pub mod time;
pub mod topics;
pub mod wire;
