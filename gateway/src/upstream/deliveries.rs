//! Downlink publications between the broker and the engine's acknowledgement; sans-IO.
//!
//! A [`DeliveryId`] is never used twice while the process runs. At QoS 1 it lives as long as the
//! connection it came on: after a reconnection the broker delivers again, under a new id. At
//! QoS 2 it lives as long as the broker's session, and a repeat is not delivered again.
//!
//! Acknowledgements leave in the order the engine gives them, not in the order of the
//! publications as [MQTT 5 §4.6] asks: one node that is slow to answer would otherwise hold up
//! those of all others, and brokers find an exchange by its packet id.

use std::collections::{BTreeMap, HashMap, VecDeque};

use shared::wire::QoS;

use crate::session::DeliveryId;

/// What the engine holds, and what the broker must be told.
#[derive(Debug, Default)]
pub(super) struct Deliveries {
    last: u64,
    open: HashMap<u64, Open>,
    acks: VecDeque<Ack>,
    /// QoS 2 publications by packet id, until the broker releases them.
    exactly_once: BTreeMap<u16, Stage>,
}

/// An acknowledgement for the broker: PUBACK at QoS 1, PUBREC at QoS 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ack {
    /// The broker's packet id.
    pub(super) packet_id: u16,
    /// The quality of service it was delivered with.
    pub(super) qos: QoS,
}

/// What to do with a publication that has come in.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Hand it to the engine under this id.
    New(DeliveryId),
    /// The engine has it already.
    Duplicate,
}

#[derive(Debug)]
struct Open {
    ack: Ack,
    /// Whether the broker has sent it on this connection, and so waits for the answer.
    current: bool,
}

#[derive(Clone, Copy, Debug)]
enum Stage {
    /// The engine has it under this id and has not answered.
    Held(u64),
    /// The engine has answered.
    Taken,
}

impl Deliveries {
    /// Notes a QoS 1 or 2 publication.
    pub(super) fn arrived(&mut self, ack: Ack, dup: bool) -> Arrival {
        if ack.qos == QoS::ExactlyOnce && self.is_repeat(ack, dup) {
            return Arrival::Duplicate;
        }
        self.last += 1;
        if ack.qos == QoS::ExactlyOnce {
            self.exactly_once
                .insert(ack.packet_id, Stage::Held(self.last));
        }
        self.open.insert(self.last, Open { ack, current: true });
        Arrival::New(DeliveryId(self.last))
    }

    /// Notes the engine's acknowledgement; returns whether the delivery is still open.
    pub(super) fn acknowledge(&mut self, id: DeliveryId) -> bool {
        let Some(Open { ack, current }) = self.open.remove(&id.0) else {
            return false;
        };
        if ack.qos == QoS::ExactlyOnce {
            self.exactly_once.insert(ack.packet_id, Stage::Taken);
        }
        if current {
            self.acks.push_back(ack);
        }
        true
    }

    /// Takes the next acknowledgement to be sent.
    pub(super) fn next_ack(&mut self) -> Option<Ack> {
        self.acks.pop_front()
    }

    /// Returns whether an acknowledgement is to be sent.
    pub(super) fn has_ack(&self) -> bool {
        !self.acks.is_empty()
    }

    /// Notes a PUBREL.
    pub(super) fn released(&mut self, packet_id: u16) {
        self.exactly_once.remove(&packet_id);
    }

    /// Begins a connection. What the engine holds at QoS 2 stays open with the session: the
    /// broker will repeat it, and the repeat must not be taken for another publication.
    pub(super) fn resume(&mut self, session_present: bool) {
        self.acks.clear();
        if session_present {
            self.open.retain(|_, open| open.ack.qos == QoS::ExactlyOnce);
            for open in self.open.values_mut() {
                open.current = false;
            }
        } else {
            self.open.clear();
            self.exactly_once.clear();
        }
    }

    fn is_repeat(&mut self, ack: Ack, dup: bool) -> bool {
        let stage = self.exactly_once.get(&ack.packet_id).copied();
        if !dup {
            // Without DUP it is another publication: the broker has forgotten the exchange.
            if let Some(Stage::Held(id)) = stage {
                self.open.remove(&id);
            }
            return false;
        }
        match stage {
            None => false,
            Some(Stage::Taken) => {
                self.acks.push_back(ack);
                true
            }
            Some(Stage::Held(id)) => {
                if let Some(open) = self.open.get_mut(&id) {
                    open.current = true;
                }
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ack(packet_id: u16, qos: QoS) -> Ack {
        Ack { packet_id, qos }
    }

    fn new(arrival: Arrival) -> DeliveryId {
        match arrival {
            Arrival::New(id) => id,
            Arrival::Duplicate => panic!("duplicate"),
        }
    }

    #[test]
    fn an_acknowledgement_for_an_earlier_connection_is_late() {
        let mut deliveries = Deliveries::default();
        let first = new(deliveries.arrived(ack(1, QoS::AtLeastOnce), false));
        deliveries.resume(true);
        let second = new(deliveries.arrived(ack(1, QoS::AtLeastOnce), true));
        assert!(!deliveries.acknowledge(first));
        assert!(deliveries.acknowledge(second));
        assert!(!deliveries.acknowledge(second), "once is enough");
        assert_eq!(deliveries.next_ack(), Some(ack(1, QoS::AtLeastOnce)));
        assert_eq!(deliveries.next_ack(), None);
    }

    #[test]
    fn a_repeated_qos2_publication_is_acknowledged_and_not_delivered() {
        let mut deliveries = Deliveries::default();
        let qos2 = ack(9, QoS::ExactlyOnce);
        let id = new(deliveries.arrived(qos2, false));
        assert!(deliveries.acknowledge(id));
        deliveries.resume(true);
        assert!(!deliveries.has_ack(), "the old connection's");
        assert_eq!(deliveries.arrived(qos2, true), Arrival::Duplicate);
        assert_eq!(deliveries.next_ack(), Some(qos2));
        deliveries.released(9);
        let _ = new(deliveries.arrived(qos2, true));
    }

    #[test]
    fn a_qos2_publication_the_engine_still_holds_is_not_delivered_again() {
        let mut deliveries = Deliveries::default();
        let qos2 = ack(9, QoS::ExactlyOnce);
        let early = new(deliveries.arrived(qos2, false));
        deliveries.resume(true);
        assert!(deliveries.acknowledge(early), "answered before the repeat");
        assert!(!deliveries.has_ack(), "the broker has not sent it here");
        assert_eq!(deliveries.arrived(qos2, true), Arrival::Duplicate);
        assert_eq!(deliveries.next_ack(), Some(qos2));
        deliveries.released(9);

        let late = new(deliveries.arrived(qos2, false));
        deliveries.resume(true);
        assert_eq!(deliveries.arrived(qos2, true), Arrival::Duplicate);
        assert!(!deliveries.has_ack());
        assert!(deliveries.acknowledge(late), "answered after the repeat");
        assert_eq!(deliveries.next_ack(), Some(qos2));
    }

    #[test]
    fn a_forgotten_session_ends_every_delivery() {
        let mut deliveries = Deliveries::default();
        let id = new(deliveries.arrived(ack(9, QoS::ExactlyOnce), false));
        deliveries.resume(false);
        assert!(!deliveries.acknowledge(id));
        let _ = new(deliveries.arrived(ack(9, QoS::ExactlyOnce), true));
    }

    #[test]
    fn a_reused_packet_id_without_dup_is_a_new_publication() {
        let mut deliveries = Deliveries::default();
        let qos2 = ack(9, QoS::ExactlyOnce);
        let id = new(deliveries.arrived(qos2, false));
        assert!(deliveries.acknowledge(id));
        let _ = new(deliveries.arrived(qos2, false));
    }
}
