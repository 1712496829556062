//! What the engine asks of the upstream, and what it makes of the answers.

use std::sync::Arc;

use gateway::session::{Binding, Publication, PublicationId, UpstreamEvent, UpstreamRequest};
use shared::topics::{Filter, TopicName};
use shared::wire::{Message, MsgId, QoS};

use super::{Judge, Said, Uplink};

impl Judge {
    /// The upstream is about to tell something.
    pub(super) fn told(&mut self, event: &UpstreamEvent) {
        match event {
            UpstreamEvent::Published { id, result } => {
                let Some(uplink) = self.uplinks.remove(id).filter(|_| result.is_ok()) else {
                    return;
                };
                self.cause.taken = Some(uplink.clone());
                let entry = (Arc::clone(&uplink.client_id), uplink.msg_id);
                if uplink.said.qos != QoS::ExactlyOnce {
                    self.taken.insert(entry);
                } else if self.received.insert(entry.clone(), uplink.said).is_some() {
                    self.released.insert(entry);
                }
            }
            UpstreamEvent::Delivery(delivery) => {
                if let Some(id) = delivery.id {
                    self.deliveries.insert(id, false);
                }
            }
            _ => {}
        }
    }

    /// A node is about to publish, or to release what it has published.
    pub(super) fn heard_publication(&mut self, message: &Message<'_>) {
        let Some(client_id) = self.cause.bound.clone() else {
            return;
        };
        let id = match message {
            Message::PubRel(id) => *id,
            // A node that uses the id for something else has forgotten the exchange.
            Message::Publish(publish) if publish.qos != QoS::ExactlyOnce => publish.msg_id,
            _ => return,
        };
        let entry = (client_id, id);
        if self.received.remove(&entry).is_some() {
            self.released.insert(entry);
        }
    }

    /// Judges a request.
    pub(super) fn requested(&mut self, request: &UpstreamRequest) -> Result<(), String> {
        self.cause.requests += 1;
        self.check_stray_request(request)?;
        match request {
            UpstreamRequest::Publish { id, publication } => self.published(*id, publication),
            UpstreamRequest::Subscribe { filter, .. } | UpstreamRequest::Unsubscribe { filter } => {
                match Filter::new(filter) {
                    Ok(good) if good.share_name().is_none() => Ok(()),
                    _ => Err(format!("{request:?}")),
                }
            }
            UpstreamRequest::Acknowledge(id) => match self.deliveries.get_mut(id) {
                Some(done) if !*done => {
                    *done = true;
                    Ok(())
                }
                _ => Err(format!("{id:?} was acknowledged twice, or out of nothing")),
            },
        }
    }

    /// The upstream keeps a request.
    pub(in crate::ops) fn taken(&mut self, request: &UpstreamRequest) -> Result<(), String> {
        match request {
            UpstreamRequest::Subscribe { filter, .. } => {
                self.filters.insert(Arc::clone(filter));
            }
            UpstreamRequest::Unsubscribe { filter } => {
                if !self.filters.remove(filter) && !self.leaks {
                    return Err(format!("{filter} was left and never joined"));
                }
            }
            UpstreamRequest::Publish { .. } | UpstreamRequest::Acknowledge(_) => {}
        }
        Ok(())
    }

    /// The upstream gives a request back.
    pub(in crate::ops) fn not_taken(&mut self, request: &UpstreamRequest) {
        match request {
            UpstreamRequest::Publish { id, .. } => {
                self.uplinks.remove(id);
            }
            UpstreamRequest::Subscribe { .. } | UpstreamRequest::Unsubscribe { .. } => {
                self.leaks = true;
            }
            UpstreamRequest::Acknowledge(_) => {}
        }
    }

    fn published(&mut self, id: PublicationId, publication: &Publication) -> Result<(), String> {
        let broken = |why: &str| Err(format!("{id:?} {publication:?}: {why}"));
        if id <= self.last_publication {
            return broken("its id does not increase");
        }
        self.last_publication = id;
        if TopicName::new(&publication.topic).is_err() || publication.qos == QoS::MinusOne {
            return broken("no broker takes that");
        }
        let own = publication.topic.starts_with(&*self.settings.status_prefix);
        let Some(uplink) = self.published_by_node().filter(|_| !own) else {
            return Ok(());
        };
        if uplink.said.qos != publication.qos {
            return broken("its node chose another QoS");
        }
        let same = |it: &Uplink| {
            (&it.client_id, it.msg_id, &it.said) == (&uplink.client_id, uplink.msg_id, &uplink.said)
        };
        let entry = (Arc::clone(&uplink.client_id), uplink.msg_id);
        if self.uplinks.values().any(same) || self.received.get(&entry) == Some(&uplink.said) {
            return broken("it was published already");
        }
        self.uplinks.insert(id, uplink);
        Ok(())
    }

    /// Returns the publication at QoS 1 or 2 that a node has just said.
    fn published_by_node(&self) -> Option<Uplink> {
        let (_, bytes) = self.cause.heard.as_ref()?;
        let Ok(Message::Publish(publish)) = Message::parse(bytes) else {
            return None;
        };
        let sure = matches!(publish.qos, QoS::AtLeastOnce | QoS::ExactlyOnce);
        Some(Uplink {
            client_id: self.cause.bound.clone().filter(|_| sure)?,
            msg_id: publish.msg_id,
            said: Said {
                qos: publish.qos,
                topic: publish.topic,
                payload: publish.payload.to_vec(),
            },
        })
    }

    /// A node is told that its publication is safe: the broker has just taken it, or had, and
    /// the node repeats itself.
    pub(super) fn check_acknowledged(
        &mut self,
        to: Binding,
        msg_id: MsgId,
        qos: QoS,
    ) -> Result<(), String> {
        let owner = self.bound(&to);
        if let Some(uplink) = self.cause.taken.take() {
            let right = |uplink: &Uplink| {
                Some(&uplink.client_id) == owner.as_ref()
                    && (uplink.msg_id, uplink.said.qos) == (msg_id, qos)
            };
            if right(&uplink) {
                return Ok(());
            }
            return Err(format!("{to} was told of {uplink:?} by {msg_id:?} {qos:?}"));
        }
        let repeated = self.published_by_node();
        let known = owner.is_some_and(|owner| match qos {
            QoS::ExactlyOnce => {
                let entry = (owner, msg_id);
                self.received.contains_key(&entry) || self.released.contains(&entry)
            }
            _ => self.limits.dedup_qos1 && self.taken.contains(&(owner, msg_id)),
        });
        if known && repeated.is_some_and(|it| (it.msg_id, it.said.qos) == (msg_id, qos)) {
            return Ok(());
        }
        Err(format!(
            "{to} was told that {msg_id:?} {qos:?} is safe, and nothing says so"
        ))
    }

    /// No stray datagram reaches the upstream; at QoS −1 it may, once.
    fn check_stray_request(&self, request: &UpstreamRequest) -> Result<(), String> {
        if !self.cause.is_datagram || self.cause.revives {
            return Ok(());
        }
        let minus_one = self.cause.bound.is_none()
            && matches!(
                self.cause
                    .heard
                    .as_ref()
                    .map(|(_, bytes)| Message::parse(bytes)),
                Some(Ok(Message::Publish(_)))
            );
        let harmless = minus_one
            && self.cause.requests == 1
            && matches!(request, UpstreamRequest::Publish { publication, .. }
                if publication.qos == QoS::AtMostOnce);
        if self.is_stray() || (minus_one && !harmless) {
            return Err(format!("a stray datagram made {request:?}"));
        }
        Ok(())
    }
}
