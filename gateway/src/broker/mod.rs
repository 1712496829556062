//! The embedded default broker: a whole MQTT broker in the process, for a gateway without one.
//!
//! It serves anyone who reaches its address, so it belongs on loopback. Sessions, queues and
//! retained messages live in memory and end with the process; a gateway that must keep its
//! custody over restarts needs a broker of its own.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use mqtt5::broker::config::{AuthConfig, StorageBackend, StorageConfig};
use mqtt5::broker::{BrokerConfig, BrokerShutdownHandle, MqttBroker};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A running broker. Dropped, it ends; [`Self::shutdown`] also waits for that.
#[derive(Debug)]
pub struct EmbeddedBroker {
    address: SocketAddr,
    shutdown: Shutdown,
    task: JoinHandle<Result<(), mqtt5::MqttError>>,
}

/// Why the broker cannot serve.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// Something else listens on the address already.
    #[error(
        "embedded broker: {0} is in use; end the other broker, name it as the upstream, \
         or choose another address"
    )]
    AddressInUse(SocketAddr),
    /// The address cannot be listened on.
    #[error("embedded broker: cannot listen on {address}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The broker has failed.
    #[error("embedded broker: {0}")]
    Failed(String),
}

impl EmbeddedBroker {
    /// Starts a broker that listens on `listen`; with port 0 the system chooses one.
    ///
    /// # Errors
    /// [`BrokerError`] where it cannot listen there.
    pub async fn start(listen: SocketAddr) -> Result<Self, BrokerError> {
        probe(listen).await?;
        let mut broker = MqttBroker::with_config(config(listen))
            .await
            .map_err(failed)?;
        let address = broker
            .local_addr()
            .ok_or_else(|| BrokerError::Failed("it listens nowhere".to_owned()))?;
        let shutdown = Shutdown(broker.shutdown_handle());
        let mut ready = broker.ready_receiver();
        let mut task = tokio::spawn(async move { broker.run().await });
        tokio::select! {
            _ = ready.wait_for(|ready| *ready) => {}
            ended = &mut task => return Err(ended_early(ended)),
        }
        Ok(Self {
            address,
            shutdown,
            task,
        })
    }

    /// Returns the address it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends the broker and waits until it has ended.
    ///
    /// # Errors
    /// [`BrokerError::Failed`] where it had failed before.
    pub async fn shutdown(self) -> Result<(), BrokerError> {
        let Self { shutdown, task, .. } = self;
        drop(shutdown);
        match task.await {
            Ok(ended) => ended.map_err(failed),
            Err(error) => Err(failed(error)),
        }
    }
}

struct Shutdown(BrokerShutdownHandle);

impl fmt::Debug for Shutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Shutdown")
    }
}

impl Drop for Shutdown {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

/// The log directive that keeps the broker's chatter out of the gateway's log.
pub const LOG_DIRECTIVE: &str = "mqtt5=warn";

/// Tries the address beforehand: the broker's own error is a text without its cause.
async fn probe(address: SocketAddr) -> Result<(), BrokerError> {
    match TcpListener::bind(address).await {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            Err(BrokerError::AddressInUse(address))
        }
        Err(source) => Err(BrokerError::Listen { address, source }),
    }
}

fn config(listen: SocketAddr) -> BrokerConfig {
    let storage = StorageConfig::new()
        // Storage is what keeps sessions while a client is away; the default is a folder
        // below wherever the process was started.
        .with_backend(StorageBackend::Memory)
        .with_max_queued_messages_per_client(QUEUE_LEN_MAX);
    BrokerConfig::default()
        .with_bind_address(listen)
        .with_max_packet_size(PACKET_SIZE_MAX)
        .with_auth(AuthConfig::new().with_allow_anonymous(true))
        .with_storage(storage)
        .with_sys_topics_enabled(false)
}

fn ended_early(ended: Result<Result<(), mqtt5::MqttError>, tokio::task::JoinError>) -> BrokerError {
    match ended {
        Ok(Ok(())) => BrokerError::Failed("it ended before it served".to_owned()),
        Ok(Err(error)) => failed(error),
        Err(error) => failed(error),
    }
}

fn failed(error: impl ToString) -> BrokerError {
    BrokerError::Failed(error.to_string())
}

const QUEUE_LEN_MAX: usize = 100_000;
const PACKET_SIZE_MAX: usize = 1024 * 1024;
