//! The books find what they are kept for.

use std::sync::Arc;

use super::*;

const TOPIC: &str = "up/0/a";

fn ledger() -> Ledger {
    Ledger::new(2, &WorldConfig::calm("test"))
}

fn compose(ledger: &mut Ledger, qos: QoS) -> Publication {
    let seq = ledger.compose(0, Subject::Name(TOPIC.to_owned()), qos);
    ledger.handed(0, seq);
    Publication {
        topic: Arc::from(TOPIC),
        payload: Ledger::up_payload(0, seq, 3).into(),
        qos,
        retain: false,
    }
}

/// Announces a QoS 2 publication that nodes 0 and 1 are owed, and has it given.
fn deliver(ledger: &mut Ledger, id: u64) -> Bytes {
    let payload = ledger.announce("down", QoS::ExactlyOnce, usize::try_from(id).unwrap());
    ledger.sent(QoS::ExactlyOnce, Some(DeliveryId(id)));
    let publication = Publication {
        topic: Arc::from("down"),
        payload: payload.clone(),
        qos: QoS::ExactlyOnce,
        retain: false,
    };
    let owed = [(0, QoS::ExactlyOnce), (1, QoS::AtLeastOnce)];
    ledger.given(&publication, owed.into());
    payload
}

#[test]
fn a_second_arrival_breaks_qos_2_only() {
    let mut ledger = ledger();
    for (qos, holds) in [(QoS::AtLeastOnce, true), (QoS::ExactlyOnce, false)] {
        let publication = compose(&mut ledger, qos);
        ledger.arrived(&publication).unwrap();
        assert_eq!(ledger.arrived(&publication).is_ok(), holds);
    }
}

#[test]
fn another_topic_qos_or_order_is_found() {
    let mut ledger = ledger();
    let first = compose(&mut ledger, QoS::AtLeastOnce);
    let second = compose(&mut ledger, QoS::AtLeastOnce);
    let topic = Arc::from("up/0/b");
    assert!(
        ledger
            .arrived(&Publication {
                topic,
                ..first.clone()
            })
            .is_err()
    );
    let qos = QoS::AtMostOnce;
    assert!(
        ledger
            .arrived(&Publication {
                qos,
                ..first.clone()
            })
            .is_err()
    );
    ledger.arrived(&second).unwrap();
    assert!(ledger.arrived(&first).is_err());
}

#[test]
fn a_loss_is_found_at_the_end() {
    let mut ledger = ledger();
    let publication = compose(&mut ledger, QoS::AtLeastOnce);
    assert!(ledger.close().is_err());
    ledger.settled(0, 0, Standing::Published);
    assert!(ledger.close().is_err());
    ledger.arrived(&publication).unwrap();
    ledger.close().unwrap();
    deliver(&mut ledger, 1);
    assert!(ledger.close().is_err());
}

#[test]
fn an_acknowledgement_is_due_once_and_after_the_last_node() {
    let mut ledger = ledger();
    let payload = deliver(&mut ledger, 1);
    ledger
        .received(0, 0, "down", &payload, QoS::ExactlyOnce)
        .unwrap();
    assert!(ledger.acknowledged(DeliveryId(1)).is_err());
    let payload = deliver(&mut ledger, 2);
    ledger
        .received(0, 0, "down", &payload, QoS::ExactlyOnce)
        .unwrap();
    ledger.dropped(1, DropReason::Unacknowledged, payload.len());
    ledger.acknowledged(DeliveryId(2)).unwrap();
    assert!(ledger.acknowledged(DeliveryId(2)).is_err());
}

#[test]
fn a_command_told_twice_or_out_of_order_is_found() {
    let mut ledger = ledger();
    let first = deliver(&mut ledger, 1);
    let second = deliver(&mut ledger, 2);
    ledger
        .received(0, 0, "down", &second, QoS::ExactlyOnce)
        .unwrap();
    assert!(
        ledger
            .received(0, 0, "down", &second, QoS::ExactlyOnce)
            .is_err()
    );
    ledger
        .received(0, 1, "down", &second, QoS::ExactlyOnce)
        .unwrap();
    assert!(
        ledger
            .received(0, 0, "down", &first, QoS::ExactlyOnce)
            .is_err()
    );
    assert!(
        ledger
            .received(0, 0, "other", &first, QoS::ExactlyOnce)
            .is_err()
    );
}

#[test]
fn a_will_needs_a_loss() {
    let mut ledger = ledger();
    let will = Publication {
        topic: Arc::from("will/0"),
        payload: Bytes::copy_from_slice(&Ledger::will_payload(0)),
        qos: QoS::AtLeastOnce,
        retain: false,
    };
    assert!(ledger.arrived(&will).is_err());
    ledger.will_due(0);
    ledger.will_due(0);
    ledger.arrived(&will).unwrap();
}
