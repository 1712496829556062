//! QoS −1: publications without a connection, from an allow list [MQTT-SN 1.2 §6.8] D-34.

use std::sync::Arc;

use bytes::Bytes;
use shared::time::Instant;
use shared::wire::{Publish, QoS, TopicRef};

use super::engine::Engine;
use super::output::DropReason;
use super::port::{Binding, Peer, Publication};
use super::rate::Rate;
use super::uplink::{short_name, valid_name};

impl Engine {
    /// Takes a publication at QoS −1 from a place where no node is connected
    /// [MQTT-SN 1.2 §6.8] D-34; it is never answered.
    pub(super) fn publish_minus_one(
        &mut self,
        now: Instant,
        binding: Binding,
        publish: &Publish<'_>,
        octets: usize,
    ) {
        let named: Option<(Arc<str>, &[u8])> = match publish.topic {
            TopicRef::Normal(_) => self.long_name(publish),
            TopicRef::Predefined(id) => {
                let name = self.settings.predefined.get(&id);
                name.map(|name| (Arc::clone(name), publish.payload))
            }
            TopicRef::Short(name) => short_name(name).map(|name| (name.into(), publish.payload)),
        };
        let rule = named.and_then(|named| Some((self.minus_one_rule(&binding, &named.0)?, named)));
        let Some((rule, (topic, payload))) = rule else {
            let reason = DropReason::QosMinusOneRefused;
            return self.out.dropped(Some(binding), None, reason, octets);
        };
        let (rate, retain) = {
            let rule = &self.settings.qos_minus_one[rule];
            let rate = Rate::per_s(rule.rate_per_s, rule.burst);
            (rate, rule.retain && publish.retain)
        };
        let source = (rule, without_port(binding.peer), binding.node_id);
        if !self.anonymous.take(now, source, rate) {
            let reason = DropReason::QosMinusOneRate;
            return self.out.dropped(Some(binding), None, reason, octets);
        }
        let payload = Bytes::copy_from_slice(payload);
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

    /// Returns the name and the payload of a PUBLISH that brings its topic name along (A.15),
    /// where that is allowed.
    pub(super) fn long_name<'p>(&self, publish: &Publish<'p>) -> Option<(Arc<str>, &'p [u8])> {
        let allowed = self.settings.qos_minus_one_long_names;
        let (name, payload) = publish.long_name().filter(|_| allowed)?;
        Some((valid_name(name)?.into(), payload))
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
