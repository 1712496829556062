//! CONNECT, the will handshake, DISCONNECT, and a gateway that falls silent.

use heapless::{String, Vec};
use shared::client::{
    CommandError, Config, ConfigError, Event, Phase, Session, TOPIC_NAME_LEN_MAX, Topic, Will,
};
use shared::time::Duration;
use shared::wire::{Disconnect, Message, PingReq, QoS, ReturnCode};

use crate::rig::{
    GATEWAY, OTHER, Rig, addr, config, connack, disconnect, is_about, puback, secs, sends, tells,
};

fn will() -> Will {
    Will {
        topic: String::try_from("s/lwt").unwrap(),
        qos: QoS::AtLeastOnce,
        retain: true,
        message: Vec::from_slice(b"offline").unwrap(),
    }
}

fn two_gateways() -> Config {
    config().with_gateway(addr(OTHER)).unwrap()
}

#[test]
fn a07_connects_with_a_will_as_in_the_worked_exchange() {
    let mut rig = Rig::new(Config {
        clean: true,
        keep_alive_s: 60,
        will: Some(will()),
        ..config()
    });
    rig.node.connect(rig.now).unwrap();
    assert_eq!(rig.hex(), "0f040c01003c73656e736f722d3031");
    rig.hears_hex("0206");
    assert_eq!(rig.hex(), "080730732f6c7774");
    rig.hears_hex("0208");
    assert_eq!(rig.hex(), "09096f66666c696e65");
    rig.is_in(Phase::Connecting);
    rig.hears_hex("030500");
    tells!(
        rig,
        Event::Connected {
            session: Session::Renewed
        }
    );
    rig.is_in(Phase::Active);
    rig.is_still();
}

#[test]
fn d11_answers_will_requests_each_time_they_are_asked() {
    let mut rig = Rig::new(Config {
        will: Some(will()),
        ..config()
    });
    rig.node.connect(rig.now).unwrap();
    sends!(rig, Message::Connect(_));
    for _ in 0..3 {
        rig.hears(Message::WillTopicReq);
        sends!(rig, Message::WillTopic(Some(_)));
    }
    for _ in 0..3 {
        rig.hears(Message::WillMsgReq);
        sends!(rig, Message::WillMsg(b"offline"));
    }
    rig.hears(Message::WillTopicReq);
    sends!(rig, Message::WillTopic(Some(_)));
    rig.is_still();
}

#[test]
fn a07_a_gateway_that_asks_for_a_will_there_is_not_gets_an_empty_one() {
    let mut rig = Rig::new(config());
    rig.node.connect(rig.now).unwrap();
    sends!(rig, Message::Connect(_));
    rig.hears(Message::WillTopicReq);
    assert_eq!(rig.hex(), "0207");
}

#[test]
fn a11_repeats_connect_then_tries_the_other_gateway_then_the_old_one() {
    let mut rig = Rig::new(two_gateways());
    rig.node.connect(rig.now).unwrap();
    for gateway in [GATEWAY, OTHER] {
        for _ in 0..4 {
            let (transmit, datagram) = rig.transmit().unwrap();
            assert!(matches!(Message::parse(&datagram), Ok(Message::Connect(_))));
            assert_eq!(
                transmit.to,
                shared::client::Destination::Gateway(addr(gateway))
            );
            rig.is_still();
            is_about(rig.timeout(), secs(10));
        }
        tells!(rig, Event::GatewayLost);
    }
    rig.is_in(Phase::BackingOff);
    assert!(rig.node.is_quiet());
    is_about(rig.timeout(), secs(10));
    rig.is_in(Phase::Connecting);
    assert_eq!(rig.node.gateway(), Some(addr(GATEWAY)));
    assert_eq!(rig.node.stats().retries.connect, 6);
}

#[test]
fn a11_rests_longer_after_each_round_in_vain_up_to_t_wait() {
    let mut rig = Rig::new(config());
    rig.node.connect(rig.now).unwrap();
    for expected in [10, 20, 40, 80, 160, 300, 300] {
        for _ in 0..4 {
            sends!(rig, Message::Connect(_));
            rig.timeout();
        }
        tells!(rig, Event::GatewayLost);
        rig.is_in(Phase::BackingOff);
        is_about(rig.timeout(), secs(expected));
    }
}

#[test]
fn d42_a_congested_gateway_is_left_alone_for_t_wait() {
    let mut rig = Rig::new(two_gateways());
    rig.node.connect(rig.now).unwrap();
    for gateway in [GATEWAY, OTHER] {
        sends!(rig, Message::Connect(_));
        rig.hears_from(gateway, connack(ReturnCode::Congestion));
        tells!(
            rig,
            Event::Refused {
                code: ReturnCode::Congestion
            }
        );
    }
    rig.is_in(Phase::BackingOff);
    rig.is_still();
    is_about(rig.timeout(), secs(300));
    sends!(rig, Message::Connect(_));
}

#[test]
fn d04_a_refusal_for_good_is_told_and_asked_again_after_an_hour() {
    for code in [ReturnCode::NotSupported, ReturnCode::Reserved(0x80)] {
        let mut rig = Rig::new(config());
        rig.node.connect(rig.now).unwrap();
        sends!(rig, Message::Connect(_));
        rig.hears(connack(code));
        tells!(rig, Event::Refused { code: told } => assert_eq!(told, code));
        is_about(rig.timeout(), secs(3600));
        sends!(rig, Message::Connect(_));
    }
}

#[test]
fn d12_only_the_connection_that_was_asked_for_is_clean() {
    let mut rig = Rig::new(Config {
        clean: true,
        ..config()
    });
    rig.node.connect(rig.now).unwrap();
    sends!(rig, Message::Connect(connect) => assert!(connect.clean));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(rig, Event::Connected { .. });
    rig.hears(disconnect());
    tells!(rig, Event::GatewayLost);
    rig.timeout();
    sends!(rig, Message::Connect(connect) => assert!(!connect.clean));
}

#[test]
fn d19_a_disconnect_while_active_means_connect_again_after_a_random_delay() {
    let mut rig = Rig::connected(config());
    rig.hears(disconnect());
    tells!(rig, Event::GatewayLost);
    rig.is_in(Phase::BackingOff);
    rig.is_still();
    assert!(rig.timeout() <= secs(10));
    sends!(rig, Message::Connect(_));
    rig.hears(connack(ReturnCode::Accepted));
    tells!(
        rig,
        Event::Connected {
            session: Session::Renewed
        }
    );
}

#[test]
fn d36_a_gateway_that_only_disconnects_is_asked_less_and_less_often() {
    let mut rig = Rig::connected(config());
    let mut waits = std::vec::Vec::new();
    for _ in 0..7 {
        rig.hears(disconnect());
        tells!(rig, Event::GatewayLost);
        waits.push(rig.timeout());
        sends!(rig, Message::Connect(_));
        rig.hears(connack(ReturnCode::Accepted));
        tells!(rig, Event::Connected { .. });
    }
    assert!(waits[0] <= secs(10), "{waits:?}");
    is_about(waits[6], secs(300));
}

#[test]
fn a12_ends_the_connection_when_told_to() {
    let mut rig = Rig::connected(config());
    rig.node.disconnect().unwrap();
    assert_eq!(rig.hex(), "0218");
    rig.is_in(Phase::Disconnecting);
    assert_eq!(rig.node.disconnect(), Err(CommandError::Busy));
    rig.hears(disconnect());
    tells!(rig, Event::Disconnected { confirmed: true });
    rig.is_in(Phase::Off);
    assert!(rig.node.is_quiet());
    assert_eq!(rig.node.poll_timeout(), None);
    assert_eq!(rig.node.disconnect(), Err(CommandError::NotConnected));
}

#[test]
fn a12_ends_the_connection_even_if_no_one_answers() {
    let mut rig = Rig::connected(config());
    rig.node.disconnect().unwrap();
    for _ in 0..4 {
        sends!(rig, Message::Disconnect(Disconnect { duration_s: None }));
        rig.timeout();
    }
    tells!(rig, Event::Disconnected { confirmed: false });
    rig.is_in(Phase::Off);
}

#[test]
fn d17_pings_at_four_fifths_of_the_keep_alive_time() {
    let mut rig = Rig::connected(config());
    assert_eq!(rig.timeout(), secs(240));
    sends!(rig, Message::PingReq(PingReq { client_id: &[] }));
    rig.hears(Message::PingResp);
    rig.is_still();
    assert_eq!(rig.timeout(), secs(240));
    assert_eq!(rig.hex(), "0216");
}

#[test]
fn a11_pings_even_if_it_sends_qos_0_all_the_time() {
    let mut rig = Rig::connected(config());
    let started = rig.now;
    for _ in 0..20 {
        rig.now += secs(60);
        rig.node.handle_timeout(rig.now);
        if let Some((_, datagram)) = rig.transmit() {
            assert_eq!(datagram, [0x02, 0x16]);
            assert_eq!(rig.now.since(started), secs(240));
            return;
        }
        let topic = Topic::Predefined(shared::wire::TopicId(1));
        rig.node
            .publish(topic, QoS::AtMostOnce, false, b"1")
            .unwrap();
        sends!(rig, Message::Publish(_));
        tells!(rig, Event::Published { .. });
    }
    panic!("the node never finds out that its gateway is gone");
}

#[test]
fn a11_a_silent_gateway_is_lost_after_n_retry_pings() {
    let mut rig = Rig::connected(two_gateways());
    rig.timeout();
    for _ in 0..4 {
        sends!(rig, Message::PingReq(_));
        rig.is_still();
        is_about(rig.timeout(), secs(10));
    }
    tells!(rig, Event::GatewayLost);
    rig.is_in(Phase::Connecting);
    assert_eq!(rig.node.gateway(), Some(addr(OTHER)));
    assert_eq!(rig.node.stats().retries.ping, 3);
}

#[test]
fn d13_without_a_keep_alive_time_there_are_no_pings() {
    let rig = Rig::connected(Config {
        keep_alive_s: 0,
        ..config()
    });
    assert_eq!(rig.node.poll_timeout(), None);
}

#[test]
fn a11_answers_a_ping_from_its_own_gateway_only() {
    let mut rig = Rig::connected(config());
    rig.hears_from(OTHER, Message::PingReq(PingReq { client_id: &[] }));
    rig.is_still();
    assert_eq!(rig.node.stats().foreign, 1);
    rig.hears(Message::PingReq(PingReq { client_id: &[] }));
    sends!(rig, Message::PingResp);
}

#[test]
fn a_strangers_connack_connects_nothing() {
    let mut rig = Rig::new(config());
    rig.node.connect(rig.now).unwrap();
    rig.hears(connack(ReturnCode::Accepted));
    rig.is_in(Phase::Connecting);
    sends!(rig, Message::Connect(_));
    rig.hears_from(OTHER, connack(ReturnCode::Accepted));
    rig.is_in(Phase::Connecting);
    assert_eq!(rig.node.connect(rig.now), Err(CommandError::Busy));
}

#[test]
fn late_answers_are_counted_and_change_nothing() {
    let mut rig = Rig::connected(config());
    rig.hears(connack(ReturnCode::NotSupported));
    rig.hears(Message::WillTopicReq);
    rig.hears(puback(1, shared::wire::MsgId(9), ReturnCode::Accepted));
    rig.hears(Message::PubComp(shared::wire::MsgId(9)));
    rig.hears(Message::UnsubAck(shared::wire::MsgId(9)));
    rig.is_still();
    rig.is_in(Phase::Active);
    assert_eq!(rig.node.stats().unexpected, 5);
}

#[test]
fn d14_a_configuration_says_what_is_wrong_with_it() {
    let cases: [(Config, ConfigError); 14] = [
        (
            Config::new("")
                .unwrap()
                .with_gateway(addr(GATEWAY))
                .unwrap(),
            ConfigError::ClientId,
        ),
        (
            Config::new("a\n")
                .unwrap()
                .with_gateway(addr(GATEWAY))
                .unwrap(),
            ConfigError::ClientId,
        ),
        (Config::new("a").unwrap(), ConfigError::NoGateway),
        (
            Config {
                mtu: 14,
                ..config()
            },
            ConfigError::Mtu,
        ),
        (
            Config {
                wakes_until_lost: 0,
                ..config()
            },
            ConfigError::ZeroCount,
        ),
        (
            Config {
                will: Some(Will::default()),
                ..config()
            },
            ConfigError::Will,
        ),
        (
            Config {
                will: Some(will()),
                mtu: 15,
                ..config()
            },
            ConfigError::Mtu,
        ),
        (
            with_clock(|link| link.t_retry = Duration::ZERO),
            ConfigError::ZeroTime,
        ),
        (
            with_clock(|link| link.jitter_percent = 51),
            ConfigError::Jitter,
        ),
        (with_wake(|wake| wake.from_percent = 49), ConfigError::Wake),
        (with_wake(|wake| wake.to_percent = 91), ConfigError::Wake),
        (with_wake(|wake| wake.to_percent = 79), ConfigError::Wake),
        (
            with_wake(|wake| wake.messages_max = Some(0)),
            ConfigError::ZeroCount,
        ),
        (
            with_wake(|wake| wake.time_max = Some(Duration::ZERO)),
            ConfigError::ZeroTime,
        ),
    ];
    for (place, (config, expected)) in cases.into_iter().enumerate() {
        let got = crate::rig::Node::new(config, shared::rng::Rng::new(1)).err();
        let expected = if place == 6 { None } else { Some(expected) };
        assert_eq!(got, expected, "case {place}");
    }
    assert_eq!(
        Config::new("a-name-of-24-characters-").err(),
        Some(ConfigError::ClientId)
    );
    let long = String::<TOPIC_NAME_LEN_MAX>::try_from("a/very/long/topic").unwrap();
    let long = Will {
        topic: long,
        ..will()
    };
    let config = Config {
        will: Some(long),
        mtu: 16,
        ..config()
    };
    let got = crate::rig::Node::new(config, shared::rng::Rng::new(1)).err();
    assert_eq!(got, Some(ConfigError::Mtu));
}

#[test]
fn a_typical_node_fits_the_memory_the_documentation_names() {
    let size = size_of::<shared::client::Client<8, 4, 64>>();
    assert!((2400..=2720).contains(&size), "{size} octets");
}

fn with_wake(change: impl FnOnce(&mut shared::client::WakePlan)) -> Config {
    let mut config = config();
    change(&mut config.wake);
    config
}

fn with_clock(change: impl FnOnce(&mut shared::client::LinkClock)) -> Config {
    let mut config = config();
    change(&mut config.link);
    config
}

#[test]
fn a_gateway_that_serves_the_node_is_come_back_to_quickly_each_time() {
    let mut rig = Rig::connected(config());
    for _ in 0..7 {
        rig.hears(Message::PingResp);
        rig.hears(disconnect());
        tells!(rig, Event::GatewayLost);
        assert!(rig.timeout() <= secs(11));
        sends!(rig, Message::Connect(_));
        rig.hears(connack(ReturnCode::Accepted));
        tells!(rig, Event::Connected { .. });
    }
}

#[test]
fn a_gateway_lost_once_is_tried_again_when_the_next_is_lost() {
    let mut rig = Rig::connected(two_gateways());
    for gateway in [OTHER, GATEWAY, OTHER, GATEWAY] {
        rig.timeout();
        for _ in 0..4 {
            sends!(rig, Message::PingReq(_));
            rig.timeout();
        }
        tells!(rig, Event::GatewayLost);
        sends!(rig, Message::Connect(_));
        rig.hears_from(gateway, connack(ReturnCode::Accepted));
        tells!(rig, Event::Connected { .. });
        rig.hears_from(gateway, Message::PingResp);
    }
}

#[test]
fn a17_a_rest_after_code_01_is_never_shorter_than_t_wait() {
    let mut waits = std::vec::Vec::new();
    for seed in 0..50 {
        let mut rig = Rig::seeded(config(), seed);
        rig.node.connect(rig.now).unwrap();
        sends!(rig, Message::Connect(_));
        rig.hears(connack(ReturnCode::Congestion));
        waits.push(rig.timeout());

        let mut rig = Rig::seeded(config(), seed);
        rig.connects();
        let topic = Topic::Predefined(shared::wire::TopicId(5));
        rig.node
            .publish(topic, QoS::AtLeastOnce, false, b"1")
            .unwrap();
        let id = sends!(rig, Message::Publish(publish) => publish.msg_id);
        rig.hears(puback(5, id, ReturnCode::Congestion));
        tells!(rig, Event::Held { until, .. } => waits.push(until.since(rig.now)));
    }
    let (shortest, longest) = (waits.iter().min().unwrap(), waits.iter().max().unwrap());
    assert!(
        *shortest >= secs(300) && *shortest < secs(310),
        "{shortest}"
    );
    assert!(*longest <= secs(360) && *longest > secs(350), "{longest}");
}

#[test]
fn a11_what_does_not_come_from_its_gateway_is_not_for_it() {
    let mut rig = Rig::connected(config());
    let strangers = [
        disconnect(),
        connack(ReturnCode::Congestion),
        Message::WillTopicReq,
        crate::rig::register(5, 1, "cmd/a"),
        crate::rig::publish(QoS::AtLeastOnce, 5, 1, b"on"),
        Message::PubRel(shared::wire::MsgId(1)),
        Message::PingReq(PingReq { client_id: &[] }),
        Message::PingResp,
    ];
    for message in strangers {
        rig.hears_from(OTHER, message);
        rig.is_still();
    }
    rig.is_in(Phase::Active);
    assert_eq!(rig.node.stats().foreign, 8);
}

#[test]
fn d10_connect_is_repeated_unchanged() {
    let mut rig = Rig::new(Config {
        clean: true,
        will: Some(will()),
        ..config()
    });
    rig.node.connect(rig.now).unwrap();
    let first = rig.hex();
    for _ in 0..3 {
        rig.timeout();
        assert_eq!(rig.hex(), first);
    }
}
