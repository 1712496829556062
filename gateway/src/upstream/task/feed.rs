//! What goes out: to rumqttc, as much as may be sent.

use shared::wire::QoS;

use super::super::connection::{Connection, OutOfStep, Sent};
use super::super::ledger::{Next, cost, refusal};
use super::super::stats::Counters;
use super::super::subscriptions::Packet as SubscriptionPacket;
use super::Task;

impl Task {
    /// Hands rumqttc what may be sent: acknowledgements, what an earlier connection began,
    /// subscriptions, publications.
    pub(super) fn feed(&mut self, connection: &mut Connection) -> Result<(), OutOfStep> {
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
                    self.ledger.fleeting_left();
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
}
