//! A node and a gateway of the simplest kind with a bad link between them, in virtual time:
//! what was promised arrives.

use std::collections::{BTreeMap, VecDeque};

use shared::client::{Client, CommandError, Config, Event, Phase, Topic};
use shared::rng::Rng;
use shared::time::{Duration, Instant};
use shared::wire::{
    Acknowledgement, ConnAck, Disconnect, Message, MsgId, Publish, QoS, Register, ReturnCode,
    SubAck, TopicFilter, TopicId, TopicRef,
};

use crate::rig::{GATEWAY, addr, config, secs};

const UP: u32 = 40;
const DOWN: u32 = 20;

/// One datagram on its way.
type Flight = (bool, Vec<u8>);

struct World {
    rng: Rng,
    now: Instant,
    node: Client<6, 4, 32>,
    gateway: Gateway,
    /// What arrives when; a list for each instant.
    air: BTreeMap<u64, Vec<Flight>>,
    loss_ppm: u32,
    doubling_ppm: u32,
    qos: QoS,
    next: u32,
    received: Vec<u32>,
    sleeps: bool,
}

/// The simplest gateway that keeps to the standard; it asks again when it is not answered.
struct Gateway {
    session: Option<Session>,
    names: Vec<String>,
    arrived: Vec<u32>,
    down: VecDeque<u32>,
    down_qos: QoS,
    down_total: u32,
    msg_id: MsgId,
    forgets_ppm: u32,
    lives: u32,
}

struct Session {
    state: Phase,
    /// The QoS 2 publication that is not released yet.
    taken: Option<MsgId>,
    registered: bool,
    offered: Option<Offer>,
}

struct Offer {
    stage: Stage,
    msg_id: MsgId,
    /// Whether it was published before, so that this is a repetition.
    tried: bool,
    repeat_at: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Register,
    Publish,
    Release,
}

const COMMAND_ID: TopicId = TopicId(500);

impl Gateway {
    fn handle(&mut self, now: Instant, datagram: &[u8], out: &mut Vec<Vec<u8>>) {
        let message = Message::parse(datagram).unwrap();
        if let Message::Connect(connect) = message {
            let keep = self.session.take().filter(|_| !connect.clean);
            self.session = Some(Session {
                state: Phase::Active,
                taken: keep.as_ref().and_then(|session| session.taken),
                registered: false,
                // What was offered goes on with its id, after another REGISTER.
                offered: keep.and_then(|session| session.offered).map(|offer| Offer {
                    stage: match offer.stage {
                        Stage::Publish => Stage::Register,
                        stage => stage,
                    },
                    repeat_at: now,
                    ..offer
                }),
            });
            let return_code = ReturnCode::Accepted;
            return emit(out, Message::ConnAck(ConnAck { return_code }));
        }
        let Some(session) = &mut self.session else {
            return emit(out, Message::Disconnect(Disconnect { duration_s: None }));
        };
        match message {
            Message::Register(register) => {
                let name = String::from_utf8(register.topic_name.to_vec()).unwrap();
                let place = self.names.iter().position(|it| *it == name);
                let place = place.unwrap_or_else(|| {
                    self.names.push(name);
                    self.names.len() - 1
                });
                let topic_id = TopicId(u16::try_from(place).unwrap() + 1 + self.lives_offset());
                emit(out, Message::RegAck(accepted(topic_id, register.msg_id)));
            }
            Message::Publish(publish) => self.take(publish, out),
            Message::PubRel(id) => {
                session.taken = session.taken.filter(|taken| *taken != id);
                emit(out, Message::PubComp(id));
            }
            Message::Subscribe(subscribe) => {
                assert_eq!(subscribe.topic, TopicFilter::Name(b"cmd/#"));
                emit(
                    out,
                    Message::SubAck(SubAck {
                        qos: subscribe.qos,
                        topic_id: TopicId::NONE,
                        msg_id: subscribe.msg_id,
                        return_code: ReturnCode::Accepted,
                    }),
                );
            }
            Message::PingReq(ping) => {
                if !ping.client_id.is_empty() && session.state == Phase::Asleep {
                    session.state = Phase::Awake;
                } else if session.state == Phase::Active {
                    emit(out, Message::PingResp);
                }
                if let Some(offer) = &mut session.offered {
                    offer.repeat_at = now;
                }
            }
            Message::Disconnect(Disconnect { duration_s }) => {
                session.state = Phase::Asleep;
                assert!(duration_s.is_some());
                emit(out, Message::Disconnect(Disconnect { duration_s: None }));
            }
            Message::RegAck(ack) => self.advance(ack.msg_id, Stage::Register),
            Message::PubAck(ack) => {
                assert_eq!(ack.return_code, ReturnCode::Accepted);
                self.advance(ack.msg_id, Stage::Publish);
            }
            Message::PubRec(id) => self.advance(id, Stage::Publish),
            Message::PubComp(id) => self.advance(id, Stage::Release),
            other => panic!("the gateway hears {other:?}"),
        }
        self.deliver(now, out);
    }

    fn lives_offset(&self) -> u16 {
        // Each life hands out other ids, so that a stale one means something else.
        u16::try_from(self.lives % 50).unwrap()
    }

    fn take(&mut self, publish: Publish<'_>, out: &mut Vec<Vec<u8>>) {
        let number = u32::from_be_bytes(publish.payload.try_into().unwrap());
        let topic_id = publish.topic.topic_id();
        let place = topic_id
            .0
            .checked_sub(1 + self.lives_offset())
            .map(usize::from);
        let Some(name) = place.and_then(|place| self.names.get(place)) else {
            return emit(
                out,
                Message::PubAck(Acknowledgement {
                    return_code: ReturnCode::InvalidTopicId,
                    ..accepted(topic_id, publish.msg_id)
                }),
            );
        };
        assert_eq!(*name, topic_of(number), "a publication on the wrong topic");
        let session = self.session.as_mut().unwrap();
        match publish.qos {
            QoS::AtLeastOnce => emit(out, Message::PubAck(accepted(topic_id, publish.msg_id))),
            QoS::ExactlyOnce => {
                emit(out, Message::PubRec(publish.msg_id));
                if session.taken.replace(publish.msg_id) == Some(publish.msg_id) {
                    return;
                }
            }
            other => panic!("QoS {other}"),
        }
        self.arrived.push(number);
    }

    fn advance(&mut self, msg_id: MsgId, stage: Stage) {
        let session = self.session.as_mut().unwrap();
        let Some(offer) = &mut session.offered else {
            return;
        };
        if offer.msg_id != msg_id || offer.stage != stage {
            return;
        }
        offer.repeat_at = Instant::ZERO;
        match (stage, self.down_qos) {
            (Stage::Register, _) => {
                session.registered = true;
                offer.stage = Stage::Publish;
            }
            (Stage::Publish, QoS::ExactlyOnce) => offer.stage = Stage::Release,
            _ => {
                session.offered = None;
                self.down.pop_front();
            }
        }
    }

    /// Sends what is due: the next command, or its repetition, or PINGRESP when none is left.
    fn deliver(&mut self, now: Instant, out: &mut Vec<Vec<u8>>) {
        let Some(session) = &mut self.session else {
            return;
        };
        if session.state == Phase::Asleep {
            return;
        }
        let Some(number) = self.down.front() else {
            if session.state == Phase::Awake {
                session.state = Phase::Asleep;
                emit(out, Message::PingResp);
            }
            return;
        };
        if session.offered.is_none() {
            self.msg_id = self.msg_id.next();
        }
        let offer = session.offered.get_or_insert(Offer {
            stage: if session.registered {
                Stage::Publish
            } else {
                Stage::Register
            },
            msg_id: self.msg_id,
            tried: false,
            repeat_at: now,
        });
        if offer.repeat_at > now {
            return;
        }
        offer.repeat_at = now + secs(10);
        let message = match offer.stage {
            Stage::Register => Message::Register(Register {
                topic_id: COMMAND_ID,
                msg_id: offer.msg_id,
                topic_name: b"cmd/a",
            }),
            Stage::Publish => Message::Publish(Publish {
                dup: std::mem::replace(&mut offer.tried, true),
                qos: self.down_qos,
                retain: false,
                topic: TopicRef::Normal(COMMAND_ID),
                msg_id: offer.msg_id,
                payload: &number.to_be_bytes(),
            }),
            Stage::Release => Message::PubRel(offer.msg_id),
        };
        emit(out, message);
    }

    fn next_deadline(&self) -> Option<Instant> {
        let session = self.session.as_ref()?;
        let awake = session.state != Phase::Asleep;
        session
            .offered
            .as_ref()
            .filter(|_| awake)
            .map(|it| it.repeat_at)
    }
}

impl World {
    fn new(seed: u64, qos: QoS, sleeps: bool, forgets_ppm: u32) -> Self {
        let mut rng = Rng::new(seed);
        let mut node = Client::new(
            Config {
                publish_while_asleep: seed.is_multiple_of(2),
                ..config()
            },
            rng.split(),
        )
        .unwrap();
        node.connect(Instant::ZERO).unwrap();
        node.subscribe(Topic::Name("cmd/#"), qos).unwrap();
        if sleeps {
            node.sleep(300).unwrap();
        }
        Self {
            now: Instant::ZERO,
            node,
            gateway: Gateway {
                session: None,
                names: Vec::new(),
                arrived: Vec::new(),
                down: VecDeque::new(),
                down_qos: qos,
                down_total: 0,
                msg_id: MsgId(rng.next_u16()),
                forgets_ppm,
                lives: 0,
            },
            air: BTreeMap::new(),
            loss_ppm: 200_000,
            doubling_ppm: 50_000,
            rng,
            qos,
            next: 0,
            received: Vec::new(),
            sleeps,
        }
    }

    fn run(&mut self) {
        for _ in 0..200_000 {
            self.feed();
            self.drain();
            if self.is_done() {
                return;
            }
            let air = self
                .air
                .first_key_value()
                .map(|(at, _)| Instant::from_millis(*at));
            let next = [air, self.node.poll_timeout(), self.gateway.next_deadline()];
            let at = next
                .into_iter()
                .flatten()
                .min()
                .expect("nothing happens any more");
            self.now = self.now.max(at);
            assert!(
                self.now < Instant::ZERO + secs(30 * 24 * 3600),
                "a month was not enough"
            );
            self.arrive();
            self.node.handle_timeout(self.now);
            let mut out = Vec::new();
            self.gateway.deliver(self.now, &mut out);
            out.into_iter().for_each(|it| self.fly(true, it));
        }
        panic!(
            "no end: {} up, {} down",
            self.gateway.arrived.len(),
            self.received.len()
        );
    }

    fn is_done(&self) -> bool {
        self.next == UP
            && self.node.queued() == 0
            && self.gateway.down_total == DOWN
            && self.gateway.down.is_empty()
    }

    /// New readings and commands, now and then.
    fn feed(&mut self) {
        if self.next < UP && self.rng.chance_ppm(200_000) {
            let topic = topic_of(self.next);
            let payload = self.next.to_be_bytes();
            match self
                .node
                .publish(Topic::Name(&topic), self.qos, false, &payload)
            {
                Ok(_) => self.next += 1,
                Err(error) => assert_eq!(error, CommandError::QueueFull),
            }
        }
        if self.gateway.down_total < DOWN && self.rng.chance_ppm(100_000) {
            self.gateway.down.push_back(self.gateway.down_total);
            self.gateway.down_total += 1;
        }
        if self.rng.chance_ppm(self.gateway.forgets_ppm) {
            self.gateway.session = None;
            self.gateway.names.clear();
            self.gateway.lives += 1;
        }
    }

    fn drain(&mut self) {
        let mut buf = [0; 128];
        loop {
            if let Some(transmit) = self.node.poll_transmit(self.now, &mut buf) {
                self.fly(false, buf[..transmit.len].to_vec());
                continue;
            }
            match self.node.poll_event() {
                Some(Event::Received(it)) => {
                    assert_eq!(it.topic, Topic::Name("cmd/a"));
                    self.received
                        .push(u32::from_be_bytes(it.payload.try_into().unwrap()));
                }
                Some(Event::PublishFailed { reason, .. }) => panic!("{reason}"),
                Some(_) => {}
                None => return,
            }
        }
    }

    fn fly(&mut self, down: bool, datagram: Vec<u8>) {
        if self.rng.chance_ppm(self.loss_ppm) {
            return;
        }
        let at = (self.now + Duration::from_millis(200)).as_millis();
        let times = 1 + usize::from(self.rng.chance_ppm(self.doubling_ppm));
        let slot = self.air.entry(at).or_default();
        slot.extend(std::iter::repeat_n((down, datagram), times));
    }

    fn arrive(&mut self) {
        while let Some((at, _)) = self.air.first_key_value()
            && *at <= self.now.as_millis()
        {
            let (_, flights) = self.air.pop_first().unwrap();
            for (down, datagram) in flights {
                if down {
                    // The radio of a quiet node is off.
                    if !self.sleeps || !self.node.is_quiet() {
                        self.node
                            .handle_datagram(self.now, addr(GATEWAY), &datagram);
                        self.drain();
                    }
                } else {
                    let mut out = Vec::new();
                    self.gateway.handle(self.now, &datagram, &mut out);
                    out.into_iter().for_each(|it| self.fly(true, it));
                }
            }
        }
    }
}

fn topic_of(number: u32) -> String {
    format!("sensor/{}", number % 3)
}

const fn accepted(topic_id: TopicId, msg_id: MsgId) -> Acknowledgement {
    Acknowledgement {
        topic_id,
        msg_id,
        return_code: ReturnCode::Accepted,
    }
}

fn emit(out: &mut Vec<Vec<u8>>, message: Message<'_>) {
    let mut buf = [0; 128];
    let len = message.emit(&mut buf).unwrap();
    out.push(buf[..len].to_vec());
}

/// First arrivals, in order.
fn firsts(numbers: &[u32]) -> Vec<u32> {
    let mut seen = Vec::new();
    for number in numbers {
        if !seen.contains(number) {
            seen.push(*number);
        }
    }
    seen
}

fn each_seed(check: impl Fn(u64)) {
    for seed in crate::random::seeds(150) {
        let _named = crate::random::Named(seed);
        check(seed);
    }
}

#[test]
fn qos_1_is_never_lost_and_in_order() {
    each_seed(|seed| {
        let mut world = World::new(seed, QoS::AtLeastOnce, false, 0);
        world.run();
        assert_eq!(firsts(&world.gateway.arrived), Vec::from_iter(0..UP));
        assert_eq!(firsts(&world.received), Vec::from_iter(0..DOWN));
    });
}

#[test]
fn qos_2_arrives_exactly_once_and_in_order() {
    each_seed(|seed| {
        let mut world = World::new(seed, QoS::ExactlyOnce, false, 0);
        world.run();
        assert_eq!(world.gateway.arrived, Vec::from_iter(0..UP));
        assert_eq!(world.received, Vec::from_iter(0..DOWN));
    });
}

#[test]
fn a_sleeping_node_gets_and_sends_everything() {
    each_seed(|seed| {
        let mut world = World::new(seed, QoS::ExactlyOnce, true, 0);
        world.run();
        assert_eq!(world.gateway.arrived, Vec::from_iter(0..UP));
        assert_eq!(world.received, Vec::from_iter(0..DOWN));
    });
}

#[test]
fn d47_a_gateway_that_forgets_everything_loses_nothing_of_the_node() {
    each_seed(|seed| {
        let mut world = World::new(seed, QoS::AtLeastOnce, seed.is_multiple_of(3), 5_000);
        world.run();
        assert_eq!(firsts(&world.gateway.arrived), Vec::from_iter(0..UP));
        assert_eq!(firsts(&world.received), Vec::from_iter(0..DOWN));
    });
}
