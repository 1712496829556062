//! The handle of the MQTT 5 upstream.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rumqttc::v5::MqttOptions;
use rumqttc::v5::mqttbytes::v5::ConnectProperties;
use rumqttc::{NetworkOptions, TlsConfiguration, Transport};
use shared::rng::Rng;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::Upstream;
use super::backoff::Backoff;
use super::config::{Overlapping, Secret, UpstreamConfig, UpstreamConfigError};
use super::connection::Origin;
use super::deliveries::Deliveries;
use super::ledger::{Ledger, cost};
use super::stats::{Counters, UpstreamStats};
use super::subscriptions::Subscriptions;
use super::task::{Command, Log, Task};
use super::tls;
use crate::session::{UpstreamEvent, UpstreamRequest};

/// One MQTT 5 connection for all nodes, kept up by a task of its own.
///
/// The channels to and from that task have no length of their own. What goes in is bounded here
/// by count and bytes; what comes out is bounded by what went in, and by the bytes and the QoS 0
/// publications that the engine has not fetched.
#[derive(Debug)]
pub struct MqttUpstream {
    commands: UnboundedSender<Command>,
    events: UnboundedReceiver<UpstreamEvent>,
    counters: Arc<Counters>,
    queue_len_max: usize,
    queue_bytes_max: usize,
    task: JoinHandle<()>,
}

/// Reads the counters of an upstream from anywhere.
#[derive(Clone, Debug)]
pub struct UpstreamMonitor(Arc<Counters>);

impl UpstreamMonitor {
    /// Returns the counters as they are now.
    #[must_use]
    pub fn stats(&self) -> UpstreamStats {
        self.0.snapshot()
    }
}

impl MqttUpstream {
    /// Starts the upstream: it connects by itself, now and whenever the connection is lost.
    ///
    /// `rng` spreads the back-off.
    ///
    /// # Errors
    /// [`UpstreamConfigError`] where a value is out of bounds or a TLS file cannot be used.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(config: &UpstreamConfig, mut rng: Rng) -> Result<Self, UpstreamConfigError> {
        config.validate()?;
        let (commands, command_rx) = unbounded_channel();
        let (event_tx, events) = unbounded_channel();
        let counters = Arc::new(Counters::default());
        let retry_max = config.backoff_max * RETRY_SPAN;
        let task = Task {
            broker: format!("{}:{}", config.host, config.port),
            origin: Origin::new(
                options(config)?,
                config.connect_timeout,
                config.inflight_max,
            ),
            commands: command_rx,
            events: event_tx,
            counters: counters.clone(),
            ledger: Ledger::new(config.inflight_max.saturating_add(1)),
            subscriptions: Subscriptions::default(),
            deliveries: Deliveries::default(),
            retry_backoff: Backoff::new(config.backoff_max, retry_max, rng.split()),
            retry_at: None,
            backoff: Backoff::new(config.backoff_min, config.backoff_max, rng),
            backoff_max: config.backoff_max,
            lasting: config.backoff_min * LASTING,
            qos0_len_max: config.qos0_len_max,
            unfetched_bytes_max: config.unfetched_bytes_max,
            identifies: config.overlapping == Overlapping::Each,
            close_by: None,
            log: Log::default(),
        };
        Ok(Self {
            commands,
            events,
            counters,
            queue_len_max: config.queue_len_max,
            queue_bytes_max: config.queue_bytes_max,
            task: tokio::spawn(task.run()),
        })
    }

    /// Returns the counters as they are now.
    #[must_use]
    pub fn stats(&self) -> UpstreamStats {
        self.counters.snapshot()
    }

    /// Returns a reader of the counters that outlives this handle.
    #[must_use]
    pub fn monitor(&self) -> UpstreamMonitor {
        UpstreamMonitor(self.counters.clone())
    }

    fn has_room(&self, bytes: usize) -> bool {
        let len = self.counters.queue_len.load(Relaxed);
        let held = self.counters.queue_bytes.load(Relaxed);
        // One publication larger than the whole queue passes alone rather than never.
        len < self.queue_len_max && (len == 0 || held + bytes <= self.queue_bytes_max)
    }
}

impl Upstream for MqttUpstream {
    fn request(&mut self, request: UpstreamRequest) -> Result<(), UpstreamRequest> {
        let bytes = match &request {
            UpstreamRequest::Publish { publication, .. } => Some(cost(publication)),
            _ => None,
        };
        if bytes.is_some_and(|bytes| !self.has_room(bytes)) {
            Counters::add(&self.counters.queue_full);
            return Err(request);
        }
        if let Some(bytes) = bytes {
            self.counters.queued(bytes);
        }
        self.commands
            .send(Command::Request(request))
            .map_err(|unsent| {
                if let Some(bytes) = bytes {
                    self.counters.finished(bytes);
                }
                match unsent.0 {
                    Command::Request(request) => request,
                    Command::Close(_) => unreachable!("a request was sent"),
                }
            })
    }

    async fn events(&mut self, out: &mut Vec<UpstreamEvent>) {
        let before = out.len();
        if self.events.recv_many(out, EVENTS_AT_ONCE).await == 0 {
            return std::future::pending().await;
        }
        self.counters.fetched(&out[before..]);
    }

    async fn close(self, limit: Duration) -> usize {
        let Self {
            commands,
            events,
            mut task,
            counters,
            ..
        } = self;
        // Nothing is fetched any more, so nothing waits to be.
        drop(events);
        // A task that has ended already takes no command, and is joined at once.
        let _ = commands.send(Command::Close(Instant::now() + limit));
        if timeout(limit + DISCONNECT_GRACE, &mut task).await.is_err() {
            task.abort();
        }
        counters.queue_len.load(Relaxed)
    }
}

fn options(config: &UpstreamConfig) -> Result<MqttOptions, UpstreamConfigError> {
    // A TCP address needs brackets around IPv6, which a TLS server name cannot be here.
    let host = if config.host.contains(':') {
        format!("[{}]", config.host)
    } else {
        config.host.clone()
    };
    let mut options = MqttOptions::new(&config.client_id, host, config.port);
    let mut network = NetworkOptions::new();
    network.set_tcp_nodelay(config.tcp_nodelay);
    options
        .set_network_options(network)
        .set_keep_alive(config.keep_alive)
        .set_clean_start(config.first_clean)
        .set_manual_acks(true);
    let mut properties = ConnectProperties::new();
    properties.session_expiry_interval =
        Some(u32::try_from(config.session_expiry.as_secs()).unwrap_or(u32::MAX));
    properties.receive_maximum = Some(config.receive_maximum);
    properties.max_packet_size = Some(config.max_packet_size);
    options.set_connect_properties(properties);
    if let Some(username) = &config.username {
        let password = config.password.as_ref().map_or("", Secret::expose);
        options.set_credentials(username, password);
    }
    if let Some(config) = &config.tls {
        let tls = TlsConfiguration::Rustls(tls::client_config(config)?);
        options.set_transport(Transport::tls_with_config(tls));
    }
    Ok(options)
}

const EVENTS_AT_ONCE: usize = 256;

/// Shortest waits that a connection must last before the next one is tried without delay.
const LASTING: u32 = 10;

/// Refused subscriptions are first tried again after the longest wait between connections,
/// and at last after so many of it: a quota is not set right within seconds.
const RETRY_SPAN: u32 = 16;

/// Time for the DISCONNECT to leave after the limit has passed.
const DISCONNECT_GRACE: Duration = Duration::from_millis(500);
