//! The task that owns the connection: takes requests, keeps the records, gives events.

mod arrival;
mod end;
mod feed;
mod intake;
mod report;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rumqttc::v5::Event;
use rumqttc::v5::mqttbytes::v5::Packet;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep, sleep_until};

use self::end::{End, asks_for_time, fault, is_progress, needs_somebody};
pub(super) use self::report::Log;
use super::backoff::Backoff;
use super::connection::{Connection, Origin, OutOfStep, Sent};
use super::deliveries::Deliveries;
use super::ledger::Ledger;
use super::stats::Counters;
use super::subscriptions::Subscriptions;
use crate::session::{Refusal, UpstreamEvent, UpstreamRequest};

/// What the handle tells the task.
#[derive(Debug)]
pub(super) enum Command {
    /// A request of the engine.
    Request(UpstreamRequest),
    /// Finish what is open, but end by this time.
    Close(Instant),
}

/// The state behind all connections.
pub(super) struct Task {
    pub(super) broker: String,
    pub(super) origin: Origin,
    pub(super) commands: UnboundedReceiver<Command>,
    pub(super) events: UnboundedSender<UpstreamEvent>,
    pub(super) counters: Arc<Counters>,
    pub(super) ledger: Ledger,
    pub(super) subscriptions: Subscriptions,
    pub(super) deliveries: Deliveries,
    pub(super) backoff: Backoff,
    pub(super) backoff_max: Duration,
    /// The waits before refused subscriptions are tried again.
    pub(super) retry_backoff: Backoff,
    pub(super) retry_at: Option<Instant>,
    /// How long a connection lasts that was of use.
    pub(super) lasting: Duration,
    pub(super) qos0_len_max: usize,
    pub(super) unfetched_bytes_max: usize,
    /// Whether subscriptions are to have identifiers where the broker knows them.
    pub(super) identifies: bool,
    pub(super) close_by: Option<Instant>,
    pub(super) log: Log,
}

impl Task {
    /// Connects, serves and connects again, until told to close.
    pub(super) async fn run(mut self) {
        loop {
            let mut connection = Connection::new(&self.origin);
            let made = self.connect(&mut connection).await;
            let end = match made {
                Ok(session_present) => {
                    self.origin.keep_session();
                    self.serve(&mut connection, session_present).await
                }
                Err(end) => self.not_connected(end),
            };
            drop(connection);
            if matches!(end, End::Closed) || self.has_closed() {
                return;
            }
            let delay = self.backoff.delay();
            self.report_down(&end, delay);
            if self.pause(delay).await {
                return;
            }
        }
    }

    async fn connect(&mut self, connection: &mut Connection) -> Result<bool, End> {
        match self.take_while(connection.connect()).await {
            Some(session_present) => Ok(session_present?),
            None => Err(End::Closed),
        }
    }

    /// Waits before the next connection; returns whether the task is to end instead.
    async fn pause(&mut self, delay: Duration) -> bool {
        self.take_while(sleep(delay)).await.is_none()
    }

    /// Takes commands until `work` is done; returns `None` where the task is to end before.
    async fn take_while<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::pin!(work);
        loop {
            let close_by = self.close_by;
            tokio::select! {
                done = &mut work => return Some(done),
                command = self.commands.recv() => self.take(command?),
                () = by(close_by) => return None,
            }
            if self.has_closed() {
                return None;
            }
        }
    }

    async fn serve(&mut self, connection: &mut Connection, session_present: bool) -> End {
        let since = Instant::now();
        self.begin(connection, session_present);
        let mut progress = false;
        let end = match self.exchange(connection, &mut progress).await {
            Ok(()) => End::Closed,
            Err(end) => end,
        };
        self.finish(connection);
        // A connection that carried something for a while was a good one, unless another client
        // with our id took it. Not every broker says so: hence the while, or two gateways would
        // throw each other out without a pause.
        let lasted = since.elapsed();
        if progress && lasted >= self.lasting || lasted >= self.backoff_max {
            self.backoff.reset();
        }
        if asks_for_time(&end) {
            self.backoff.give_time();
        }
        if let Some(code) = fault(&end) {
            let blamed = self.ledger.blame(code);
            self.settle(blamed);
        }
        end
    }

    fn begin(&mut self, connection: &mut Connection, session_present: bool) {
        Counters::add(&self.counters.connects);
        if !session_present {
            Counters::add(&self.counters.sessions_lost);
        }
        self.counters.connected.store(true, Relaxed);
        self.report_up(session_present);
        self.tell(UpstreamEvent::Connected);
        for id in self.ledger.resume(session_present) {
            connection.release_again(id);
        }
        self.deliveries.resume(session_present);
        self.retry_at = None;
        for filter in self.subscriptions.resume(session_present) {
            self.answer_subscription(filter, Err(Refusal::Busy));
        }
        let identifies = self.identifies && connection.limits().subscription_ids;
        if self.identifies && !identifies {
            self.report_single("it knows no Subscription Identifiers");
        }
        self.subscriptions.identify(identifies);
    }

    /// Serves until the connection ends; `Ok` where it was ended in order.
    async fn exchange(
        &mut self,
        connection: &mut Connection,
        progress: &mut bool,
    ) -> Result<(), End> {
        if connection.limits().ids_max == 0 {
            return Err(End::NoQuota);
        }
        let silence = connection.keep_alive() + (connection.keep_alive() / 2).max(SLACK_MIN);
        let mut heard = Instant::now();
        let watchdog = sleep_until(heard + silence);
        tokio::pin!(watchdog);
        let mut inbox = Vec::with_capacity(INBOX_LEN);
        let mut closing = false;
        loop {
            while let Ok(command) = self.commands.try_recv() {
                self.take(command);
            }
            self.retry_if_due();
            if self.is_clogged() {
                self.wait_for_room().await;
                // What came meanwhile has not been heard by our own doing.
                heard = Instant::now();
            }
            if connection.has_run_out() {
                return Err(End::NoPacketId);
            }
            if !closing {
                self.feed(connection)?;
                closing = self.close_if_due(connection)?;
            }
            let idle = connection.is_idle();
            let close_by = self.close_by.filter(|_| !closing);
            let retry_at = self.retry_at;
            tokio::select! {
                event = connection.poll() => match event? {
                    Event::Outgoing(outgoing) => match connection.sent(&outgoing)? {
                        Some(Sent::Disconnect) => return Ok(()),
                        Some(sent) => self.sent(sent),
                        None => {}
                    },
                    Event::Incoming(packet) => {
                        heard = Instant::now();
                        *progress |= is_progress(&packet);
                        self.heard(connection, packet);
                    }
                },
                count = self.commands.recv_many(&mut inbox, INBOX_LEN), if idle => {
                    if count == 0 {
                        return Ok(());
                    }
                    for command in inbox.drain(..) {
                        self.take(command);
                    }
                }
                // rumqttc looks at its own clock only between two writes: a broker that stops
                // reading would hold it for as long as TCP does.
                () = &mut watchdog => {
                    if heard.elapsed() >= silence {
                        return Err(End::Silent(silence));
                    }
                    watchdog.as_mut().reset(heard + silence);
                }
                () = by(close_by), if idle => {}
                () = by(retry_at), if idle => {}
            }
        }
    }

    /// Returns whether the engine has so much to fetch that no more is to be read.
    fn is_clogged(&self) -> bool {
        let unfetched = self.counters.unfetched_bytes.load(Relaxed);
        unfetched >= self.unfetched_bytes_max && !self.events.is_closed()
    }

    /// Waits until the engine has fetched enough, or the connection is to be closed. The broker
    /// is not read meanwhile and feels that by TCP.
    async fn wait_for_room(&mut self) {
        Counters::add(&self.counters.read_pauses);
        while self.is_clogged() {
            let close_by = self.close_by;
            tokio::select! {
                () = self.counters.fetched.notified() => {}
                () = self.events.closed() => {}
                command = self.commands.recv() => match command {
                    Some(command) => self.take(command),
                    None => return,
                },
                () = by(close_by) => return,
            }
        }
    }

    fn close_if_due(&self, connection: &mut Connection) -> Result<bool, OutOfStep> {
        let due = self
            .close_by
            .is_some_and(|by| by <= Instant::now() || (self.is_settled() && connection.is_idle()));
        if due {
            connection.disconnect()?;
        }
        Ok(due)
    }

    /// Takes what the lost connection still knows, and notes that it is lost.
    fn finish(&mut self, connection: &mut Connection) {
        while let Some(event) = connection.poll_leftover() {
            match event {
                // The broker keeps these, and delivers them again.
                Event::Incoming(Packet::Publish(publish)) if publish.pkid != 0 => {}
                Event::Incoming(packet) => self.heard(connection, packet),
                Event::Outgoing(outgoing) => {
                    if let Ok(Some(sent)) = connection.sent(&outgoing) {
                        self.sent(sent);
                    }
                }
            }
        }
        while let Some(unsent) = connection.poll_unsent() {
            if let Sent::Fleeting(cost) = unsent {
                Counters::add(&self.counters.dropped_qos0);
                self.counters.finished(cost);
            }
        }
        Counters::add(&self.counters.disconnects);
        self.counters.connected.store(false, Relaxed);
        self.trim_fleeting();
        self.tell(UpstreamEvent::Disconnected);
    }

    fn not_connected(&mut self, end: End) -> End {
        if let End::Connection(error) = &end {
            Counters::add(&self.counters.failed_connects);
            if needs_somebody(error) {
                self.backoff.give_time();
            }
        }
        end
    }

    fn is_settled(&self) -> bool {
        self.ledger.is_empty() && self.subscriptions.is_settled() && !self.deliveries.has_ack()
    }

    fn has_closed(&self) -> bool {
        self.close_by
            .is_some_and(|by| by <= Instant::now() || self.ledger.is_empty())
    }

    fn tell(&self, event: UpstreamEvent) {
        // Nobody listens any more when the gateway is closing: then there is nobody to tell.
        let _ = self.events.send(event);
    }
}

async fn by(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// The slack for the answer to a ping on a slow link, at least.
const SLACK_MIN: Duration = Duration::from_secs(5);

const INBOX_LEN: usize = 64;
