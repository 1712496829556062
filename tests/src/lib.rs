//! Real components for the integration tests and the rigs: a broker, the gateway, clients.
//!
//! Everything here starts, watches and ends real processes: a [`Mosquitto`] from the
//! distribution, the [`Sandgrouse`] binary that this workspace builds, the independent Python
//! client ([`PythonClient`]). A [`MqttProbe`] watches the broker, a [`SnSocket`] or [`SnNode`]
//! speaks MQTT-SN to the gateway with the messages of `shared::wire` and nothing else of this
//! project, so that a fault in the node's machine cannot hide one of the gateway's.
//!
//! A component that is not installed is an error that names `tests/run`, never a skipped test.
//! All sockets are on the loopback, all ports ephemeral, all waits bounded, and a component
//! ends only the processes it started, by their process ids.

mod cargo;
mod carrier;
mod client_node;
mod group;
pub mod load;
mod mosquitto;
pub mod ops;
mod ports;
mod probe;
mod process;
mod python;
mod sandgrouse;
mod sn;
mod usage;
pub mod world;

pub use cargo::{Profile, gateway_binary, target_directory, workspace_root};
pub use carrier::Carrier;
pub use client_node::{Air, ClientNode, Taken};
pub use group::Group;
pub use mosquitto::{Credentials, Mosquitto, MosquittoClient, MosquittoOptions};
pub use ports::{free_tcp_port, free_udp_port, udp_drops};
pub use probe::{MqttProbe, ProbeOptions, Received};
pub use process::{Log, Process, find_program};
pub use python::PythonClient;
pub use sandgrouse::{Launch, Sandgrouse, Stop, config};
pub use sn::{Datagram, Delivery, SnNode, SnSocket};
pub use usage::Usage;

use std::time::Duration;

/// Returns the seed of a randomised test, from the variable `SEED` where it is set, and prints
/// it, so that a failure can be run again.
///
/// # Panics
/// Where the variable holds no number.
#[must_use]
pub fn seed(default: u64) -> u64 {
    let seed =
        std::env::var("SEED").map_or(default, |text| text.parse().expect("SEED must be a number"));
    // Captured by the test harness, and shown where the test fails.
    println!("SEED={seed}");
    seed
}

/// How long a test waits for something that takes milliseconds on an idle machine.
///
/// Generous, because it is only ever spent in full by a failing test: two busy cores must not
/// make a right answer look like a missing one.
pub const PATIENCE: Duration = Duration::from_secs(20);
