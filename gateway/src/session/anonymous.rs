//! QoS −1: publications without a connection, from an allow list [MQTT-SN 1.2 §6.8] D-34.

use std::sync::Arc;

use bytes::Bytes;
use shared::time::Instant;
use shared::wire::{Publish, QoS, TopicRef};

use super::engine::Engine;
use super::output::DropReason;
use super::port::{Binding, Peer, Publication};
use super::uplink::short_name;

impl Engine {
    /// Takes a publication at QoS −1 [MQTT-SN 1.2 §6.8] D-34; it is never answered.
    pub(super) fn publish_minus_one(
        &mut self,
        now: Instant,
        binding: Binding,
        publish: &Publish<'_>,
        octets: usize,
    ) {
        if let Some(key) = self.slots.by_binding(&binding) {
            // D-34: from a connected node it counts as QoS 0; it is not answered even so.
            self.heard(now, key);
            let _ = self.publish_unacknowledged(key, publish);
            self.reschedule(key);
            return;
        }
        let topic: Option<Arc<str>> = match publish.topic {
            TopicRef::Normal(_) => None,
            TopicRef::Predefined(id) => self.settings.predefined.get(&id).cloned(),
            TopicRef::Short(name) => short_name(name).map(Into::into),
        };
        let rule = topic.and_then(|topic| Some((self.minus_one_rule(&binding, &topic)?, topic)));
        let Some((rule, topic)) = rule else {
            let reason = DropReason::QosMinusOneRefused;
            return self.out.dropped(Some(binding), None, reason, octets);
        };
        let (rate, burst, retain) = {
            let rule = &self.settings.qos_minus_one[rule];
            (rule.rate_per_s, rule.burst, rule.retain && publish.retain)
        };
        let source = (rule, without_port(binding.peer), binding.node_id);
        if !self.anonymous.take(now, source, rate, burst) {
            let reason = DropReason::QosMinusOneRate;
            return self.out.dropped(Some(binding), None, reason, octets);
        }
        let payload = Bytes::copy_from_slice(publish.payload);
        self.out.publish(
            Publication {
                topic,
                payload,
                qos: QoS::AtMostOnce,
                retain,
            },
            None,
        );
    }

    fn minus_one_rule(&self, binding: &Binding, topic: &str) -> Option<usize> {
        self.settings.qos_minus_one.iter().position(|rule| {
            rule.link == binding.link
                && rule.from.contain(binding)
                && rule
                    .topics
                    .iter()
                    .any(|filter| shared::topics::matches(filter, topic))
        })
    }
}

/// The rate of QoS −1 is one address's, whatever ports it sends from.
fn without_port(peer: Peer) -> Peer {
    match peer {
        Peer::Socket(mut address) => {
            address.set_port(0);
            Peer::Socket(address)
        }
        Peer::Line => Peer::Line,
    }
}
