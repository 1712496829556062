use bytes::Bytes;

use super::*;

fn publication(qos: QoS) -> Publication {
    Publication {
        topic: "a/b".into(),
        payload: Bytes::from_static(b"12345"),
        qos,
        retain: false,
    }
}

fn ledger(count: u64, qos: QoS) -> Ledger {
    let mut ledger = Ledger::new(8);
    for id in 0..count {
        ledger.push(PublicationId(id), publication(qos));
    }
    ledger
}

fn start(ledger: &mut Ledger, ids: std::ops::RangeInclusive<u16>) {
    for id in ids {
        assert!(matches!(ledger.next(8), Some(Next::Reliable(_))));
        ledger.start(id);
    }
}

fn published(answer: Answer) -> u64 {
    match answer {
        Answer::Settled(Settled {
            id, result: Ok(()), ..
        }) => id.0,
        other => panic!("{other:?}"),
    }
}

fn resends(ledger: &mut Ledger, window: usize) -> Vec<u16> {
    std::iter::from_fn(|| ledger.next_resend(window).map(|(id, _)| id)).collect()
}

#[test]
fn the_window_holds_and_opens_with_each_ack() {
    let mut ledger = ledger(3, QoS::AtLeastOnce);
    assert!(ledger.next(2).is_some());
    ledger.start(1);
    ledger.start(2);
    assert_eq!(ledger.next(2), None);
    assert_eq!(published(ledger.puback(1, 0)), 0);
    assert!(ledger.next(2).is_some());
}

#[test]
fn a_kept_session_resumes_every_exchange_where_it_stood() {
    let mut ledger = ledger(4, QoS::ExactlyOnce);
    start(&mut ledger, 1..=3);
    assert_eq!(ledger.pubrec(2, 0), Answer::Open);
    assert_eq!(ledger.resume(true), [2]);
    assert_eq!(ledger.next(8), None, "new ones wait for the resent ones");
    assert_eq!(resends(&mut ledger, 8), [1, 3]);
    assert_eq!(published(ledger.pubcomp(2)), 1);
    assert!(ledger.next(8).is_some());
}

#[test]
fn a_forgotten_session_starts_everything_over_in_order() {
    let mut ledger = ledger(5, QoS::ExactlyOnce);
    start(&mut ledger, 1..=3);
    let _ = ledger.pubrec(1, 0);
    assert!(ledger.resume(false).is_empty());
    assert!(resends(&mut ledger, 8).is_empty());
    let mut order = Vec::new();
    for id in 1..=5 {
        ledger.start(id);
        let _ = ledger.pubrec(id, 0);
        order.push(published(ledger.pubcomp(id)));
    }
    assert_eq!(order, [0, 1, 2, 3, 4]);
    assert!(ledger.is_empty());
}

#[test]
fn a_packet_id_in_use_is_tried_again_before_all_later_ones() {
    let mut ledger = ledger(3, QoS::AtLeastOnce);
    start(&mut ledger, 1..=2);
    assert_eq!(ledger.puback(1, 0x91), Answer::Again);
    ledger.start(4);
    assert_eq!(published(ledger.puback(4, 0)), 0);
}

#[test]
fn refusals_are_mapped() {
    for (code, expected) in [
        (0x97, Refusal::Busy),
        (0x89, Refusal::Busy),
        (0x87, Refusal::Denied(0x87)),
    ] {
        let mut ledger = ledger(1, QoS::ExactlyOnce);
        start(&mut ledger, 1..=1);
        match ledger.pubrec(1, code) {
            Answer::Settled(settled) => assert_eq!(settled.result, Err(expected)),
            other => panic!("{other:?}"),
        }
        assert!(ledger.is_empty());
    }
}

#[test]
fn acknowledgements_out_of_place_are_unknown() {
    let mut ledger = ledger(1, QoS::ExactlyOnce);
    assert_eq!(ledger.puback(7, 0), Answer::Unknown);
    assert_eq!(ledger.puback(700, 0), Answer::Unknown);
    start(&mut ledger, 1..=1);
    assert_eq!(ledger.pubcomp(1), Answer::Unknown);
}

#[test]
fn qos0_keeps_its_place_and_the_oldest_is_dropped() {
    let mut ledger = ledger(1, QoS::AtLeastOnce);
    ledger.push(PublicationId(1), publication(QoS::AtMostOnce));
    ledger.push(PublicationId(2), publication(QoS::MinusOne));
    assert!(matches!(ledger.next(8), Some(Next::Reliable(_))));
    assert!(ledger.drop_fleeting(1).is_some());
    assert!(ledger.drop_fleeting(1).is_none());
    ledger.start(1);
    assert!(matches!(ledger.next(8), Some(Next::Fleeting(_))));
    assert!(ledger.take_fleeting().is_some());
    assert!(!ledger.is_empty());
}

#[test]
fn a_poisonous_publication_is_found_and_given_up() {
    let mut ledger = ledger(3, QoS::AtLeastOnce);
    start(&mut ledger, 1..=3);
    assert_eq!(ledger.blame(0x90), None, "one of three: which?");
    let _ = ledger.resume(true);
    assert_eq!(resends(&mut ledger, 8), [1]);
    assert_eq!(published(ledger.puback(1, 0)), 0);
    assert_eq!(resends(&mut ledger, 8), [2]);
    let settled = ledger.blame(0x90).expect("it was alone on the wire");
    assert_eq!(settled.id, PublicationId(1));
    assert_eq!(settled.result, Err(Refusal::Denied(0x90)));
    let _ = ledger.resume(true);
    assert_eq!(resends(&mut ledger, 8), [3]);
    assert_eq!(published(ledger.puback(3, 0)), 2);
    assert!(ledger.is_empty());
    assert_eq!(ledger.suspects, 0);
}

#[test]
fn a_publication_is_not_given_up_for_what_qos0_may_have_done() {
    let mut ledger = Ledger::new(8);
    ledger.push(PublicationId(0), publication(QoS::AtMostOnce));
    ledger.push(PublicationId(1), publication(QoS::AtLeastOnce));
    ledger.push(PublicationId(2), publication(QoS::AtMostOnce));
    assert!(ledger.take_fleeting().is_some());
    ledger.fleeting_left();
    start(&mut ledger, 1..=1);
    assert_eq!(ledger.blame(0x90), None, "it may have been the other");
    let _ = ledger.resume(true);
    assert_eq!(resends(&mut ledger, 8), [1]);
    assert_eq!(ledger.next(8), None, "QoS 0 waits until it is proven");
    let settled = ledger.blame(0x90).expect("it was alone on the connection");
    assert_eq!(settled.id, PublicationId(1));
    assert!(matches!(ledger.next(8), Some(Next::Fleeting(_))));
}

#[test]
fn connections_that_finish_nothing_carry_less_and_less_until_one_does() {
    let mut ledger = ledger(20, QoS::AtLeastOnce);
    let mut carried = Vec::new();
    for _ in 0..5 {
        let _ = ledger.resume(false);
        let mut id = 0;
        while ledger.next(8).is_some() {
            id += 1;
            ledger.start(id);
        }
        carried.push(id);
    }
    assert_eq!(carried, [8, 4, 2, 1, 1]);
    assert_eq!(published(ledger.puback(1, 0)), 0);
    let _ = ledger.resume(false);
    start(&mut ledger, 1..=2);
    assert_eq!(ledger.next(8), None);
}
