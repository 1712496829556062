//! The Sandgrouse gateway: MQTT-SN below, MQTT above.

pub mod broker;
pub mod cli;
pub mod config;
pub mod drop_log;
pub mod link;
pub mod session;
pub mod upstream;
