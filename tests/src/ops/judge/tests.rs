//! The judge finds what it is there for.

use gateway::session::{Notice, Priority, Publication, UpstreamRequest};
use shared::rng::Rng;
use shared::wire::{Acknowledgement, Disconnect, PingReq, Publish, ReturnCode, TopicId, TopicRef};

use super::super::messages::emit;
use super::super::places::{binding, datagram};
use super::*;

struct Court {
    judge: Judge,
    engine: Engine,
}

impl Court {
    fn new() -> Self {
        let settings = Settings::default();
        Self {
            judge: Judge::new(&settings),
            engine: Engine::new(settings, Rng::new(1), Instant::ZERO),
        }
    }

    /// A node is at the first place, as far as notices tell.
    fn with_node() -> Self {
        let mut court = Self::new();
        court.hear(&Message::SearchGw(shared::wire::SearchGw { radius: 0 }));
        let connected = Notice::Connected {
            client_id: "a".into(),
            binding: binding(0),
            resumed: false,
        };
        court.judge.output(&Output::Notice(connected)).unwrap();
        court
    }

    fn hear(&mut self, message: &Message<'_>) {
        let (from, bytes) = datagram(0, &emit(message));
        let input = Input::Datagram(from, bytes);
        self.judge.before(Instant::ZERO, &input, &self.engine);
    }

    fn asleep(&mut self) {
        let asleep = Notice::Asleep {
            client_id: "a".into(),
            duration_s: 9,
        };
        self.judge.output(&Output::Notice(asleep)).unwrap();
    }

    fn timeout(&mut self) {
        self.judge
            .before(Instant::ZERO, &Input::Timeout, &self.engine);
    }

    fn say(&mut self, message: &Message<'_>) -> Result<(), String> {
        self.judge.output(&Output::Transmit {
            binding: binding(0),
            datagram: emit(message).into(),
            priority: Priority::Normal,
        })
    }

    fn ask(&mut self, request: UpstreamRequest) -> Result<(), String> {
        self.judge.output(&Output::Upstream(request))
    }
}

fn publish(msg_id: u16, payload: &[u8]) -> Message<'_> {
    Message::Publish(Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: TopicRef::Predefined(TopicId(1)),
        msg_id: MsgId(msg_id),
        payload,
    })
}

fn puback(msg_id: u16) -> Message<'static> {
    Message::PubAck(Acknowledgement {
        topic_id: TopicId(1),
        msg_id: MsgId(msg_id),
        return_code: ReturnCode::Accepted,
    })
}

fn publication(id: u64) -> UpstreamRequest {
    UpstreamRequest::Publish {
        id: PublicationId(id),
        publication: Publication {
            topic: "pre/a".into(),
            payload: Bytes::new(),
            qos: QoS::AtLeastOnce,
            retain: false,
        },
    }
}

#[test]
fn a_sleeper_is_left_alone() {
    let mut court = Court::with_node();
    court.timeout();
    court.say(&publish(1, b"")).unwrap();
    court.asleep();
    assert!(court.say(&publish(1, b"")).is_err());
    court.hear(&Message::PingReq(PingReq { client_id: b"a" }));
    court.say(&publish(1, b"")).unwrap();
    court.say(&Message::PingResp).unwrap();
    assert!(court.say(&publish(1, b"")).is_err());
    assert!(court.say(&Message::PingResp).is_err());
}

#[test]
fn exchanges_come_one_after_the_other() {
    let mut court = Court::with_node();
    court.timeout();
    court.say(&publish(1, b"")).unwrap();
    assert!(court.say(&publish(2, b"")).is_err());
    court.hear(&puback(2));
    court.say(&publish(2, b"")).unwrap();
}

#[test]
fn what_does_not_fit_or_goes_to_nobody_is_found() {
    let mut court = Court::with_node();
    court.timeout();
    assert!(court.say(&publish(1, &[0; 1100])).is_err());
    let elsewhere = Output::Transmit {
        binding: binding(1),
        datagram: emit(&Message::PingResp).into(),
        priority: Priority::Normal,
    };
    assert!(court.judge.output(&elsewhere).is_err());
    assert!(Court::new().say(&publish(1, b"")).is_err());
}

#[test]
fn puback_needs_the_brokers_word() {
    let mut court = Court::with_node();
    court.hear(&publish(1, b""));
    court.ask(publication(1)).unwrap();
    assert!(court.say(&puback(1)).is_err());
    let taken = UpstreamEvent::Published {
        id: PublicationId(1),
        result: Ok(()),
    };
    let input = Input::Upstream(taken);
    court.judge.before(Instant::ZERO, &input, &court.engine);
    court.say(&puback(1)).unwrap();
    assert!(court.say(&puback(1)).is_err());
    assert!(court.ask(publication(1)).is_err(), "the id came before");
}

#[test]
fn strangers_get_one_answer_and_nothing_done() {
    let mut court = Court::new();
    let goodbye = Message::Disconnect(Disconnect { duration_s: None });
    court.hear(&publish(1, b""));
    court.say(&goodbye).unwrap();
    assert!(court.ask(publication(1)).is_err());
    court.hear(&publish(1, b""));
    assert!(court.say(&goodbye).is_err(), "that was too soon");
    court.hear(&puback(1));
    assert!(court.say(&Message::PingResp).is_err());
}

#[test]
fn deliveries_are_acknowledged_once() {
    let mut court = Court::new();
    let acknowledge = || UpstreamRequest::Acknowledge(DeliveryId(1));
    court.timeout();
    assert!(court.ask(acknowledge()).is_err());
    court.judge.deliveries.insert(DeliveryId(1), false);
    assert!(court.judge.at_rest().is_err());
    court.ask(acknowledge()).unwrap();
    court.judge.at_rest().unwrap();
    assert!(court.ask(acknowledge()).is_err());
}

#[test]
fn a_session_without_notice_is_found() {
    let mut court = Court::with_node();
    assert!(court.judge.after(&court.engine).is_err());
}
