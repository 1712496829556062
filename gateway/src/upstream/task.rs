//! The task that owns the connection: takes requests, keeps the records, gives events.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rumqttc::v5::mqttbytes::v5::{
    ConnectReturnCode, DisconnectReasonCode, Packet, Publish, SubAck,
};
use rumqttc::v5::mqttbytes::v5::{PubCompReason, PubRecReason};
use rumqttc::v5::{ConnectionError, Event, StateError};
use shared::wire::QoS;
use thiserror::Error;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::time::{Instant, sleep, sleep_until};

use super::backoff::{Backoff, LogGate};
use super::connection::{Connection, Origin, OutOfStep, Sent};
use super::deliveries::{Ack, Arrival, Deliveries};
use super::ledger::{Answer, Ledger, Next, Settled, cost, is_reliable, refusal};
use super::limits::{
    TOPIC_FILTER_INVALID, TOPIC_NAME_INVALID, blames_publication, from_mqtt, granted,
    is_topic_filter, is_topic_name, puback_code, pubrec_code,
};
use super::stats::Counters;
use super::subscriptions::{Asked, Packet as SubscriptionPacket, Subscriptions};
use crate::session::{Publication, PublicationId, Refusal, UpstreamEvent, UpstreamRequest};

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
    pub(super) qos0_len_max: usize,
    pub(super) close_by: Option<Instant>,
    pub(super) log: Log,
}

/// What has been said of the connection lately.
#[derive(Debug, Default)]
pub(super) struct Log {
    up: LogGate,
    down: LogGate,
    refused: LogGate,
}

/// Why a connection is over.
#[derive(Debug, Error)]
enum End {
    #[error("closed")]
    Closed,
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    OutOfStep(#[from] OutOfStep),
    #[error("no word from the broker for {0:?}")]
    Silent(Duration),
    #[error("the broker's Receive Maximum is 0")]
    NoQuota,
}

impl Task {
    /// Connects, serves and connects again, until told to close.
    pub(super) async fn run(mut self) {
        loop {
            let mut connection = Connection::new(&self.origin);
            let made = self.connect(&mut connection).await;
            let end = match made {
                Ok(session_present) => self.serve(&mut connection, session_present).await,
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
        let connecting = connection.connect();
        tokio::pin!(connecting);
        loop {
            let close_by = self.close_by;
            tokio::select! {
                session_present = &mut connecting => return Ok(session_present?),
                command = self.commands.recv() => match command {
                    Some(command) => self.take(command),
                    None => return Err(End::Closed),
                },
                () = by(close_by) => return Err(End::Closed),
            }
            if self.has_closed() {
                return Err(End::Closed);
            }
        }
    }

    /// Waits before the next connection; returns whether the task is to end instead.
    async fn pause(&mut self, delay: Duration) -> bool {
        let waited = sleep(delay);
        tokio::pin!(waited);
        loop {
            let close_by = self.close_by;
            tokio::select! {
                () = &mut waited => return false,
                command = self.commands.recv() => match command {
                    Some(command) => self.take(command),
                    None => return true,
                },
                () = by(close_by) => return true,
            }
            if self.has_closed() {
                return true;
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
        // A connection that carried something was a good one, unless another client with our
        // id took it: two gateways would throw each other out without a pause.
        if (progress || since.elapsed() > self.backoff_max) && !is_takeover(&end) {
            self.backoff.reset();
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
        for filter in self.subscriptions.resume(session_present) {
            self.answer_subscription(filter, Err(Refusal::Busy));
        }
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
            if !closing {
                self.feed(connection)?;
                closing = self.close_if_due(connection)?;
            }
            let idle = connection.is_idle();
            let close_by = self.close_by.filter(|_| !closing);
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
            }
        }
    }

    /// Hands rumqttc what may be sent: acknowledgements, what an earlier connection began,
    /// subscriptions, publications.
    fn feed(&mut self, connection: &mut Connection) -> Result<(), OutOfStep> {
        let limits = connection.limits();
        while connection.has_room() {
            if let Some(ack) = self.deliveries.next_ack() {
                connection.acknowledge(ack)?;
                continue;
            }
            if let Some((id, publication)) = self.ledger.next_resend(limits.window) {
                if let Some(code) = limits.objection(publication) {
                    let refused = self.ledger.refuse(id, refusal(code));
                    self.settle(refused);
                } else {
                    Counters::add(&self.counters.resent);
                    connection.publish_again(id, publication, limits.level(publication));
                }
                continue;
            }
            if !self.feed_subscription(connection)? && !self.feed_publication(connection)? {
                break;
            }
        }
        Ok(())
    }

    fn feed_subscription(&mut self, connection: &mut Connection) -> Result<bool, OutOfStep> {
        if !self.subscriptions.has_next() {
            return Ok(false);
        }
        let Some(id) = self.next_id(connection) else {
            return Ok(false);
        };
        match self.subscriptions.next(id) {
            Some(SubscriptionPacket::Subscribe(batch)) => connection.subscribe(id, &batch)?,
            Some(SubscriptionPacket::Unsubscribe(filter)) => connection.unsubscribe(id, &filter)?,
            None => return Ok(false),
        }
        Ok(true)
    }

    fn feed_publication(&mut self, connection: &mut Connection) -> Result<bool, OutOfStep> {
        let limits = connection.limits();
        match self.ledger.next(limits.window) {
            None => Ok(false),
            Some(Next::Fleeting(publication)) => {
                let objection = limits.objection(publication);
                let Some(publication) = self.ledger.take_fleeting() else {
                    return Ok(false);
                };
                if objection.is_some() {
                    Counters::add(&self.counters.refused);
                    self.counters.finished(cost(&publication));
                } else {
                    let sent = Sent::Fleeting(cost(&publication));
                    connection.publish(&publication, QoS::AtMostOnce, sent)?;
                }
                Ok(true)
            }
            Some(Next::Reliable(publication)) => {
                if let Some(code) = limits.objection(publication) {
                    let refused = self.ledger.refuse_next(refusal(code));
                    self.settle(refused);
                    return Ok(true);
                }
                let qos = limits.level(publication);
                let (ledger, subscriptions) = (&self.ledger, &self.subscriptions);
                let Some(id) = connection.next_id(|id| ledger.holds(id) || subscriptions.holds(id))
                else {
                    return Ok(false);
                };
                if qos < publication.qos {
                    Counters::add(&self.counters.lowered_qos);
                }
                connection.publish(publication, qos, Sent::Publish(id))?;
                self.ledger.start(id);
                Ok(true)
            }
        }
    }

    fn next_id(&self, connection: &mut Connection) -> Option<u16> {
        connection.next_id(|id| self.ledger.holds(id) || self.subscriptions.holds(id))
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

    fn take(&mut self, command: Command) {
        match command {
            Command::Close(by) => self.close_by = Some(by),
            Command::Request(UpstreamRequest::Publish { id, publication }) => {
                self.take_publication(id, publication);
            }
            Command::Request(UpstreamRequest::Subscribe { filter, qos }) => {
                if is_topic_filter(&filter) {
                    self.subscriptions.subscribe(filter, qos);
                } else {
                    let refused = Err(Refusal::Denied(TOPIC_FILTER_INVALID));
                    self.answer_subscription(filter, refused);
                }
            }
            Command::Request(UpstreamRequest::Unsubscribe { filter }) => {
                for _ in 0..self.subscriptions.unsubscribe(filter.clone()) {
                    self.answer_subscription(filter.clone(), Err(Refusal::Busy));
                }
            }
            Command::Request(UpstreamRequest::Acknowledge(id)) => {
                if !self.deliveries.acknowledge(id) {
                    Counters::add(&self.counters.late_acks);
                }
            }
        }
    }

    fn take_publication(&mut self, id: PublicationId, publication: Publication) {
        if !is_topic_name(&publication.topic) {
            let refused = Settled {
                id,
                result: Err(Refusal::Denied(TOPIC_NAME_INVALID)),
                cost: cost(&publication),
            };
            if is_reliable(&publication) {
                self.settle(Some(refused));
            } else {
                Counters::add(&self.counters.refused);
                self.counters.finished(refused.cost);
            }
            return;
        }
        self.ledger.push(id, publication);
        if !self.counters.connected.load(Relaxed) {
            self.trim_fleeting();
        }
    }

    fn trim_fleeting(&mut self) {
        while let Some(dropped) = self.ledger.drop_fleeting(self.qos0_len_max) {
            Counters::add(&self.counters.dropped_qos0);
            self.counters.finished(cost(&dropped));
        }
    }

    fn sent(&self, sent: Sent) {
        match sent {
            Sent::Publish(_) => Counters::add(&self.counters.published),
            Sent::Fleeting(cost) => {
                Counters::add(&self.counters.published);
                self.counters.finished(cost);
            }
            _ => {}
        }
    }

    fn heard(&mut self, connection: &mut Connection, packet: Packet) {
        match packet {
            Packet::Publish(publish) => self.delivered(&publish),
            Packet::PubAck(puback) => {
                let answer = self.ledger.puback(puback.pkid, puback_code(puback.reason));
                self.answered(connection, puback.pkid, answer);
            }
            Packet::PubRec(pubrec) => {
                if !matches!(
                    pubrec.reason,
                    PubRecReason::Success | PubRecReason::NoMatchingSubscribers
                ) {
                    connection.leaked();
                }
                let answer = self.ledger.pubrec(pubrec.pkid, pubrec_code(pubrec.reason));
                self.answered(connection, pubrec.pkid, answer);
            }
            Packet::PubComp(pubcomp) => {
                if pubcomp.reason != PubCompReason::Success {
                    connection.leaked();
                }
                let answer = self.ledger.pubcomp(pubcomp.pkid);
                self.answered(connection, pubcomp.pkid, answer);
            }
            Packet::PubRel(pubrel) => self.deliveries.released(pubrel.pkid),
            Packet::SubAck(suback) => self.subscribed(&suback),
            Packet::UnsubAck(unsuback) => self.subscriptions.unsuback(unsuback.pkid),
            _ => {}
        }
    }

    fn answered(&mut self, connection: &mut Connection, id: u16, answer: Answer) {
        match answer {
            Answer::Settled(settled) => self.settle(Some(settled)),
            Answer::Open => {}
            Answer::Again => {
                Counters::add(&self.counters.resent);
                connection.avoid(id);
            }
            Answer::Unknown => tracing::debug!(id, "the broker answers what was not asked"),
        }
    }

    fn settle(&mut self, settled: Option<Settled>) {
        let Some(Settled { id, result, cost }) = settled else {
            return;
        };
        self.counters.finished(cost);
        match result {
            Ok(()) => Counters::add(&self.counters.acknowledged),
            Err(refusal) => {
                Counters::add(&self.counters.refused);
                let text = format!("{refusal:?}");
                if let Some(more) = self.log.refused.pass(Instant::now(), &text) {
                    tracing::warn!(
                        broker = self.broker,
                        ?refusal,
                        publication = id.0,
                        more,
                        "the upstream has refused a publication"
                    );
                }
            }
        }
        self.tell(UpstreamEvent::Published { id, result });
    }

    fn subscribed(&mut self, suback: &SubAck) {
        let mut codes = suback.return_codes.iter();
        for asked in self.subscriptions.suback(suback.pkid) {
            let Asked {
                filter, answers, ..
            } = asked;
            let result = codes.next().map_or(Err(0x80), |code| granted(*code));
            if let Err(code) = result {
                Counters::add(&self.counters.refused_subscriptions);
                self.subscriptions.refused(&filter);
                tracing::warn!(
                    broker = self.broker, %filter, code, "the upstream has refused a subscription"
                );
            }
            for _ in 0..answers {
                self.answer_subscription(filter.clone(), result.map_err(refusal));
            }
        }
    }

    fn answer_subscription(&self, filter: Arc<str>, result: Result<QoS, Refusal>) {
        self.tell(UpstreamEvent::Subscribed { filter, result });
    }

    fn delivered(&mut self, publish: &Publish) {
        let qos = from_mqtt(publish.qos);
        let id = if qos == QoS::AtMostOnce {
            if self.counters.unfetched_qos0.load(Relaxed) >= UNFETCHED_QOS0_MAX {
                return Counters::add(&self.counters.dropped_deliveries);
            }
            None
        } else {
            let packet_id = publish.pkid;
            match self.deliveries.arrived(Ack { packet_id, qos }, publish.dup) {
                Arrival::New(id) => Some(id),
                Arrival::Duplicate => {
                    return Counters::add(&self.counters.duplicate_deliveries);
                }
            }
        };
        let topic = std::str::from_utf8(&publish.topic).unwrap_or_default();
        if topic.is_empty() {
            // No node could be told what it is about; unacknowledged, it would come again.
            Counters::add(&self.counters.unusable_deliveries);
            if let Some(id) = id {
                self.deliveries.acknowledge(id);
            }
            return;
        }
        if id.is_none() {
            self.counters.unfetched_qos0.fetch_add(1, Relaxed);
        }
        Counters::add(&self.counters.deliveries);
        self.tell(UpstreamEvent::Delivery {
            id,
            publication: Publication {
                topic: topic.into(),
                payload: publish.payload.clone(),
                qos,
                retain: publish.retain,
            },
        });
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

    fn report_up(&mut self, session_present: bool) {
        let text = if session_present { "kept" } else { "new" };
        if let Some(more) = self.log.up.pass(Instant::now(), text) {
            tracing::info!(
                broker = self.broker,
                session = text,
                queue = self.counters.queue_len.load(Relaxed),
                more,
                "upstream connected"
            );
        }
    }

    fn report_down(&mut self, end: &End, delay: Duration) {
        let reason = end.to_string();
        if let Some(more) = self.log.down.pass(Instant::now(), &reason) {
            tracing::warn!(
                broker = self.broker,
                reason,
                retry_ms = delay.as_millis(),
                queue = self.counters.queue_len.load(Relaxed),
                more,
                "upstream not connected"
            );
        }
    }
}

async fn by(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

fn is_progress(packet: &Packet) -> bool {
    matches!(
        packet,
        Packet::PubAck(_) | Packet::PubComp(_) | Packet::SubAck(_) | Packet::Publish(_)
    )
}

fn disconnect_code(end: &End) -> Option<DisconnectReasonCode> {
    match end {
        End::Connection(ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code,
            ..
        })) => Some(*reason_code),
        _ => None,
    }
}

fn fault(end: &End) -> Option<u8> {
    disconnect_code(end)
        .map(|reason| reason as u8)
        .filter(|code| blames_publication(*code))
}

fn is_takeover(end: &End) -> bool {
    disconnect_code(end) == Some(DisconnectReasonCode::SessionTakenOver)
}

/// Returns whether the broker will refuse again until somebody changes something.
fn needs_somebody(error: &ConnectionError) -> bool {
    matches!(
        error,
        ConnectionError::ConnectionRefused(
            ConnectReturnCode::RefusedProtocolVersion
                | ConnectReturnCode::UnsupportedProtocolVersion
                | ConnectReturnCode::BadClientId
                | ConnectReturnCode::ClientIdentifierNotValid
                | ConnectReturnCode::BadUserNamePassword
                | ConnectReturnCode::NotAuthorized
                | ConnectReturnCode::Banned
                | ConnectReturnCode::BadAuthenticationMethod
        )
    )
}

/// The slack for the answer to a ping on a slow link, at least.
const SLACK_MIN: Duration = Duration::from_secs(5);

const INBOX_LEN: usize = 64;

/// QoS 0 publications waiting for the engine; it has stopped long before they are so many.
const UNFETCHED_QOS0_MAX: usize = 10_000;
