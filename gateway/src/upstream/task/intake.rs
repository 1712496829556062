//! What comes in: from the engine by commands, from the broker by packets.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use rumqttc::v5::mqttbytes::v5::{
    Packet, PubCompReason, PubRecReason, SubAck, UnsubAck, UnsubAckReason,
};
use shared::wire::QoS;
use tokio::time::Instant;

use super::super::connection::{Connection, Sent};
use super::super::ledger::{Answer, Settled, cost, is_reliable, refusal};
use super::super::limits::{
    PACKET_ID_IN_USE, SUBSCRIPTION_ID_NOT_SUPPORTED, TOPIC_FILTER_INVALID, TOPIC_NAME_INVALID,
    UNSPECIFIED, granted, is_topic_filter, is_topic_name, may_pass, puback_code, pubrec_code,
};
use super::super::stats::Counters;
use super::super::subscriptions::Asked;
use super::{Command, Task};
use crate::session::{Publication, PublicationId, Refusal, UpstreamEvent, UpstreamRequest};

impl Task {
    pub(super) fn take(&mut self, command: Command) {
        match command {
            Command::Close(by) => self.close_by = Some(by),
            Command::Request(UpstreamRequest::Publish { id, publication }) => {
                self.take_publication(id, publication);
            }
            Command::Request(UpstreamRequest::Subscribe { filter, qos }) => {
                if is_topic_filter(&filter) {
                    self.subscriptions.subscribe(filter, qos);
                } else {
                    let refused = Err(Refusal::Denied(TOPIC_FILTER_INVALID));
                    self.answer_subscription(filter, refused);
                }
            }
            Command::Request(UpstreamRequest::Unsubscribe { filter }) => {
                for _ in 0..self.subscriptions.unsubscribe(filter.clone()) {
                    self.answer_subscription(filter.clone(), Err(Refusal::Busy));
                }
            }
            Command::Request(UpstreamRequest::Acknowledge(id)) => {
                if !self.deliveries.acknowledge(id) {
                    Counters::add(&self.counters.late_acks);
                }
            }
        }
    }

    fn take_publication(&mut self, id: PublicationId, publication: Publication) {
        if !is_topic_name(&publication.topic) {
            let refused = Settled {
                id,
                result: Err(Refusal::Denied(TOPIC_NAME_INVALID)),
                cost: cost(&publication),
            };
            if is_reliable(&publication) {
                self.settle(Some(refused));
            } else {
                Counters::add(&self.counters.refused);
                self.counters.finished(refused.cost);
            }
            return;
        }
        self.ledger.push(id, publication);
        if !self.counters.connected.load(Relaxed) {
            self.trim_fleeting();
        }
    }

    pub(super) fn trim_fleeting(&mut self) {
        while let Some(dropped) = self.ledger.drop_fleeting(self.qos0_len_max) {
            Counters::add(&self.counters.dropped_qos0);
            self.counters.finished(cost(&dropped));
        }
    }

    pub(super) fn sent(&self, sent: Sent) {
        match sent {
            Sent::Publish(_) => Counters::add(&self.counters.published),
            Sent::Fleeting(cost) => {
                Counters::add(&self.counters.published);
                self.counters.finished(cost);
            }
            _ => {}
        }
    }

    pub(super) fn heard(&mut self, connection: &mut Connection, packet: Packet) {
        match packet {
            Packet::Publish(publish) => self.delivered(&publish),
            Packet::PubAck(puback) => {
                let answer = self.ledger.puback(puback.pkid, puback_code(puback.reason));
                self.answered(connection, puback.pkid, answer);
            }
            Packet::PubRec(pubrec) => {
                if !matches!(
                    pubrec.reason,
                    PubRecReason::Success | PubRecReason::NoMatchingSubscribers
                ) {
                    connection.leaked();
                }
                let answer = self.ledger.pubrec(pubrec.pkid, pubrec_code(pubrec.reason));
                self.answered(connection, pubrec.pkid, answer);
            }
            Packet::PubComp(pubcomp) => {
                if pubcomp.reason != PubCompReason::Success {
                    connection.leaked();
                }
                let answer = self.ledger.pubcomp(pubcomp.pkid);
                self.answered(connection, pubcomp.pkid, answer);
            }
            Packet::PubRel(pubrel) => self.deliveries.released(pubrel.pkid),
            Packet::SubAck(suback) => self.subscribed(connection, &suback),
            Packet::UnsubAck(unsuback) => self.unsubscribed(connection, &unsuback),
            _ => {}
        }
    }

    fn answered(&mut self, connection: &mut Connection, id: u16, answer: Answer) {
        match answer {
            Answer::Settled(settled) => self.settle(Some(settled)),
            Answer::Open => {}
            Answer::Again => {
                Counters::add(&self.counters.resent);
                connection.avoid(id);
            }
            Answer::Unknown => tracing::debug!(id, "the broker answers what was not asked"),
        }
    }

    pub(super) fn settle(&mut self, settled: Option<Settled>) {
        let Some(Settled { id, result, cost }) = settled else {
            return;
        };
        self.counters.finished(cost);
        match result {
            Ok(()) => Counters::add(&self.counters.acknowledged),
            Err(refusal) => {
                Counters::add(&self.counters.refused);
                self.report_refused(id, refusal);
            }
        }
        self.tell(UpstreamEvent::Published { id, result });
    }

    fn subscribed(&mut self, connection: &mut Connection, suback: &SubAck) {
        let mut codes = suback.return_codes.iter();
        for asked in self.subscriptions.suback(suback.pkid) {
            let result = codes.next().map_or(Err(UNSPECIFIED), |code| granted(*code));
            if self.asks_again(connection, suback.pkid, &asked, result) {
                continue;
            }
            let Asked {
                filter, answers, ..
            } = asked;
            match result {
                Ok(_) => self.subscriptions.granted(&filter),
                Err(code) => {
                    Counters::add(&self.counters.refused_subscriptions);
                    self.subscriptions.refused(&filter, may_pass(code));
                    self.report_refused_subscription(&filter, code);
                }
            }
            for _ in 0..answers {
                self.answer_subscription(filter.clone(), result.map_err(refusal));
            }
        }
        self.plan_retry();
    }

    /// Asks again where the broker did not like how it was asked, not what for.
    fn asks_again(
        &mut self,
        connection: &mut Connection,
        packet_id: u16,
        asked: &Asked,
        result: Result<QoS, u8>,
    ) -> bool {
        match result {
            // A.21
            Err(PACKET_ID_IN_USE) => connection.avoid(packet_id),
            Err(SUBSCRIPTION_ID_NOT_SUPPORTED) if asked.identifier.is_some() => {
                self.report_single("it refuses Subscription Identifiers");
                self.identifies = false;
                self.subscriptions.identify(false);
            }
            _ => return false,
        }
        self.subscriptions.again(asked)
    }

    fn unsubscribed(&mut self, connection: &mut Connection, unsuback: &UnsubAck) {
        // A.21: whatever the code, unless the broker has not even looked at it.
        let in_use = unsuback
            .reasons
            .contains(&UnsubAckReason::PacketIdentifierInUse);
        if in_use {
            connection.avoid(unsuback.pkid);
        }
        self.subscriptions.unsuback(unsuback.pkid, !in_use);
    }

    /// Sets the time to try refused subscriptions again, where there are any.
    fn plan_retry(&mut self) {
        if !self.subscriptions.has_refused() {
            if self.retry_at.is_none() && self.subscriptions.is_settled() {
                self.retry_backoff.reset();
            }
        } else if self.retry_at.is_none() {
            self.retry_at = Some(Instant::now() + self.retry_backoff.delay());
        }
    }

    /// Tries refused subscriptions again, where it is time to.
    pub(super) fn retry_if_due(&mut self) {
        if self.retry_at.is_some_and(|at| at <= Instant::now()) {
            self.retry_at = None;
            self.subscriptions.retry();
        }
    }

    pub(super) fn answer_subscription(&self, filter: Arc<str>, result: Result<QoS, Refusal>) {
        self.tell(UpstreamEvent::Subscribed { filter, result });
    }
}
