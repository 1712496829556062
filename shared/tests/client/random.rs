//! Whatever comes, whenever: the machine neither panics nor spins nor talks without end.
//!
//! `SEED=… cargo test -p shared --test client random` repeats one run.

use shared::client::{Client, Config, Discovery, GatewayAddr, Phase, Topic, WakePlan};
use shared::rng::Rng;
use shared::time::{Duration, Instant};
use shared::wire::{
    Advertise, Disconnect, GwInfo, Message, MsgId, PingReq, Publish, QoS, ReturnCode, SearchGw,
    ShortName, TopicId, TopicRef,
};

use crate::rig::{ack, addr, config, connack, disconnect, puback, regack, register, secs, suback};

type Small = Client<4, 3, 32>;

/// A machine in the hands of chance.
struct Chance {
    rng: Rng,
    node: Small,
    now: Instant,
    sent: u64,
    last: Vec<u8>,
}

impl Chance {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let config = random_config(&mut rng);
        Self {
            node: Small::new(config, rng.split()).unwrap(),
            rng,
            now: Instant::ZERO,
            sent: 0,
            last: Vec::new(),
        }
    }

    fn step(&mut self) {
        match self.rng.below(10) {
            0 => self.hear_noise(),
            1..=2 => self.hear_message(),
            3..=4 => self.hear_answer(),
            5..=6 => self.command(),
            7 => {
                self.now += self.rng.duration_below(secs(30));
                self.node.handle_timeout(self.now);
            }
            _ => self.pass_time(),
        }
        self.drain();
    }

    /// Goes to the next deadline, which must lie ahead: the machine was drained.
    fn pass_time(&mut self) {
        if let Some(at) = self.node.poll_timeout() {
            self.now = self.now.max(at);
            self.node.handle_timeout(self.now);
        }
    }

    fn drain(&mut self) {
        let mut buf = [0; 128];
        let mut rounds = 0;
        loop {
            rounds += 1;
            assert!(rounds < 100, "the machine cannot be drained");
            if let Some(transmit) = self.node.poll_transmit(self.now, &mut buf) {
                let datagram = &buf[..transmit.len];
                Message::parse(datagram).expect("the machine sends messages only");
                self.sent += 1;
                self.last = datagram.to_vec();
            } else if self.rng.chance_ppm(100_000) || self.node.poll_event().is_none() {
                break;
            }
        }
        // A driver may come late; what has passed is handled at once and does not come again.
        self.node.handle_timeout(self.now);
        while self.node.poll_transmit(self.now, &mut buf).is_some() {
            self.sent += 1;
        }
        if let Some(next) = self.node.poll_timeout() {
            assert!(next > self.now, "{next} is due again at {}", self.now);
        }
    }

    fn from(&mut self) -> GatewayAddr {
        addr(&[u8::try_from(self.rng.below(3)).unwrap()])
    }

    fn hear_noise(&mut self) {
        let mut datagram = if self.rng.chance_ppm(500_000) {
            self.last.clone()
        } else {
            let len = self.rng.below(40);
            (0..len).map(|_| self.octet()).collect()
        };
        if !datagram.is_empty() && self.rng.chance_ppm(800_000) {
            let at = usize::try_from(self.rng.below(datagram.len() as u64)).unwrap();
            datagram[at] = self.octet();
        }
        let from = self.from();
        self.node.handle_datagram(self.now, from, &datagram);
    }

    fn octet(&mut self) -> u8 {
        u8::try_from(self.rng.below(256)).unwrap()
    }

    fn code(&mut self) -> ReturnCode {
        if self.rng.chance_ppm(600_000) {
            ReturnCode::Accepted
        } else {
            ReturnCode::from_code(u8::try_from(self.rng.below(5)).unwrap())
        }
    }

    /// The id of the last message that had one, mostly, so that exchanges go on.
    fn msg_id(&mut self) -> MsgId {
        let last = match Message::parse(&self.last) {
            Ok(Message::Publish(it)) => it.msg_id,
            Ok(Message::Register(it)) => it.msg_id,
            Ok(Message::Subscribe(it)) => it.msg_id,
            Ok(Message::Unsubscribe(it)) => it.msg_id,
            Ok(Message::PubRel(id)) => id,
            _ => MsgId(u16::from(self.octet() % 4)),
        };
        if self.rng.chance_ppm(100_000) {
            last.next()
        } else {
            last
        }
    }

    fn hear_message(&mut self) {
        let (code, id, octet) = (self.code(), self.msg_id(), self.octet());
        let topic = u16::from(octet % 6);
        let qos = random_qos(&mut self.rng);
        let name = ["", "a", "b", "c/d", "e/+"][usize::from(octet) % 5];
        let payload = [octet; 40];
        let message = match self.rng.below(22) {
            0..=2 => connack(code),
            3 => Message::WillTopicReq,
            4 => Message::WillMsgReq,
            5 => regack(topic, id, code),
            6 => puback(topic, id, code),
            7 => Message::PubRec(id),
            8 => Message::PubComp(id),
            9 => Message::PubRel(id),
            10 => suback(qos, topic, id, code),
            11 => Message::UnsubAck(id),
            12 => register(topic, id.0, name),
            13..=14 => Message::Publish(Publish {
                dup: octet % 2 == 0,
                qos,
                retain: false,
                topic: TopicRef::Normal(TopicId(topic)),
                msg_id: id,
                payload: &payload[..usize::from(octet) % 40],
            }),
            15 => Message::PingResp,
            16 => Message::PingReq(PingReq { client_id: &[] }),
            17 => Message::Disconnect(Disconnect { duration_s: None }),
            18 => Message::Advertise(Advertise {
                gw_id: octet,
                duration_s: topic,
            }),
            19 => Message::GwInfo(GwInfo {
                gw_id: octet,
                gw_addr: &payload[..usize::from(octet) % 20],
            }),
            20 => Message::SearchGw(SearchGw { radius: octet % 2 }),
            _ => Message::PubAck(ack(topic, id, code)),
        };
        let mut buf = [0; 128];
        let len = message.emit(&mut buf).unwrap();
        let from = self.from();
        self.node.handle_datagram(self.now, from, &buf[..len]);
    }

    /// The gateway answers the last message as it should, so that exchanges come to an end.
    fn hear_answer(&mut self) {
        let last = self.last.clone();
        let accepted = ReturnCode::Accepted;
        let answer = match Message::parse(&last) {
            Ok(Message::Connect(_)) => connack(accepted),
            Ok(Message::Register(it)) => regack(1 + it.msg_id.0 % 9, it.msg_id, accepted),
            Ok(Message::Publish(it)) if it.qos == QoS::AtLeastOnce => {
                puback(1, it.msg_id, accepted)
            }
            Ok(Message::Publish(it)) => Message::PubRec(it.msg_id),
            Ok(Message::PubRel(id)) => Message::PubComp(id),
            Ok(Message::Subscribe(it)) => suback(it.qos, 0, it.msg_id, accepted),
            Ok(Message::Unsubscribe(it)) => Message::UnsubAck(it.msg_id),
            Ok(Message::PingReq(_)) => Message::PingResp,
            Ok(Message::Disconnect(_)) => disconnect(),
            _ => return,
        };
        let mut buf = [0; 16];
        let len = answer.emit(&mut buf).unwrap();
        if let Some(from) = self.node.gateway() {
            self.node.handle_datagram(self.now, from, &buf[..len]);
        }
    }

    fn command(&mut self) {
        let qos = random_qos(&mut self.rng);
        let topic = match self.rng.below(6) {
            0 => Topic::Predefined(TopicId(3)),
            1 => Topic::Short(ShortName(*b"ab")),
            2 => Topic::Name("a"),
            3 => Topic::Name("b"),
            4 => Topic::Name("c/d"),
            _ => Topic::Name("#"),
        };
        let duration_s = u32::from(self.octet()) * [1, 1, 1, 600][usize::from(self.octet()) % 4];
        // Refusals are as good as anything here.
        let _ = match self.rng.below(12) {
            0..=1 => self.node.connect(self.now),
            2 => self.node.disconnect(),
            3 => self.node.sleep(duration_s),
            4 => self.node.wake(),
            5 => self.node.register("e/f"),
            6 => self.node.subscribe(topic, qos),
            7 => self.node.unsubscribe(topic),
            8 => self.node.update_will_topic(Some(("w", qos, true))),
            9 => self.node.update_will_message(b"gone"),
            _ => self.node.publish(topic, qos, false, b"12").map(drop),
        };
    }
}

fn random_config(rng: &mut Rng) -> Config {
    let mut config = Config::new("n").unwrap();
    config.keep_alive_s = u16::try_from(rng.below(100)).unwrap();
    config.clean = rng.chance_ppm(500_000);
    config.publish_while_asleep = rng.chance_ppm(500_000);
    config.refuse_unwanted = rng.chance_ppm(300_000);
    config.wake = WakePlan {
        from_percent: 50,
        to_percent: 50 + u8::try_from(rng.below(41)).unwrap(),
        messages_max: rng
            .chance_ppm(400_000)
            .then(|| 1 + u16::try_from(rng.below(3)).unwrap()),
        time_max: rng
            .chance_ppm(400_000)
            .then(|| Duration::from_millis(1 + rng.below(60_000))),
    };
    config.link.jitter_percent = u8::try_from(rng.below(51)).unwrap();
    config.link.n_retry = u8::try_from(rng.below(4)).unwrap();
    config.link.t_retry = Duration::from_millis(1 + rng.below(20_000));
    for octet in 0..rng.below(3) {
        config = config
            .with_gateway(addr(&[u8::try_from(octet).unwrap()]))
            .unwrap();
    }
    if config.gateways.is_empty() || rng.chance_ppm(300_000) {
        config.discovery = Some(Discovery {
            radius: 1,
            answer_others: true,
        });
    }
    config
}

fn random_qos(rng: &mut Rng) -> QoS {
    match rng.below(4) {
        0 => QoS::MinusOne,
        1 => QoS::AtMostOnce,
        2 => QoS::AtLeastOnce,
        _ => QoS::ExactlyOnce,
    }
}

pub(crate) fn seeds(count: u64) -> std::ops::Range<u64> {
    match std::env::var("SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..count,
    }
}

/// Names the seed if the run panics.
pub(crate) struct Named(pub(crate) u64);

impl Drop for Named {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SEED={}", self.0);
        }
    }
}

#[test]
fn survives_anything_at_any_time() {
    let mut reached = std::collections::HashSet::new();
    for seed in seeds(400) {
        let _named = Named(seed);
        let mut chance = Chance::new(seed);
        chance.node.connect(chance.now).unwrap();
        for _ in 0..1500 {
            chance.step();
            reached.insert(format!("{:?}", chance.node.phase()));
        }
    }
    if std::env::var("SEED").is_err() {
        assert_eq!(reached.len(), 9, "only {reached:?} were reached");
    }
}

/// Runs `node` for `hours` with a gateway that answers as `answer` says, and returns the most
/// datagrams it sent in an hour.
fn most_in_an_hour(
    mut node: Small,
    hours: u64,
    answer: impl Fn(&Message<'_>) -> Option<Message<'static>>,
) -> u64 {
    let mut now = Instant::ZERO;
    let (mut most, mut in_hour, mut hour) = (0, 0, 0);
    let mut buf = [0; 128];
    let end = now + secs(3600).saturating_mul(hours);
    while now < end {
        loop {
            let Some(transmit) = node.poll_transmit(now, &mut buf) else {
                if node.poll_event().is_none() {
                    break;
                }
                continue;
            };
            in_hour += 1;
            if let Some(message) = answer(&Message::parse(&buf[..transmit.len]).unwrap()) {
                let mut reply = [0; 32];
                let len = message.emit(&mut reply).unwrap();
                let from = node.gateway().unwrap();
                node.handle_datagram(now, from, &reply[..len]);
            }
            assert!(in_hour < 10_000, "the machine talks without end");
        }
        let at = node
            .poll_timeout()
            .expect("a node that is on waits for something");
        assert!(at > now, "{at} is due again at {now}");
        now = at;
        node.handle_timeout(now);
        if now.as_millis() / 3_600_000 > hour {
            hour = now.as_millis() / 3_600_000;
            most = most.max(in_hour);
            in_hour = 0;
        }
    }
    most
}

fn started(config: Config) -> Small {
    let mut node = Small::new(config, Rng::new(7)).unwrap();
    node.connect(Instant::ZERO).unwrap();
    node.subscribe(Topic::Name("cmd/#"), QoS::AtLeastOnce)
        .unwrap();
    node.publish(Topic::Name("a"), QoS::ExactlyOnce, false, b"1")
        .unwrap();
    node
}

fn searching() -> Config {
    Config {
        discovery: Some(Discovery::default()),
        ..Config::new("n").unwrap()
    }
}

#[test]
fn a_silent_world_is_asked_less_than_once_a_minute() {
    for config in [config(), searching()] {
        let most = most_in_an_hour(started(config), 48, |_| None);
        assert!((10..60).contains(&most), "{most} in an hour");
    }
}

#[test]
fn a_gateway_that_answers_only_connect_is_not_flooded() {
    let pair = config().with_gateway(addr(&[2])).unwrap();
    for config in [config(), pair] {
        let gateways = config.gateways.len() as u64;
        let most = most_in_an_hour(started(config), 48, |message| {
            matches!(message, Message::Connect(_)).then(|| connack(ReturnCode::Accepted))
        });
        assert!((10..150 * gateways).contains(&most), "{most} in an hour");
    }
}

#[test]
fn d36_a_gateway_that_connects_and_disowns_is_not_flooded() {
    let most = most_in_an_hour(started(config()), 48, |message| match message {
        Message::Connect(_) => Some(connack(ReturnCode::Accepted)),
        _ => Some(Message::Disconnect(Disconnect { duration_s: None })),
    });
    assert!((10..120).contains(&most), "{most} in an hour");
}

#[test]
fn d42_a_congested_gateway_is_asked_every_five_minutes() {
    let most = most_in_an_hour(started(config()), 48, |_| {
        Some(connack(ReturnCode::Congestion))
    });
    assert!((10..=15).contains(&most), "{most} in an hour");
}

#[test]
fn an_idle_connection_costs_a_ping_for_each_four_fifths_of_the_keep_alive_time() {
    let mut node = Small::new(config(), Rng::new(7)).unwrap();
    node.connect(Instant::ZERO).unwrap();
    let most = most_in_an_hour(node, 48, |message| match message {
        Message::Connect(_) => Some(connack(ReturnCode::Accepted)),
        _ => Some(Message::PingResp),
    });
    assert!((14..=16).contains(&most), "{most} in an hour");
}

#[test]
fn d21_an_idle_sleeper_wakes_once_for_each_sleep() {
    let mut node = Small::new(config(), Rng::new(7)).unwrap();
    node.connect(Instant::ZERO).unwrap();
    node.sleep(600).unwrap();
    let most = most_in_an_hour(node.clone(), 48, |message| match message {
        Message::Connect(_) => Some(connack(ReturnCode::Accepted)),
        Message::Disconnect(_) => Some(Message::Disconnect(Disconnect { duration_s: None })),
        _ => Some(Message::PingResp),
    });
    assert!((6..=9).contains(&most), "{most} in an hour");
    assert_eq!(node.phase(), Phase::Connecting);
}
