use shared::wire::{Forward, NodeId};

use super::*;

pub(super) fn wrapped(node_id: &[u8], radius: u8, message: &Message<'_>) -> Vec<u8> {
    let mut inner = vec![0; message.encoded_len()];
    message.emit(&mut inner).unwrap();
    let forward = Message::Forward(Forward {
        radius,
        node_id,
        inner: &inner,
    });
    let mut datagram = vec![0; forward.encoded_len()];
    forward.emit(&mut datagram).unwrap();
    datagram
}

#[test]
fn d28_strangers_are_told_once_and_reach_nobody() {
    let mut script = Script::new();
    let message = publish(TopicRef::Normal(TopicId(5)), "x", QoS::AtLeastOnce, 1);
    for _ in 0..100 {
        script.says(NODE, &message);
    }
    script.hears(NODE, &disconnect(None));
    script.hears_nothing();
    script.requests_nothing();
    assert_eq!(script.engine.sessions_len(), 0);
    script.wait(Duration::from_secs(5));
    script.says(NODE, &message);
    script.hears(NODE, &disconnect(None));
}

#[test]
fn five_thousand_strangers_get_a_bounded_number_of_answers() {
    let mut script = Script::new();
    for port in 1..=5000 {
        script.says(node(port), &ping("nobody"));
        script.says(node(port), &disconnect(None));
    }
    assert!(script.sent.len() <= 100, "{}", script.sent.len());
    script.requests_nothing();
}

#[test]
fn malformed_and_misdirected_datagrams_are_dropped_without_an_answer() {
    let mut script = Script::new();
    script.connected(NODE, "a", true);
    script.raw(NODE, &[]);
    script.raw(NODE, &[0x02, 0x03]);
    script.says(NODE, &connack(ACCEPTED));
    script.says(NODE, &Message::PingResp);
    script.hears_nothing();
    assert_eq!(script.drops().len(), 4);
    script.says(NODE, &ping(""));
    script.hears(NODE, &Message::PingResp);
}

#[test]
fn d35_encapsulated_messages_need_a_forwarder_that_is_allowed() {
    let mut script = Script::new();
    let datagram = wrapped(&[0x2a], 0, &connect("a", true, false));
    script.raw(NODE, &datagram);
    script.hears_nothing();
    assert_eq!(script.drops(), [DropReason::NotAForwarder]);

    let mut script = Script::with(|settings| settings.links[0].forwarders = Forwarders::Anyone);
    script.raw(NODE, &wrapped(&[1], 0, &connect("a", true, false)));
    script.raw(NODE, &wrapped(&[2], 0, &connect("b", true, false)));
    for id in [1, 2] {
        let (binding, datagram) = script.sent.pop_front().unwrap();
        assert_eq!(binding.node_id, NodeId::new(&[id]));
        assert_eq!(datagram, wrapped(&[id], 0, &connack(ACCEPTED)));
    }
    assert_eq!(script.engine.sessions_len(), 2);
    let nested = wrapped(
        &[1],
        0,
        &Message::Forward(Forward {
            radius: 0,
            node_id: &[2],
            inner: &[2, 22],
        }),
    );
    script.raw(NODE, &nested);
    script.raw(NODE, &wrapped(&[0; 19], 0, &ping("")));
    assert_eq!(
        script.drops(),
        [DropReason::NotAForwarder, DropReason::NotAForwarder]
    );
    script.hears_nothing();
}
