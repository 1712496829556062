//! What holds with every broker: the core flows, run beside mosquitto and the embedded broker.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, ensure};
use shared::wire::{QoS, ShortName, TopicFilter, TopicId, TopicRef};
use tests::{Delivery, MqttProbe, PATIENCE, SnNode};

/// A gateway's UDP address and a probe with `#` at its broker.
pub(crate) struct Rig {
    pub(crate) gateway: SocketAddr,
    pub(crate) probe: MqttProbe,
}

/// How long nothing more must come before a count is final.
const QUIET: Duration = Duration::from_millis(300);

const ALL_QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];

impl Rig {
    /// A node registers a topic and publishes at every QoS: each arrives once.
    pub(crate) fn each_publication_arrives_once(&self) -> Result<()> {
        let mut node = SnNode::connect(self.gateway, "antonio")?;
        let topic = TopicRef::Normal(node.register("input/antonio/temperature")?);
        for qos in ALL_QOS {
            node.publish(topic, qos, format!("at QoS {qos}").as_bytes())?;
        }
        // What is not acknowledged may overtake: the order is kept per QoS only.
        let mut seen = self.arrived("input/", 3)?;
        seen.sort();
        let name = "input/antonio/temperature".to_owned();
        let expected = [0, 1, 2].map(|qos| (name.clone(), format!("at QoS {qos}"), qos));
        ensure!(seen == expected, "{seen:?}");
        ensure!(node.repeats() == 0, "the loopback loses nothing");
        node.disconnect()
    }

    /// Short topic names need no registration.
    pub(crate) fn a_short_topic_is_its_own_name(&self) -> Result<()> {
        let mut node = SnNode::connect(self.gateway, "short")?;
        let topic = TopicRef::Short(ShortName(*b"ab"));
        node.publish(topic, QoS::AtLeastOnce, b"1")?;
        let seen = self.arrived("ab", 1)?;
        ensure!(seen[0].1 == "1", "{seen:?}");
        node.disconnect()
    }

    /// Nodes that subscribed at QoS 0, 1 and 2 get what is published below their filter once.
    pub(crate) fn each_subscriber_gets_it_once(&self) -> Result<()> {
        let mut nodes = Vec::new();
        for qos in ALL_QOS {
            let mut node = SnNode::connect(self.gateway, &format!("listener-{qos}"))?;
            let (id, granted) = node.subscribe(TopicFilter::Name(b"output/#"), qos)?;
            // [MQTT-SN 1.2 §6.9] D-15: a wildcard has no topic id.
            ensure!((id, granted) == (TopicId::NONE, qos), "{id} {granted}");
            nodes.push((qos, node));
        }
        self.probe.publish("output/a/b", b"first", 2, false)?;
        self.probe.publish("output/c", b"second", 2, false)?;
        for (qos, mut node) in nodes {
            let deliveries = node.deliveries(2, PATIENCE)?;
            let expected = [("output/a/b", "first"), ("output/c", "second")]
                .map(|(topic, payload)| delivery(topic, payload, qos));
            ensure!(deliveries == expected, "{deliveries:?}");
            let more = node.delivery(QUIET)?;
            ensure!(more.is_none(), "QoS {qos}: {more:?}");
            node.disconnect()?;
        }
        Ok(())
    }

    /// An exact topic is named by the id of the SUBACK, without a REGISTER.
    pub(crate) fn an_exact_subscription_uses_the_id_of_its_suback(&self) -> Result<()> {
        let mut node = SnNode::connect(self.gateway, "exact")?;
        let filter = TopicFilter::Name(b"exact/topic");
        let (id, _) = node.subscribe(filter, QoS::AtLeastOnce)?;
        ensure!(id.is_assignable(), "{id}");
        self.probe.publish("exact/topic", b"x", 1, false)?;
        let deliveries = node.deliveries(1, PATIENCE)?;
        ensure!(deliveries[0].topic == "exact/topic", "{deliveries:?}");
        node.disconnect()
    }

    /// What comes for a sleeping node waits until it wakes, and then comes before PINGRESP.
    pub(crate) fn a_sleeping_node_collects_when_it_wakes(&self) -> Result<()> {
        let mut node = SnNode::connect(self.gateway, "sleeper")?;
        node.subscribe(TopicFilter::Name(b"orders/sleeper"), QoS::AtLeastOnce)?;
        node.sleep(60)?;
        for number in 1..=3 {
            let payload = number.to_string();
            self.probe
                .publish("orders/sleeper", payload.as_bytes(), 1, false)?;
        }
        let disturbed = node.delivery(QUIET)?;
        ensure!(disturbed.is_none(), "it sleeps: {disturbed:?}");
        node.wake()?;
        // No waiting: PINGRESP came, so everything came.
        let deliveries = node.deliveries(3, Duration::ZERO)?;
        let payloads: Vec<&[u8]> = deliveries.iter().map(|d| &d.payload[..]).collect();
        ensure!(payloads == [b"1", b"2", b"3"], "{deliveries:?}");
        node.wake()?;
        ensure!(node.delivery(QUIET)?.is_none(), "nothing comes twice");
        Ok(())
    }

    /// A retained publication reaches every new subscriber, after its SUBACK, and only it.
    pub(crate) fn retained_publications_reach_every_new_subscriber(&self) -> Result<()> {
        let mut writer = SnNode::connect(self.gateway, "writer")?;
        let topic = TopicRef::Normal(writer.register("kept/value")?);
        writer.publish_retained(topic, QoS::AtLeastOnce, b"21")?;
        self.arrived("kept/", 1)?;
        let mut readers = Vec::new();
        for name in ["reader-1", "reader-2"] {
            let mut reader = SnNode::connect(self.gateway, name)?;
            // The node fails on a PUBLISH whose id it has not been told: so SUBACK came first.
            reader.subscribe(TopicFilter::Name(b"kept/value"), QoS::AtLeastOnce)?;
            let first = reader.deliveries(1, PATIENCE)?;
            ensure!(first[0].retain && first[0].payload == b"21", "{first:?}");
            readers.push(reader);
        }
        for mut reader in readers {
            let more = reader.delivery(QUIET)?;
            ensure!(more.is_none(), "one is enough: {more:?}");
        }
        Ok(())
    }

    /// Returns the publications below `prefix` once `count` have come and no more follow.
    fn arrived(&self, prefix: &str, count: usize) -> Result<Vec<(String, String, u8)>> {
        let start = std::time::Instant::now();
        let below = || -> Vec<(String, String, u8)> {
            let received = self.probe.received().into_iter();
            let below = received.filter(|one| one.topic.starts_with(prefix));
            below
                .map(|one| {
                    let payload = String::from_utf8_lossy(&one.payload).into_owned();
                    (one.topic, payload, one.qos)
                })
                .collect()
        };
        while below().len() < count && start.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(5));
        }
        std::thread::sleep(QUIET);
        let all = below();
        ensure!(all.len() == count, "{count} expected: {all:?}");
        Ok(all)
    }
}

fn delivery(topic: &str, payload: &str, qos: QoS) -> Delivery {
    Delivery {
        topic: topic.to_owned(),
        payload: payload.as_bytes().to_vec(),
        qos,
        retain: false,
        dup: false,
    }
}
