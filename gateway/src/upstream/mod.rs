//! The broker side: publications up with custody, publications down with manual
//! acknowledgement, over one MQTT 5 connection for all nodes.
//!
//! What is taken is kept until the broker has answered for it, whatever becomes of the
//! connection (`ledger.rs`); what comes down is acknowledged when the engine says so
//! (`deliveries.rs`); subscriptions are made again when the broker has forgotten them
//! (`subscriptions.rs`). These three are sans-IO. One task (`task.rs`) owns them and the
//! connection, which is rumqttc's, rebuilt after every error and kept from its known faults
//! (`connection.rs`). The engine's side is a handle with two queues (`mqtt.rs`).
//!
//! Limits of what is promised:
//! - QoS 2 is exactly once while the broker keeps the session and this process runs. When the
//!   broker has forgotten the session, an open QoS 2 publication is sent anew and may arrive
//!   twice. When this process is started anew it knows nothing of the open exchanges.
//! - A broker that ends the connection over one publication again and again, and says so with a
//!   reason code, has it refused; see `Ledger::blame`.

mod backoff;
mod config;
mod connection;
mod deliveries;
mod ledger;
mod limits;
mod mqtt;
mod stats;
mod subscriptions;
mod task;
pub(crate) mod tls;

use std::future::Future;
use std::time::Duration;

pub use config::{
    ClientIdentity, INFLIGHT_LIMIT, KEEP_ALIVE_MIN, Overlapping, Secret, TlsConfig, UpstreamConfig,
    UpstreamConfigError,
};
pub use mqtt::{MqttUpstream, UpstreamMonitor};
pub use stats::UpstreamStats;

use crate::session::{UpstreamEvent, UpstreamRequest};

/// The broker side as the driver sees it.
pub trait Upstream: Send {
    /// Hands a request over.
    ///
    /// # Errors
    /// Gives a publication back where the queue is full; other requests are always taken.
    fn request(&mut self, request: UpstreamRequest) -> Result<(), UpstreamRequest>;

    /// Waits until there is an event, and appends all that are ready.
    ///
    /// # Cancellation Safety
    /// Cancelled, it has taken nothing.
    fn events(&mut self, out: &mut Vec<UpstreamEvent>) -> impl Future<Output = ()> + Send;

    /// Waits up to `limit` until everything taken is acknowledged, and disconnects. Returns how
    /// many publications are left.
    fn close(self, limit: Duration) -> impl Future<Output = usize> + Send;
}
