use super::*;

fn filters(packet: Option<Packet>) -> Vec<String> {
    match packet {
        Some(Packet::Subscribe(batch)) => {
            batch.iter().map(|asked| asked.filter.to_string()).collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn subscriptions_are_made_again_when_the_session_is_forgotten() {
    let mut subscriptions = Subscriptions::default();
    for filter in ["b", "a"] {
        subscriptions.subscribe(filter.into(), QoS::AtLeastOnce);
    }
    assert_eq!(filters(subscriptions.next(1)), ["b", "a"]);
    assert_eq!(subscriptions.suback(1).len(), 2);
    assert!(subscriptions.resume(true).is_empty());
    assert!(subscriptions.is_settled());
    assert!(subscriptions.resume(false).is_empty());
    let Some(Packet::Subscribe(again)) = subscriptions.next(2) else {
        panic!("nothing to tell");
    };
    assert!(
        again
            .iter()
            .all(|asked| !asked.retained && asked.answers == 0)
    );
    assert_eq!(again.len(), 2);
}

#[test]
fn what_was_on_its_way_is_told_again_with_its_answers() {
    let mut subscriptions = Subscriptions::default();
    subscriptions.subscribe("a".into(), QoS::AtLeastOnce);
    let _ = subscriptions.next(1);
    subscriptions.subscribe("a".into(), QoS::ExactlyOnce);
    assert!(subscriptions.resume(true).is_empty());
    let Some(Packet::Subscribe(again)) = subscriptions.next(1) else {
        panic!("nothing to tell");
    };
    assert_eq!((again[0].answers, again[0].qos), (2, QoS::ExactlyOnce));
}

#[test]
fn an_unsubscription_is_told_until_it_is_answered_or_the_session_forgotten() {
    let mut subscriptions = Subscriptions::default();
    subscriptions.subscribe("a".into(), QoS::AtLeastOnce);
    let _ = subscriptions.next(1);
    let _ = subscriptions.suback(1);
    subscriptions.subscribe("a".into(), QoS::ExactlyOnce);
    assert_eq!(subscriptions.unsubscribe("a".into()), 1, "not told of");
    subscriptions.subscribe("a".into(), QoS::AtLeastOnce);
    assert_eq!(subscriptions.unsubscribe("a".into()), 1, "nor of this");
    for _ in 0..2 {
        assert_eq!(subscriptions.next(1), Some(Packet::Unsubscribe("a".into())));
        assert_eq!(subscriptions.next(2), None);
        assert!(subscriptions.resume(true).is_empty());
    }
    assert!(subscriptions.resume(false).is_empty());
    assert!(subscriptions.is_settled(), "the broker knows of nothing");
}

#[test]
fn what_the_broker_never_heard_of_leaves_nothing_behind() {
    let mut subscriptions = Subscriptions::default();
    for n in 0..1000 {
        let filter: Arc<str> = format!("f/{n}").into();
        subscriptions.subscribe(filter.clone(), QoS::AtLeastOnce);
        assert_eq!(subscriptions.unsubscribe(filter.clone()), 1);
        assert_eq!(subscriptions.unsubscribe(filter), 0);
    }
    assert!(subscriptions.is_settled());
    assert!(subscriptions.changes.is_empty());
}

#[test]
fn a_request_given_up_on_its_way_is_named() {
    let mut subscriptions = Subscriptions::default();
    subscriptions.subscribe("a".into(), QoS::AtLeastOnce);
    let _ = subscriptions.next(1);
    assert_eq!(subscriptions.unsubscribe("a".into()), 0, "SUBACK may come");
    assert_eq!(subscriptions.resume(true), ["a".into()]);
    assert_eq!(subscriptions.next(1), Some(Packet::Unsubscribe("a".into())));
}

#[test]
fn what_is_wanted_by_now_is_told_again_not_what_was_asked_first() {
    let mut subscriptions = Subscriptions::default();
    subscriptions.subscribe("a".into(), QoS::AtLeastOnce);
    let _ = subscriptions.next(1);
    let _ = subscriptions.unsubscribe("a".into());
    let _ = subscriptions.next(2);
    assert_eq!(subscriptions.resume(true), ["a".into()]);
    assert_eq!(subscriptions.next(1), Some(Packet::Unsubscribe("a".into())));
    assert_eq!(subscriptions.next(2), None);
    assert!(subscriptions.resume(true).is_empty(), "answered before");

    let _ = subscriptions.next(1);
    subscriptions.subscribe("a".into(), QoS::AtLeastOnce);
    let _ = subscriptions.next(2);
    assert!(subscriptions.resume(true).is_empty(), "still wanted");
    let Some(Packet::Subscribe(again)) = subscriptions.next(1) else {
        panic!("nothing to tell");
    };
    assert_eq!((again[0].answers, again[0].retained), (1, true));
    assert_eq!(subscriptions.next(2), None);
}

#[test]
fn a_granted_subscription_that_is_refused_later_is_tried_again() {
    let mut subscriptions = Subscriptions::default();
    let filter: Arc<str> = "a".into();
    subscriptions.subscribe(filter.clone(), QoS::AtLeastOnce);
    let _ = subscriptions.next(1);
    let _ = subscriptions.suback(1);
    subscriptions.granted(&filter);
    let _ = subscriptions.resume(false);
    for id in 1..=3 {
        assert_eq!(filters(subscriptions.next(id)), ["a"]);
        let _ = subscriptions.suback(id);
        subscriptions.refused(&filter, true);
        assert!(!subscriptions.has_next() && subscriptions.has_refused());
        subscriptions.retry();
    }
    let _ = subscriptions.next(4);
    let _ = subscriptions.suback(4);
    subscriptions.refused(&filter, false);
    assert!(
        !subscriptions.has_refused(),
        "nothing will change by itself"
    );
    let _ = subscriptions.resume(false);
    assert_eq!(filters(subscriptions.next(5)), ["a"], "still wanted");

    let _ = subscriptions.suback(5);
    subscriptions.refused(&filter, true);
    let _ = subscriptions.unsubscribe(filter);
    assert!(!subscriptions.has_refused());
}

#[test]
fn a_subscription_refused_at_first_is_the_engines_to_ask_for_again() {
    let mut subscriptions = Subscriptions::default();
    let filter: Arc<str> = "a".into();
    subscriptions.subscribe(filter.clone(), QoS::AtLeastOnce);
    let _ = subscriptions.next(1);
    let _ = subscriptions.suback(1);
    subscriptions.refused(&filter, true);
    assert!(!subscriptions.has_refused());
    let _ = subscriptions.resume(false);
    assert!(!subscriptions.has_next());
}

#[test]
fn a_batch_is_bounded() {
    let mut subscriptions = Subscriptions::default();
    for n in 0..40 {
        subscriptions.subscribe(format!("f/{n}").into(), QoS::AtMostOnce);
    }
    assert_eq!(filters(subscriptions.next(1)).len(), BATCH_LEN);
    assert_eq!(filters(subscriptions.next(2)).len(), 8);
    let long: Arc<str> = "x".repeat(4000).into();
    subscriptions.subscribe(long, QoS::AtMostOnce);
    assert_eq!(filters(subscriptions.next(3)).len(), 1, "alone it is sent");
}
