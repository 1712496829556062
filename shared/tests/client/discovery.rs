//! SEARCHGW, GWINFO, ADVERTISE [MQTT-SN 1.2 §6.1].

use shared::client::{CommandError, Config, Destination, Discovery, Event, Phase, Topic};
use shared::wire::{Advertise, GwInfo, Message, QoS, ReturnCode, SearchGw, TopicId};

use crate::rig::{GATEWAY, OTHER, Rig, addr, config, connack, is_about, secs, sends, tells};

fn searching() -> Rig {
    let mut rig = Rig::new(Config {
        discovery: Some(Discovery {
            radius: 1,
            answer_others: true,
        }),
        ..Config::new("sensor-01").unwrap()
    });
    rig.node.connect(rig.now).unwrap();
    rig.is_in(Phase::Searching);
    rig
}

const fn gw_info(gw_id: u8, gw_addr: &[u8]) -> Message<'_> {
    Message::GwInfo(GwInfo { gw_id, gw_addr })
}

const fn advertise(gw_id: u8, duration_s: u16) -> Message<'static> {
    Message::Advertise(Advertise { gw_id, duration_s })
}

#[test]
fn a06_searches_after_a_random_delay_and_connects_to_who_answers() {
    let mut rig = searching();
    rig.is_still();
    assert!(rig.timeout() <= secs(5));
    let (transmit, datagram) = rig.transmit().unwrap();
    assert_eq!(transmit.to, Destination::Broadcast { radius: 1 });
    assert_eq!(datagram, [3, 1, 1]);
    rig.hears(gw_info(7, &[]));
    tells!(rig, Event::GatewayFound { gw_id: 7, .. });
    sends!(rig, Message::Connect(_));
    assert_eq!(rig.node.gateway(), Some(addr(GATEWAY)));
}

#[test]
fn a06_repeats_the_search_with_growing_gaps_then_rests() {
    let mut rig = searching();
    rig.timeout();
    for gap in [5, 10, 20, 40] {
        sends!(rig, Message::SearchGw(_));
        rig.is_still();
        is_about(rig.timeout(), secs(gap));
    }
    rig.is_in(Phase::BackingOff);
    rig.is_still();
    assert!(rig.node.is_quiet());
    is_about(rig.timeout(), secs(10));
    rig.is_in(Phase::Searching);
    assert_eq!(rig.node.stats().retries.search, 3);
}

#[test]
fn a06_another_nodes_search_takes_the_place_of_its_own() {
    let mut rig = searching();
    rig.hears_from(OTHER, Message::SearchGw(SearchGw { radius: 1 }));
    rig.is_still();
    is_about(rig.timeout(), secs(5));
    sends!(rig, Message::SearchGw(_));
}

#[test]
fn a_search_with_another_radius_does_not() {
    let mut rig = searching();
    rig.hears_from(OTHER, Message::SearchGw(SearchGw { radius: 3 }));
    assert!(rig.timeout() <= secs(5));
    sends!(rig, Message::SearchGw(_));
}

#[test]
fn a06_an_advertisement_ends_the_search() {
    let mut rig = searching();
    rig.hears(advertise(3, 900));
    tells!(rig, Event::GatewayFound { gw_id: 3, .. });
    sends!(rig, Message::Connect(_));
}

#[test]
fn an_advertisement_of_a_lost_gateway_brings_it_back_at_once() {
    let mut rig = searching();
    rig.hears(advertise(3, 900));
    tells!(rig, Event::GatewayFound { .. });
    for _ in 0..4 {
        sends!(rig, Message::Connect(_));
        rig.timeout();
    }
    tells!(rig, Event::GatewayLost);
    rig.is_in(Phase::Searching);
    rig.hears(advertise(3, 900));
    sends!(rig, Message::Connect(_));
}

#[test]
fn a_gateway_that_stopped_advertising_is_forgotten() {
    let mut rig = searching();
    rig.hears(advertise(3, 10));
    tells!(rig, Event::GatewayFound { .. });
    for _ in 0..4 {
        sends!(rig, Message::Connect(_));
        rig.timeout();
    }
    tells!(rig, Event::GatewayLost);
    for _ in 0..200 {
        match rig.transmit() {
            Some((_, datagram)) => assert_eq!(datagram, [3, 1, 1], "after 40 s of 3 x 10 s"),
            None => drop(rig.timeout()),
        }
    }
}

#[test]
fn d05_an_address_told_by_another_node_gets_its_port_from_the_gateway_itself() {
    let mut rig = searching();
    // With a length octet before it, as one reading of the text has it (D-05).
    rig.hears_from(OTHER, gw_info(7, &[4, 10, 0, 0, 1]));
    tells!(rig, Event::GatewayFound { gw_id: 7, addr: found } => {
        assert_eq!(found, addr(&[10, 0, 0, 1]));
    });
    sends!(rig, Message::Connect(_));
    rig.hears_from(&[10, 0, 0, 2, 7, 91], connack(ReturnCode::Accepted));
    rig.is_in(Phase::Connecting);
    rig.hears_from(&[10, 0, 0, 1, 7, 91], connack(ReturnCode::Accepted));
    rig.is_in(Phase::Active);
    assert_eq!(rig.node.gateway(), Some(addr(&[10, 0, 0, 1, 7, 91])));
}

#[test]
fn a06_tells_other_nodes_of_its_gateway_unless_someone_was_faster() {
    let mut rig = searching();
    rig.hears_from(&[10, 0, 0, 1, 7, 91], gw_info(7, &[]));
    sends!(rig, Message::Connect(_));
    rig.hears_from(&[10, 0, 0, 1, 7, 91], connack(ReturnCode::Accepted));
    while rig.node.poll_event().is_some() {}

    rig.hears_from(OTHER, Message::SearchGw(SearchGw { radius: 1 }));
    rig.is_still();
    assert!(rig.timeout() <= secs(6));
    assert_eq!(rig.hex(), "0702070a000001");

    rig.hears_from(OTHER, Message::SearchGw(SearchGw { radius: 1 }));
    rig.hears_from(&[10, 0, 0, 1, 7, 91], gw_info(7, &[]));
    // Nothing is due before the next ping.
    assert!(rig.timeout() > secs(200));
    sends!(rig, Message::PingReq(_));
}

#[test]
fn a_configured_gateway_is_told_of_once_its_id_is_known() {
    let mut rig = Rig::connected(Config {
        discovery: Some(Discovery {
            radius: 0,
            answer_others: true,
        }),
        ..config()
    });
    rig.hears_from(OTHER, Message::SearchGw(SearchGw { radius: 0 }));
    assert!(rig.node.poll_timeout().unwrap() > rig.now + secs(6));
    rig.is_still();
    rig.hears(advertise(9, 900));
    rig.hears_from(OTHER, Message::SearchGw(SearchGw { radius: 0 }));
    assert!(rig.timeout() <= secs(6));
    assert_eq!(rig.hex(), "04020901");
}

#[test]
fn keeps_as_many_gateways_as_there_is_room_for() {
    let mut rig = searching();
    for id in 1..=6 {
        rig.hears_from(&[id], advertise(id, 900));
    }
    assert_eq!(rig.node.stats().gateways_dropped, 2);
    for id in 1..=4 {
        tells!(rig, Event::GatewayFound { gw_id, .. } => assert_eq!(gw_id, id));
    }
}

#[test]
fn a_publication_at_qos_minus_one_needs_a_gateway_but_no_connection() {
    let mut rig = searching();
    let topic = Topic::Predefined(TopicId(5));
    let refused = rig.node.publish(topic, QoS::MinusOne, false, b"1");
    assert_eq!(refused, Err(CommandError::NoGateway));
    rig.hears(advertise(3, 900));
    tells!(rig, Event::GatewayFound { .. });
    rig.node.publish(topic, QoS::MinusOne, false, b"1").unwrap();
    sends!(rig, Message::Connect(_));
    assert_eq!(rig.hex(), "080c610005000031");
    tells!(rig, Event::Published { .. });
    assert_eq!(rig.node.queued(), 0);
}

#[test]
fn a_search_under_way_is_not_put_off_by_others() {
    let mut rig = searching();
    rig.timeout();
    sends!(rig, Message::SearchGw(_));
    let due = rig.node.poll_timeout();
    rig.hears_from(OTHER, Message::SearchGw(SearchGw { radius: 1 }));
    assert_eq!(rig.node.poll_timeout(), due);
}

fn known(rig: &Rig) -> Vec<(Option<u8>, shared::client::GatewayAddr)> {
    rig.node.known_gateways(rig.now).collect()
}

/// A node that is connected to a gateway at an IPv4 address and port.
fn sharing(answer_others: bool) -> Rig {
    let mut rig = Rig::new(Config {
        discovery: Some(Discovery {
            radius: 1,
            answer_others,
        }),
        ..Config::new("sensor-01").unwrap()
    });
    rig.node.connect(rig.now).unwrap();
    rig.hears_from(UDP, gw_info(7, &[]));
    tells!(rig, Event::GatewayFound { .. });
    sends!(rig, Message::Connect(_));
    rig.hears_from(UDP, connack(ReturnCode::Accepted));
    tells!(rig, Event::Connected { .. });
    rig
}

/// 10.0.0.1:1883
const UDP: &[u8] = &[10, 0, 0, 1, 7, 91];

#[test]
fn d05_addresses_of_gateways_come_bare_or_behind_their_length() {
    let v6: [u8; 16] = std::array::from_fn(|at| u8::try_from(at).unwrap());
    let mut v6_counted = vec![16];
    v6_counted.extend_from_slice(&v6);
    for (field, expected) in [
        (&[10, 0, 0, 1][..], &[10, 0, 0, 1][..]),
        (&[4, 10, 0, 0, 1], &[10, 0, 0, 1]),
        (&v6, &v6),
        (&v6_counted, &v6),
        // A radio's own kind of address.
        (&[0x12, 0x34], &[0x12, 0x34]),
    ] {
        let mut rig = searching();
        rig.hears_from(OTHER, gw_info(7, field));
        assert_eq!(known(&rig), [(Some(7), addr(expected))]);
    }
    let mut rig = searching();
    rig.hears_from(OTHER, gw_info(7, &[1; 19]));
    assert_eq!(known(&rig), []);
    assert_eq!(rig.node.stats().bad.field, 1);
}

#[test]
fn a06_a_gateway_heard_of_in_two_ways_is_kept_once() {
    let mut rig = searching();
    rig.hears_from(UDP, advertise(7, 900));
    rig.hears_from(OTHER, gw_info(7, &[10, 0, 0, 1]));
    assert_eq!(known(&rig), [(Some(7), addr(UDP))]);

    let mut rig = searching();
    rig.hears_from(OTHER, gw_info(7, &[10, 0, 0, 1]));
    rig.hears_from(UDP, advertise(7, 900));
    assert_eq!(known(&rig), [(Some(7), addr(UDP))]);
    // The same host with another port is another gateway.
    rig.hears_from(&[10, 0, 0, 1, 7, 92], advertise(8, 900));
    assert_eq!(known(&rig).len(), 2);
}

#[test]
fn a06_a_gateway_is_dropped_after_n_adv_missed_advertisements() {
    let mut rig = searching();
    let heard = rig.now;
    rig.hears(advertise(3, 100));
    // The third may come a little late.
    rig.now = heard + secs(349);
    assert_eq!(known(&rig), [(Some(3), addr(GATEWAY))]);
    rig.now = heard + secs(350);
    assert_eq!(known(&rig), []);
    rig.hears(advertise(3, 100));
    rig.now += secs(349);
    assert_eq!(known(&rig).len(), 1);
}

#[test]
fn a06_what_others_say_does_not_keep_a_gateway_that_advertises() {
    let mut rig = searching();
    rig.hears_from(UDP, advertise(7, 100));
    rig.now += secs(300);
    rig.hears_from(OTHER, gw_info(7, &[10, 0, 0, 1]));
    rig.hears_from(UDP, gw_info(7, &[]));
    rig.now += secs(50);
    assert_eq!(known(&rig), []);
    // Known by GWINFO only, it stays for three of the shortest periods.
    rig.hears_from(OTHER, gw_info(7, &[10, 0, 0, 1]));
    rig.now += secs(2699);
    assert_eq!(known(&rig).len(), 1);
    rig.now += secs(1);
    assert_eq!(known(&rig), []);
}

#[test]
fn a06_gateways_that_have_gone_make_room_for_others() {
    let mut rig = searching();
    for id in 1..=4 {
        rig.hears_from(&[id], advertise(id, 10));
    }
    rig.now += secs(35);
    rig.hears_from(&[5], advertise(5, 900));
    assert_eq!(known(&rig), [(Some(5), addr(&[5]))]);
    assert_eq!(rig.node.stats().gateways_dropped, 0);
}

#[test]
fn a06_what_others_say_does_not_bring_a_silent_gateway_back() {
    let mut rig = searching();
    rig.hears_from(UDP, advertise(7, 900));
    tells!(rig, Event::GatewayFound { .. });
    for _ in 0..4 {
        sends!(rig, Message::Connect(_));
        rig.timeout();
    }
    tells!(rig, Event::GatewayLost);
    rig.hears_from(OTHER, gw_info(7, &[10, 0, 0, 1]));
    rig.is_in(Phase::Searching);
    rig.is_still();
    rig.hears_from(UDP, gw_info(7, &[]));
    sends!(rig, Message::Connect(_));
}

#[test]
fn a06_another_gateway_is_tried_first_then_the_old_one() {
    let mut rig = searching();
    rig.hears(advertise(1, 900));
    tells!(rig, Event::GatewayFound { .. });
    sends!(rig, Message::Connect(_));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(rig, Event::Connected { .. });
    // Two are known, one is connected to.
    rig.hears_from(OTHER, advertise(2, 900));
    tells!(rig, Event::GatewayFound { gw_id: 2, .. });
    rig.is_still();
    for next in [OTHER, GATEWAY] {
        while rig.node.phase() == Phase::Active || rig.node.gateway() != Some(addr(next)) {
            let _ = rig.transmit();
            rig.timeout();
        }
        tells!(rig, Event::GatewayLost);
        rig.hears_from(next, advertise(9, 900));
        let (transmit, _) = rig.transmit().unwrap();
        assert_eq!(transmit.to, Destination::Gateway(addr(next)));
        rig.hears_from(next, connack(ReturnCode::Accepted));
        tells!(rig, Event::Connected { .. });
        rig.hears_from(next, Message::PingResp);
    }
}

#[test]
fn a06_gwinfo_goes_as_far_as_the_question() {
    let mut rig = sharing(true);
    rig.hears_from(OTHER, Message::SearchGw(SearchGw { radius: 3 }));
    rig.timeout();
    let (transmit, datagram) = rig.transmit().unwrap();
    assert_eq!(transmit.to, Destination::Broadcast { radius: 3 });
    assert_eq!(datagram, [7, 2, 7, 10, 0, 0, 1]);
}

#[test]
fn a06_other_nodes_are_answered_by_a_connected_node_that_was_told_to() {
    let search = Message::SearchGw(SearchGw { radius: 1 });
    let mut rig = sharing(false);
    rig.hears_from(OTHER, search);
    assert!(rig.timeout() > secs(200));

    // A sleeping node leaves that to others, even if it has planned it.
    let mut rig = sharing(true);
    rig.hears_from(OTHER, search);
    rig.node.sleep(3600).unwrap();
    sends!(rig, Message::Disconnect(_));
    rig.hears_from(UDP, crate::rig::disconnect());
    tells!(rig, Event::Asleep { .. });
    rig.hears_from(OTHER, search);
    assert!(rig.timeout() > secs(2000));
    sends!(rig, Message::PingReq(_));
}

#[test]
fn a06_a_gateway_without_an_address_cannot_be_told_of() {
    let mut rig = Rig::new(Config {
        discovery: Some(Discovery {
            radius: 1,
            answer_others: true,
        }),
        ..Config::new("sensor-01").unwrap()
    });
    rig.node.connect(rig.now).unwrap();
    rig.hears_from(&[], gw_info(7, &[]));
    tells!(rig, Event::GatewayFound { .. });
    sends!(rig, Message::Connect(_));
    rig.hears_from(&[], connack(ReturnCode::Accepted));
    tells!(rig, Event::Connected { .. });
    rig.hears_from(&[], Message::SearchGw(SearchGw { radius: 1 }));
    // It would read as if this node were the gateway.
    assert!(rig.timeout() > secs(200));
}
