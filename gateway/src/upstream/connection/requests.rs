//! What rumqttc is asked to send, and whether it has.

use std::sync::Arc;

use rumqttc::Outgoing;
use rumqttc::v5::Request;
use rumqttc::v5::mqttbytes::v5::{Filter, PubRel, Publish, RetainForwardRule, SubscribeProperties};
use shared::wire::QoS;

use super::super::deliveries::Ack;
use super::super::limits::to_mqtt;
use super::super::subscriptions::Asked;
use super::{Connection, OutOfStep, empty_publish};
use crate::session::Publication;

/// A request that has left, or is about to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::upstream) enum Sent {
    /// A PUBLISH with a packet id.
    Publish(u16),
    /// A QoS 0 PUBLISH, and what it took of the queue.
    Fleeting(usize),
    /// A SUBSCRIBE.
    Subscribe(u16),
    /// An UNSUBSCRIBE.
    Unsubscribe(u16),
    /// A PUBACK or PUBREC.
    Ack(u16),
    /// A PUBREL for an exchange of an earlier connection.
    Release(u16),
    /// A DISCONNECT.
    Disconnect,
}

impl Connection {
    /// Publishes, at QoS 1 and 2 under the id [`Self::next_id`] has returned.
    pub(in crate::upstream) fn publish(
        &mut self,
        publication: &Publication,
        qos: QoS,
        sent: Sent,
    ) -> Result<(), OutOfStep> {
        let (topic, payload) = (publication.topic.as_ref(), publication.payload.clone());
        self.client
            .try_publish(topic, to_mqtt(qos), publication.retain, payload)
            .map_err(|_| OutOfStep)?;
        if let Sent::Publish(_) = sent {
            self.ids.advance();
        }
        self.queued.push_back(sent);
        Ok(())
    }

    /// Publishes again what an earlier connection has published under `id`.
    pub(in crate::upstream) fn publish_again(
        &mut self,
        id: u16,
        publication: &Publication,
        qos: QoS,
    ) {
        let mut publish = Publish::new(
            publication.topic.as_ref(),
            to_mqtt(qos),
            publication.payload.clone(),
            None,
        );
        publish.retain = publication.retain;
        publish.dup = true;
        publish.pkid = id;
        self.eventloop.pending.push_back(Request::Publish(publish));
        self.resumed.push_back(Sent::Publish(id));
    }

    /// Releases again what an earlier connection has released.
    pub(in crate::upstream) fn release_again(&mut self, id: u16) {
        let release = Request::PubRel(PubRel::new(id, None));
        self.eventloop.pending.push_back(release);
        self.resumed.push_back(Sent::Release(id));
    }

    /// Subscribes, under the id [`Self::next_id`] has returned.
    pub(in crate::upstream) fn subscribe(
        &mut self,
        id: u16,
        batch: &[Asked],
    ) -> Result<(), OutOfStep> {
        let filters = batch.iter().map(|asked| {
            let mut filter = Filter::new(asked.filter.as_ref(), to_mqtt(asked.qos));
            if !asked.retained {
                filter.retain_forward_rule = RetainForwardRule::OnNewSubscribe;
            }
            filter
        });
        // The identifier is the packet's: a filter that has one is alone in it.
        let identifier = batch.first().and_then(|asked| asked.identifier);
        let made = match identifier.and_then(|id| usize::try_from(id).ok()) {
            None => self.client.try_subscribe_many(filters),
            id => {
                let properties = SubscribeProperties {
                    id,
                    user_properties: Vec::new(),
                };
                self.client
                    .try_subscribe_many_with_properties(filters, properties)
            }
        };
        made.map_err(|_| OutOfStep)?;
        self.ids.advance();
        self.queued.push_back(Sent::Subscribe(id));
        Ok(())
    }

    /// Unsubscribes, under the id [`Self::next_id`] has returned.
    pub(in crate::upstream) fn unsubscribe(
        &mut self,
        id: u16,
        filter: &Arc<str>,
    ) -> Result<(), OutOfStep> {
        self.client
            .try_unsubscribe(filter.as_ref())
            .map_err(|_| OutOfStep)?;
        self.ids.advance();
        self.queued.push_back(Sent::Unsubscribe(id));
        Ok(())
    }

    /// Acknowledges a downlink publication.
    pub(in crate::upstream) fn acknowledge(&mut self, ack: Ack) -> Result<(), OutOfStep> {
        let mut publish = empty_publish(ack.qos);
        publish.pkid = ack.packet_id;
        self.client.try_ack(&publish).map_err(|_| OutOfStep)?;
        self.queued.push_back(Sent::Ack(ack.packet_id));
        Ok(())
    }

    /// Ends the connection in order; the session stays for as long as agreed.
    pub(in crate::upstream) fn disconnect(&mut self) -> Result<(), OutOfStep> {
        self.client.try_disconnect().map_err(|_| OutOfStep)?;
        self.queued.push_back(Sent::Disconnect);
        Ok(())
    }

    /// Notes what rumqttc says it has sent; returns the request, where it was one of ours.
    ///
    /// # Errors
    /// [`OutOfStep`] where it should have sent something else.
    pub(in crate::upstream) fn sent(
        &mut self,
        outgoing: &Outgoing,
    ) -> Result<Option<Sent>, OutOfStep> {
        for queue in [&mut self.resumed, &mut self.queued] {
            if queue.front().is_some_and(|sent| sent.is(outgoing)) {
                return Ok(queue.pop_front());
            }
        }
        match outgoing {
            // Answers to the broker and pings, which rumqttc sends by itself.
            Outgoing::PubRel(_) | Outgoing::PubComp(_) | Outgoing::PingReq => Ok(None),
            _ => Err(OutOfStep),
        }
    }
}

impl Sent {
    fn is(self, outgoing: &Outgoing) -> bool {
        match (self, outgoing) {
            (Self::Publish(a), Outgoing::Publish(b))
            | (Self::Subscribe(a), Outgoing::Subscribe(b))
            | (Self::Unsubscribe(a), Outgoing::Unsubscribe(b))
            | (Self::Ack(a), Outgoing::PubAck(b) | Outgoing::PubRec(b))
            | (Self::Release(a), Outgoing::PubRel(b)) => a == *b,
            (Self::Fleeting(_), Outgoing::Publish(0))
            | (Self::Disconnect, Outgoing::Disconnect) => true,
            _ => false,
        }
    }
}
