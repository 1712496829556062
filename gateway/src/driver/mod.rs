//! The one loop: links and upstream in, engine, links and upstream out.
//!
//! ```text
//!   links ──(binding, datagram)──► ┌────────┐ ──requests──► upstream ──► broker
//!         ◄──────datagrams──────── │ engine │ ◄──events────
//!                                  └────────┘
//! ```
//!
//! The driver is the only part that knows all the others. It takes whatever has arrived,
//! feeds it to the engine, and then carries the engine's outputs away, in their order.

mod clock;
mod links;
mod notices;
mod reload;
mod settings;

use std::time::Duration;

use thiserror::Error;
use tokio::sync::mpsc;
use tracing::{info, warn};

use crate::broker::{BrokerError, EmbeddedBroker};
use crate::config::Config;
use crate::link::{Inbound, LinkError, LinkHandle};
use crate::session::{Engine, Output, Stats, UpstreamEvent};
use crate::upstream::{MqttUpstream, Upstream, UpstreamConfigError};

use clock::Clock;
use links::Links;
use notices::Notices;
pub use reload::GatewayHandle;
use reload::{Reload, applicable};
pub(crate) use settings::{admission, check_upstream};

/// The batches of datagrams and events of links that may wait for the driver; beyond it the links leave theirs
/// with the kernel, whose receive buffer is the larger one.
const INBOUND_BATCHES_MAX: usize = 64;

/// The batches taken before outputs are carried away, so that answers are not held up.
const BATCHES_PER_ROUND: usize = 16;

/// How long a shutdown waits for the broker's answers to what nodes have sent.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// How long a shutdown waits for each link to send its last datagrams.
const FLUSH_MAX: Duration = Duration::from_secs(2);

/// How long a shutdown waits for the upstream to say good-bye.
const CLOSE_MAX: Duration = Duration::from_secs(2);

/// How often the numbers of the work go into the log.
const REPORT_INTERVAL: Duration = Duration::from_secs(300);

/// Why the gateway cannot run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RunError {
    /// A link cannot be opened.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The upstream's settings cannot be used.
    #[error(transparent)]
    Upstream(#[from] UpstreamConfigError),
    /// The embedded broker cannot start.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

/// A gateway that is set up and can run.
#[derive(Debug)]
pub struct Gateway {
    driver: Driver<MqttUpstream>,
    broker: Option<EmbeddedBroker>,
    handle: GatewayHandle,
}

impl Gateway {
    /// Opens the links, starts the embedded broker where no upstream is configured, and starts
    /// to connect to the upstream.
    ///
    /// # Errors
    /// [`RunError`] with what cannot be opened or used.
    pub async fn start(config: &Config) -> Result<Self, RunError> {
        let broker = match &config.upstream {
            Some(_) => None,
            None => Some(EmbeddedBroker::start(config.broker.listen).await?),
        };
        let address = broker.as_ref().map(EmbeddedBroker::address);
        let upstream = MqttUpstream::start(&settings::upstream(config, address), settings::rng())?;
        let (inbound_tx, inbound) = mpsc::channel(INBOUND_BATCHES_MAX);
        let links = Links::open(config, &inbound_tx)?;
        let (handle, reloads) = GatewayHandle::new();
        let driver = Driver::new(config, links, inbound, reloads, upstream);
        Ok(Self {
            driver,
            broker,
            handle,
        })
    }

    /// Returns what reaches the gateway while it runs.
    #[must_use]
    pub fn handle(&self) -> GatewayHandle {
        self.handle.clone()
    }

    /// Returns the links, in the order of the configuration.
    #[must_use]
    pub fn links(&self) -> &[LinkHandle] {
        self.driver.links.handles()
    }

    /// Returns where the embedded broker listens, where it runs.
    #[must_use]
    pub fn broker_addr(&self) -> Option<std::net::SocketAddr> {
        self.broker.as_ref().map(EmbeddedBroker::address)
    }

    /// Serves until `shutdown` is ready. Then what nodes have sent is carried to the broker and
    /// answered, the nodes that listen are told, and the upstream is closed.
    pub async fn run(mut self, shutdown: impl Future<Output = ()>) -> Stats {
        self.driver.serve(shutdown).await;
        let stats = self.driver.close().await;
        if let Some(broker) = self.broker
            && let Err(error) = broker.shutdown().await
        {
            warn!(%error, "the embedded broker did not stop in order");
        }
        stats
    }
}

/// The loop itself, over any upstream.
#[derive(Debug)]
struct Driver<U> {
    clock: Clock,
    /// What the gateway was started with.
    started: Config,
    engine: Engine,
    links: Links,
    inbound: mpsc::Receiver<Inbound>,
    reloads: mpsc::Receiver<Reload>,
    upstream: U,
    events: Vec<UpstreamEvent>,
    notices: Notices,
}

impl<U: Upstream> Driver<U> {
    fn new(
        config: &Config,
        links: Links,
        inbound: mpsc::Receiver<Inbound>,
        reloads: mpsc::Receiver<Reload>,
        upstream: U,
    ) -> Self {
        let clock = Clock::start();
        let names = links.names();
        Self {
            clock,
            engine: Engine::new(settings::engine(config), settings::rng(), clock.now()),
            started: config.clone(),
            links,
            inbound,
            reloads,
            upstream,
            events: Vec::new(),
            notices: Notices::new(names),
        }
    }

    async fn serve(&mut self, shutdown: impl Future<Output = ()>) {
        tokio::pin!(shutdown);
        let mut report = tokio::time::interval(REPORT_INTERVAL);
        report.reset();
        loop {
            let deadline = self.deadline();
            tokio::select! {
                Some(inbound) = self.inbound.recv() => self.take(inbound),
                () = self.upstream.events(&mut self.events) => self.take_events(),
                () = tokio::time::sleep_until(deadline) => {
                    self.engine.handle_timeout(self.clock.now());
                }
                Some(reload) = self.reloads.recv() => self.reload(reload),
                _ = report.tick() => self.report(),
                () = &mut shutdown => return,
            }
            self.carry_out();
        }
    }

    /// Ends what is under way: answers first, then the good-byes.
    async fn close(mut self) -> Stats {
        let end = tokio::time::Instant::now() + DRAIN_MAX;
        while self.engine.uplinks_pending() > 0 {
            tokio::select! {
                () = self.upstream.events(&mut self.events) => self.take_events(),
                () = tokio::time::sleep_until(end) => break,
            }
            self.carry_out();
        }
        self.engine.shutdown();
        self.carry_out();
        for link in self.links.handles() {
            if tokio::time::timeout(FLUSH_MAX, link.flush()).await.is_err() {
                warn!(
                    link = link.name(),
                    "did not take the last datagrams in time"
                );
            }
        }
        let left = self.upstream.close(CLOSE_MAX).await;
        if left > 0 {
            warn!(
                left,
                "stopped before the broker had answered; the nodes were not told it had"
            );
        }
        self.notices.handle_timeout(self.clock.now());
        self.engine.stats()
    }

    fn deadline(&self) -> tokio::time::Instant {
        let engine = self.engine.poll_timeout();
        let notices = self.notices.poll_timeout();
        match engine.into_iter().chain(notices).min() {
            Some(at) => self.clock.at(at),
            None => tokio::time::Instant::now() + REPORT_INTERVAL,
        }
    }

    /// Takes a batch or an event and what else has arrived by now.
    fn take(&mut self, first: Inbound) {
        let now = self.clock.now();
        let mut batches = 0;
        let mut next = Some(first);
        while let Some(inbound) = next {
            match inbound {
                Inbound::Batch(batch) => {
                    for (binding, datagram) in batch {
                        self.engine.handle_datagram(now, binding, &datagram);
                    }
                }
                Inbound::Event(link, event) => {
                    self.links.take_event(now, &mut self.engine, link, event);
                }
            }
            batches += 1;
            next = (batches < BATCHES_PER_ROUND)
                .then(|| self.inbound.try_recv().ok())
                .flatten();
        }
    }

    fn reload(&mut self, reload: Reload) {
        let config = applicable(&self.started, *reload.config);
        let settings = settings::engine(&config);
        let done = self.engine.reconfigure(self.clock.now(), settings);
        // Who asked may have gone.
        let _ = reload.answer.send(done);
    }

    fn take_events(&mut self) {
        let now = self.clock.now();
        for event in self.events.drain(..) {
            self.engine.handle_upstream(now, event);
        }
    }

    fn carry_out(&mut self) {
        let now = self.clock.now();
        while let Some(output) = self.engine.poll_output() {
            match output {
                Output::Transmit {
                    binding,
                    datagram,
                    priority,
                } => self.links.send(binding, priority, &datagram),
                Output::Broadcast {
                    link,
                    radius,
                    datagram,
                } => self.links.broadcast(link, radius, &datagram),
                Output::Upstream(request) => {
                    if let Err(request) = self.upstream.request(request) {
                        self.engine.handle_not_taken(&request);
                    }
                }
                Output::Notice(notice) => self.notices.take(now, notice),
            }
        }
        self.links.tell_busy(self.clock, &mut self.engine);
        self.notices.handle_timeout(now);
    }

    fn report(&self) {
        let stats = self.engine.stats();
        info!(
            sessions = self.engine.sessions_len(),
            datagrams_in = stats.datagrams_in,
            datagrams_out = stats.datagrams_out,
            publications_up = stats.publications_up,
            publications_down = stats.publications_down,
            retransmissions = stats.retransmissions,
            repeats = stats.repeats,
            dropped = stats.dropped,
            answered_early = stats.answered_early,
            "so far"
        );
    }
}
