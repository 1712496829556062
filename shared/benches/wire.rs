//! MQTT-SN messages: parse and emit, for the three messages a node sends most.
//!
//! `cargo bench -p shared --bench wire`

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "no bytes from the air here: a benchmark that is set up wrong may stop"
)]

use std::hint::black_box;

use criterion::Criterion;
use shared::wire::{
    Connect, MESSAGE_LEN_MAX, Message, MsgId, Publish, QoS, Register, TopicId, TopicRef,
};

const MESSAGES: [(&str, Message<'static>); 3] = [
    (
        "publish_qos1",
        Message::Publish(Publish {
            dup: false,
            qos: QoS::AtLeastOnce,
            retain: false,
            topic: TopicRef::Predefined(TopicId(17)),
            msg_id: MsgId(4711),
            payload: &[0x08, 0x15, 0x47, 0x11, 0x00, 0x42, 0x23, 0x05],
        }),
    ),
    (
        "connect",
        Message::Connect(Connect {
            will: false,
            clean: false,
            protocol_id: Connect::PROTOCOL_ID,
            duration_s: 3600,
            client_id: b"well-17-pump-2",
        }),
    ),
    (
        "register",
        Message::Register(Register {
            topic_id: TopicId::NONE,
            msg_id: MsgId(4712),
            topic_name: b"field/north/well/17/pump/2/pressure",
        }),
    ),
];

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("wire");
    for (what, message) in MESSAGES {
        let mut buf = [0; MESSAGE_LEN_MAX];
        let len = message.emit(&mut buf).unwrap();
        let datagram = buf[..len].to_vec();
        assert_eq!(Message::parse(&datagram), Ok(message));

        group.bench_function(format!("parse/{what}"), |bencher| {
            bencher.iter(|| Message::parse(black_box(&datagram)).is_ok());
        });
        group.bench_function(format!("emit/{what}"), |bencher| {
            bencher.iter(|| black_box(&message).emit(black_box(&mut buf)));
        });
    }
    group.finish();
    criterion.final_summary();
}
