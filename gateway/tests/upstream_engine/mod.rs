//! The engine's side of the upstream, for tests: requests in, events collected.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test file includes this and uses its own part"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use gateway::session::{Publication, PublicationId, Refusal, UpstreamEvent, UpstreamRequest};
use gateway::upstream::{MqttUpstream, Upstream, UpstreamConfig, UpstreamStats};
use shared::rng::Rng;
use shared::wire::QoS;
use tokio::time::timeout;

use super::fake_broker::FakeBroker;

/// Longer than anything here takes, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// An upstream and what it has said.
pub struct Engine {
    pub upstream: MqttUpstream,
    pub events: Vec<UpstreamEvent>,
    next: u64,
}

/// The configuration for a broker nearby.
pub fn config(broker: &FakeBroker) -> UpstreamConfig {
    let address = broker.address();
    let mut config = UpstreamConfig::new(
        address.ip().to_string(),
        address.port(),
        "gateway-under-test",
    );
    config.backoff_min = Duration::from_millis(2);
    config.backoff_max = Duration::from_millis(20);
    config.keep_alive = Duration::from_secs(5);
    config
}

pub fn publication(topic: &str, qos: QoS, payload: &str) -> Publication {
    Publication {
        topic: topic.into(),
        payload: Bytes::from(payload.to_owned()),
        qos,
        retain: false,
    }
}

/// Waits until a condition holds.
pub async fn until(condition: impl Fn() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    waited.await.expect("the condition never held");
}

impl Engine {
    pub fn start(config: &UpstreamConfig, seed: u64) -> Self {
        Self {
            upstream: MqttUpstream::start(config, Rng::new(seed)).unwrap(),
            events: Vec::new(),
            next: 0,
        }
    }

    pub fn stats(&self) -> UpstreamStats {
        self.upstream.stats()
    }

    pub fn try_publish(&mut self, topic: &str, qos: QoS, payload: &str) -> Result<u64, ()> {
        self.try_publish_with(publication(topic, qos, payload))
    }

    pub fn publish(&mut self, topic: &str, qos: QoS, payload: &str) -> u64 {
        self.publish_with(publication(topic, qos, payload))
    }

    pub fn publish_with(&mut self, publication: Publication) -> u64 {
        self.try_publish_with(publication).expect("queue full")
    }

    fn try_publish_with(&mut self, publication: Publication) -> Result<u64, ()> {
        let id = self.next;
        let reliable = publication.qos > QoS::AtMostOnce;
        let request = UpstreamRequest::Publish {
            id: PublicationId(id),
            publication,
        };
        self.upstream
            .request(request.clone())
            .map_err(|back| assert_eq!(back, request))?;
        if reliable {
            self.next += 1;
        }
        Ok(id)
    }

    pub fn request(&mut self, request: UpstreamRequest) {
        self.upstream.request(request).unwrap();
    }

    pub fn subscribe(&mut self, filter: &str, qos: QoS) {
        self.request(UpstreamRequest::Subscribe {
            filter: filter.into(),
            qos,
        });
    }

    /// Collects events until they are as wanted.
    pub async fn wait_for(&mut self, wanted: impl Fn(&[UpstreamEvent]) -> bool) {
        let waited = timeout(PATIENCE, async {
            while !wanted(&self.events) {
                self.upstream.events(&mut self.events).await;
            }
        })
        .await;
        if waited.is_err() {
            let tail = self.events.len().saturating_sub(20);
            panic!("{:?}: …{:?}", self.upstream.stats(), &self.events[tail..]);
        }
    }

    /// Collects events for a while.
    pub async fn listen(&mut self, time: Duration) {
        let _ = timeout(time, self.wait_for(|_| false)).await;
    }

    pub async fn connected(&mut self) {
        self.wait_for(|events| events.contains(&UpstreamEvent::Connected))
            .await;
    }

    /// Waits until everything is answered, and returns the answers.
    pub async fn results(&mut self) -> BTreeMap<u64, Result<(), Refusal>> {
        let count = self.next;
        self.wait_for(|events| published(events).count() as u64 >= count)
            .await;
        let results: BTreeMap<_, _> = published(&self.events).collect();
        assert_eq!(results.len() as u64, count, "each is answered once");
        results
    }

    /// Waits until everything is answered, and asserts that all of it was taken.
    pub async fn all_published(&mut self) {
        for (id, result) in self.results().await {
            assert_eq!(result, Ok(()), "publication {id}");
        }
    }
}

fn published(events: &[UpstreamEvent]) -> impl Iterator<Item = (u64, Result<(), Refusal>)> {
    events.iter().filter_map(|event| match event {
        UpstreamEvent::Published { id, result } => Some((id.0, *result)),
        _ => None,
    })
}
