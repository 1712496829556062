//! What comes down: publications from the broker, for the engine.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rumqttc::v5::mqttbytes::v5::Publish;
use shared::time::Duration;
use shared::wire::QoS;

use super::super::deliveries::{Ack, Arrival};
use super::super::limits::from_mqtt;
use super::super::stats::Counters;
use super::super::subscriptions::{Share, may_be_garbled};
use super::Task;
use crate::session::{Delivery, DeliveryId, Publication, UpstreamEvent};

impl Task {
    pub(super) fn delivered(&mut self, publish: &Publish) {
        let Some(id) = self.arrived(publish) else {
            return;
        };
        let Some(delivery) = self.delivery(id, publish) else {
            // Unacknowledged, it would come again.
            if let Some(id) = id {
                self.deliveries.acknowledge(id);
            }
            return;
        };
        self.counters.delivered(&delivery);
        self.tell(UpstreamEvent::Delivery(delivery));
    }

    /// Returns under which name a publication goes to the engine, or `None` where it does not.
    fn arrived(&mut self, publish: &Publish) -> Option<Option<DeliveryId>> {
        let (packet_id, qos) = (publish.pkid, from_mqtt(publish.qos));
        if qos == QoS::AtMostOnce {
            let unfetched = self.counters.unfetched_qos0.load(Relaxed);
            if unfetched >= UNFETCHED_QOS0_MAX || self.is_clogged() {
                Counters::add(&self.counters.dropped_deliveries);
                return None;
            }
            return Some(None);
        }
        match self.deliveries.arrived(Ack { packet_id, qos }, publish.dup) {
            Arrival::New(id) => Some(Some(id)),
            Arrival::Duplicate => {
                Counters::add(&self.counters.duplicate_deliveries);
                None
            }
        }
    }

    /// Reads a publication, or returns `None` where no node can be given it.
    fn delivery(&mut self, id: Option<DeliveryId>, publish: &Publish) -> Option<Delivery> {
        let topic = std::str::from_utf8(&publish.topic).unwrap_or_default();
        if topic.is_empty() {
            // No node could be told what it is about.
            Counters::add(&self.counters.unusable_deliveries);
            return None;
        }
        let properties = publish.properties.as_ref();
        let ids = properties.map_or(&[][..], |p| &p.subscription_identifiers);
        let filters = self.filters(ids, topic, &publish.payload)?;
        let publication = Publication {
            topic: topic.into(),
            payload: publish.payload.clone(),
            qos: from_mqtt(publish.qos),
            retain: publish.retain,
        };
        Some(Delivery {
            // [MQTT 5 §3.3.2.3.3]
            expiry: properties
                .and_then(|p| p.message_expiry_interval)
                .map(|seconds| Duration::from_secs(u64::from(seconds))),
            filters,
            ..Delivery::new(id, publication)
        })
    }

    /// Returns the filters that a copy is for, none where it is the only one; or `None` where it
    /// is for nobody.
    fn filters(&mut self, ids: &[usize], topic: &str, payload: &[u8]) -> Option<Vec<Arc<str>>> {
        match self.subscriptions.share(ids, topic) {
            Share::All => Some(Vec::new()),
            Share::One(filter) => Some(vec![filter]),
            Share::Ended => {
                Counters::add(&self.counters.unwanted_deliveries);
                None
            }
            Share::Merged => {
                Counters::add(&self.counters.merged_deliveries);
                if std::mem::take(&mut self.identifies) {
                    self.report_single("it puts several Subscription Identifiers on one");
                    self.subscriptions.identify(false);
                }
                if may_be_garbled(payload) {
                    Counters::add(&self.counters.unusable_deliveries);
                    return None;
                }
                Some(Vec::new())
            }
        }
    }
}

/// QoS 0 publications waiting for the engine; it has stopped long before they are so many.
const UNFETCHED_QOS0_MAX: usize = 10_000;
