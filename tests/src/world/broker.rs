//! The upstream and the broker behind it, as the engine's port describes them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use gateway::session::{
    Delivery, DeliveryId, Publication, PublicationId, Refusal, UpstreamEvent, UpstreamRequest,
};
use shared::rng::Rng;
use shared::time::{Duration, Instant};
use shared::wire::QoS;

use super::WorldConfig;

/// A broker that keeps one session for the gateway across its outages, and the upstream that
/// queues for it.
///
/// Both directions are strictly in order, each message with a latency of its own; while the
/// broker is away both wait. Deliveries that were not acknowledged before an outage are not
/// sent again after it.
pub(super) struct Broker {
    rng: Rng,
    connected: bool,
    turn_at: Option<Instant>,
    outages: bool,
    refused_ppm: u32,
    not_taken_ppm: u32,
    requests: VecDeque<(Instant, UpstreamRequest)>,
    events: VecDeque<(Instant, UpstreamEvent)>,
    filters: BTreeMap<Arc<str>, QoS>,
    last_delivery: u64,
    last_publication: u64,
}

/// What has reached the broker.
pub(super) enum Reached {
    /// A publication it has taken.
    Publication(Publication),
    /// The answer to a delivery.
    Acknowledgement,
}

/// The broker's subscriptions want a publication, or not.
pub(super) type Sent = Option<(QoS, Option<DeliveryId>)>;

impl Broker {
    pub(super) fn new(config: &WorldConfig, mut rng: Rng) -> Self {
        let turn_at = Instant::from_millis(rng.below(2000));
        Self {
            rng,
            connected: false,
            turn_at: Some(turn_at),
            outages: config.broker_outages,
            refused_ppm: config.refused_ppm,
            not_taken_ppm: config.not_taken_ppm,
            requests: VecDeque::new(),
            events: VecDeque::new(),
            filters: BTreeMap::new(),
            last_delivery: 0,
            last_publication: 0,
        }
    }

    /// From now on the broker stays, and takes everything.
    pub(super) fn calm_down(&mut self, now: Instant) {
        self.outages = false;
        self.refused_ppm = 0;
        self.not_taken_ppm = 0;
        self.turn_at = (!self.connected).then_some(now);
    }

    pub(super) fn is_idle(&self) -> bool {
        self.requests.is_empty() && self.events.is_empty()
    }

    /// Takes a request; returns it where the upstream's queue is full.
    pub(super) fn request(
        &mut self,
        now: Instant,
        request: UpstreamRequest,
    ) -> Result<(), UpstreamRequest> {
        let may_refuse = matches!(
            request,
            UpstreamRequest::Publish { .. } | UpstreamRequest::Subscribe { .. }
        );
        if may_refuse && self.rng.chance_ppm(self.not_taken_ppm) {
            return Err(request);
        }
        if let UpstreamRequest::Publish {
            id: PublicationId(id),
            ..
        } = &request
        {
            assert!(*id > self.last_publication, "publication ids must increase");
            self.last_publication = *id;
        }
        let due = now + self.latency();
        let due = self.requests.back().map_or(due, |(last, _)| due.max(*last));
        self.requests.push_back((due, request));
        Ok(())
    }

    /// Someone publishes at the broker.
    pub(super) fn publish(&mut self, now: Instant, topic: &str, payload: Bytes, qos: QoS) -> Sent {
        let granted = self
            .filters
            .iter()
            .filter(|(filter, _)| shared::topics::matches(filter, topic))
            .map(|(_, qos)| *qos)
            .max()?;
        let qos = qos.min(granted);
        let id = (qos != QoS::AtMostOnce).then(|| {
            self.last_delivery += 1;
            DeliveryId(self.last_delivery)
        });
        let publication = Publication {
            topic: topic.into(),
            payload,
            qos,
            retain: false,
        };
        self.tell(now, UpstreamEvent::Delivery(Delivery::new(id, publication)));
        Some((qos, id))
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let queued = [
            self.requests.front().map(|(due, _)| *due),
            self.events.front().map(|(due, _)| *due),
        ];
        let queued = queued.into_iter().flatten().filter(|_| self.connected);
        queued.chain(self.turn_at).min()
    }

    /// Handles the next request that is due, or `None`.
    pub(super) fn poll_reached(&mut self, now: Instant) -> Option<Reached> {
        while self.connected && self.requests.front().is_some_and(|(due, _)| *due <= now) {
            let (_, request) = self.requests.pop_front()?;
            match request {
                UpstreamRequest::Publish { id, publication } => {
                    let refused = self.rng.chance_ppm(self.refused_ppm);
                    let result = if refused { Err(Refusal::Busy) } else { Ok(()) };
                    if publication.qos != QoS::AtMostOnce {
                        self.tell(now, UpstreamEvent::Published { id, result });
                        if refused {
                            continue;
                        }
                    }
                    return Some(Reached::Publication(publication));
                }
                UpstreamRequest::Subscribe { filter, qos } => {
                    self.filters.insert(Arc::clone(&filter), qos);
                    let result = Ok(qos);
                    self.tell(now, UpstreamEvent::Subscribed { filter, result });
                }
                UpstreamRequest::Unsubscribe { filter } => {
                    self.filters.remove(&filter);
                }
                UpstreamRequest::Acknowledge(_) => return Some(Reached::Acknowledgement),
            }
        }
        None
    }

    /// Returns the next event that is due for the engine.
    pub(super) fn poll_event(&mut self, now: Instant) -> Option<UpstreamEvent> {
        if self.turn_at.is_some_and(|at| at <= now) {
            return Some(self.turn(now));
        }
        if !self.connected || self.events.front().is_none_or(|(due, _)| *due > now) {
            return None;
        }
        self.events.pop_front().map(|(_, event)| event)
    }

    fn turn(&mut self, now: Instant) -> UpstreamEvent {
        self.connected = !self.connected;
        let span_s = if self.connected {
            30 + self.rng.below(200)
        } else {
            1 + self.rng.below(60)
        };
        let returns = !self.connected || self.outages;
        self.turn_at = returns.then(|| now + Duration::from_secs(span_s));
        if self.connected {
            UpstreamEvent::Connected
        } else {
            UpstreamEvent::Disconnected
        }
    }

    fn tell(&mut self, now: Instant, event: UpstreamEvent) {
        let due = now + self.latency();
        let due = self.events.back().map_or(due, |(last, _)| due.max(*last));
        self.events.push_back((due, event));
    }

    /// Mostly a tenth of a second, at times a satellite's second and a half.
    fn latency(&mut self) -> Duration {
        let bound = if self.rng.chance_ppm(100_000) {
            1500
        } else {
            100
        };
        Duration::from_millis(1 + self.rng.below(bound))
    }
}
