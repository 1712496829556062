//! Counters of the upstream: written by its task, read by anyone.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};

use tokio::sync::Notify;

use super::ledger::cost;
use crate::session::{Delivery, UpstreamEvent};

/// What the upstream has done and holds, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UpstreamStats {
    /// Whether the broker answers.
    pub connected: bool,
    /// PUBLISH packets sent, repeats included.
    pub published: u64,
    /// PUBLISH packets sent again after a lost connection or with another packet id.
    pub resent: u64,
    /// Publications the broker has taken at QoS 1 and 2.
    pub acknowledged: u64,
    /// Publications refused, by the broker or because the broker could not take them.
    pub refused: u64,
    /// Publications sent at a lower QoS because the broker allows no higher one.
    pub lowered_qos: u64,
    /// QoS 0 publications dropped: the oldest of too many, or lost with a connection.
    pub dropped_qos0: u64,
    /// Times the request queue was full and a publication was given back.
    pub queue_full: u64,
    /// Publications taken and not finished.
    pub queue_len: usize,
    /// Bytes of topic and payload of these.
    pub queue_bytes: usize,
    /// Connections made.
    pub connects: u64,
    /// Connections lost after they were made.
    pub disconnects: u64,
    /// Attempts that led to no connection.
    pub failed_connects: u64,
    /// Connections on which the broker had forgotten the session.
    pub sessions_lost: u64,
    /// Downlink publications handed to the engine.
    pub deliveries: u64,
    /// Downlink publications repeated by the broker and not handed on a second time (QoS 2).
    pub duplicate_deliveries: u64,
    /// Downlink QoS 0 publications dropped because the engine did not fetch its events.
    pub dropped_deliveries: u64,
    /// Bytes of topic and payload of downlink publications that the engine has not fetched.
    pub unfetched_bytes: usize,
    /// Times that reading from the broker paused because the engine did not fetch its events.
    pub read_pauses: u64,
    /// Downlink publications without a usable topic name, or whose payload cannot be told.
    pub unusable_deliveries: u64,
    /// Copies of downlink publications for subscriptions that had ended.
    pub unwanted_deliveries: u64,
    /// Copies of downlink publications that were for several subscriptions at once.
    pub merged_deliveries: u64,
    /// Acknowledgements by the engine for deliveries of an earlier connection.
    pub late_acks: u64,
    /// Subscriptions the broker refused.
    pub refused_subscriptions: u64,
}

/// The shared cells behind [`UpstreamStats`]; relaxed, because each stands alone.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connected: AtomicBool,
    pub(super) published: AtomicU64,
    pub(super) resent: AtomicU64,
    pub(super) acknowledged: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) lowered_qos: AtomicU64,
    pub(super) dropped_qos0: AtomicU64,
    pub(super) queue_full: AtomicU64,
    pub(super) queue_len: AtomicUsize,
    pub(super) queue_bytes: AtomicUsize,
    pub(super) connects: AtomicU64,
    pub(super) disconnects: AtomicU64,
    pub(super) failed_connects: AtomicU64,
    pub(super) sessions_lost: AtomicU64,
    pub(super) deliveries: AtomicU64,
    pub(super) duplicate_deliveries: AtomicU64,
    pub(super) dropped_deliveries: AtomicU64,
    pub(super) read_pauses: AtomicU64,
    pub(super) unusable_deliveries: AtomicU64,
    pub(super) unwanted_deliveries: AtomicU64,
    pub(super) merged_deliveries: AtomicU64,
    pub(super) late_acks: AtomicU64,
    pub(super) refused_subscriptions: AtomicU64,
    /// QoS 0 deliveries on their way to the engine; bounds what a stalled engine costs.
    pub(super) unfetched_qos0: AtomicUsize,
    /// As [`UpstreamStats::unfetched_bytes`].
    pub(super) unfetched_bytes: AtomicUsize,
    /// Tells the task that the engine has fetched something.
    pub(super) fetched: Notify,
}

impl Counters {
    pub(super) fn snapshot(&self) -> UpstreamStats {
        UpstreamStats {
            connected: self.connected.load(Relaxed),
            published: self.published.load(Relaxed),
            resent: self.resent.load(Relaxed),
            acknowledged: self.acknowledged.load(Relaxed),
            refused: self.refused.load(Relaxed),
            lowered_qos: self.lowered_qos.load(Relaxed),
            dropped_qos0: self.dropped_qos0.load(Relaxed),
            queue_full: self.queue_full.load(Relaxed),
            queue_len: self.queue_len.load(Relaxed),
            queue_bytes: self.queue_bytes.load(Relaxed),
            connects: self.connects.load(Relaxed),
            disconnects: self.disconnects.load(Relaxed),
            failed_connects: self.failed_connects.load(Relaxed),
            sessions_lost: self.sessions_lost.load(Relaxed),
            deliveries: self.deliveries.load(Relaxed),
            duplicate_deliveries: self.duplicate_deliveries.load(Relaxed),
            dropped_deliveries: self.dropped_deliveries.load(Relaxed),
            unfetched_bytes: self.unfetched_bytes.load(Relaxed),
            read_pauses: self.read_pauses.load(Relaxed),
            unusable_deliveries: self.unusable_deliveries.load(Relaxed),
            unwanted_deliveries: self.unwanted_deliveries.load(Relaxed),
            merged_deliveries: self.merged_deliveries.load(Relaxed),
            late_acks: self.late_acks.load(Relaxed),
            refused_subscriptions: self.refused_subscriptions.load(Relaxed),
        }
    }

    pub(super) fn add(cell: &AtomicU64) {
        cell.fetch_add(1, Relaxed);
    }

    pub(super) fn queued(&self, bytes: usize) {
        self.queue_len.fetch_add(1, Relaxed);
        self.queue_bytes.fetch_add(bytes, Relaxed);
    }

    /// Notes a delivery on its way to the engine.
    pub(super) fn delivered(&self, delivery: &Delivery) {
        self.unfetched_bytes
            .fetch_add(cost(&delivery.publication), Relaxed);
        if delivery.id.is_none() {
            self.unfetched_qos0.fetch_add(1, Relaxed);
        }
        Self::add(&self.deliveries);
    }

    /// Notes the events that the engine has fetched.
    pub(super) fn fetched(&self, events: &[UpstreamEvent]) {
        let deliveries = events.iter().filter_map(|event| match event {
            UpstreamEvent::Delivery(delivery) => Some(delivery),
            _ => None,
        });
        let (mut qos0, mut bytes) = (0, 0);
        for delivery in deliveries {
            qos0 += usize::from(delivery.id.is_none());
            bytes += cost(&delivery.publication);
        }
        self.unfetched_qos0.fetch_sub(qos0, Relaxed);
        self.unfetched_bytes.fetch_sub(bytes, Relaxed);
        self.fetched.notify_one();
    }

    pub(super) fn finished(&self, bytes: usize) {
        self.queue_len.fetch_sub(1, Relaxed);
        self.queue_bytes.fetch_sub(bytes, Relaxed);
    }
}
