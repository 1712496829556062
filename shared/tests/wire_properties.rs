//! Properties of emit and parse: every message of every type goes there and back.
//!
//! The cases are drawn from a fixed seed; `SEED` in the environment replaces it.

// The workspace allows these in test functions only; every function here serves a test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{RngSeed, TestCaseResult, TestRunner};
use shared::wire::{
    Acknowledgement, Advertise, ConnAck, Connect, Disconnect, FORWARD_NODE_ID_LEN_MAX, Forward,
    GwInfo, Header, LengthForm, MESSAGE_LEN_MAX, Message, MessageType, MsgId, PingReq, Publish,
    QoS, Register, ReturnCode, SearchGw, ShortName, SubAck, Subscribe, TopicFilter, TopicId,
    TopicRef, Unsubscribe, WillTarget, WireError,
};

/// What the fields of any message are made of.
#[derive(Clone, Debug)]
struct Parts {
    bits: [bool; 3],
    octet: u8,
    numbers: [u16; 2],
    qos: QoS,
    topic_kind: u8,
    bytes: Vec<u8>,
    node_id: Vec<u8>,
    inner: Vec<u8>,
}

#[test]
fn emitted_messages_parse_to_themselves() {
    check(any_message(), |(kind, parts)| {
        let message = message(kind, &parts);
        for form in FORMS {
            let mut buf = vec![0xA5; message.encoded_len_in(form) + 3];
            let len = message.emit_in(form, &mut buf).unwrap();
            prop_assert_eq!(len, message.encoded_len_in(form));
            prop_assert_eq!(Message::parse(&buf[..len]), Ok(message));
            prop_assert_eq!(&buf[len..], [0xA5; 3], "wrote behind the message");
        }
        Ok(())
    });
}

#[test]
fn emitted_heads_say_kind_form_and_length() {
    check(any_message(), |(kind, parts)| {
        let message = message(kind, &parts);
        prop_assert_eq!(message.kind(), kind);
        for form in FORMS {
            let datagram = emitted_in(&message, form);
            let header = Header::parse(&datagram).unwrap();
            prop_assert_eq!(MessageType::from_code(header.type_code), Some(kind));
            if let Message::Forward(forward) = message {
                prop_assert_eq!(header.form, LengthForm::Short);
                prop_assert_eq!(header.length, datagram.len() - forward.inner.len());
            } else {
                let long = form == LengthForm::Long || datagram.len() > 0xFF;
                prop_assert_eq!(header.form == LengthForm::Long, long);
                prop_assert_eq!(header.length, datagram.len());
            }
        }
        Ok(())
    });
}

#[test]
fn plain_emit_takes_the_shortest_form() {
    check(any_message(), |(kind, parts)| {
        let message = message(kind, &parts);
        let mut buf = vec![0; message.encoded_len()];
        prop_assert_eq!(message.emit(&mut buf), Ok(buf.len()));
        prop_assert_eq!(&buf, &emitted_in(&message, LengthForm::Short));
        prop_assert!(message.encoded_len() <= message.encoded_len_in(LengthForm::Long));
        Ok(())
    });
}

#[test]
fn no_shorter_buffer_takes_a_message() {
    check(
        (any_message(), any::<prop::sample::Index>()),
        |((kind, parts), at)| {
            let message = message(kind, &parts);
            for form in FORMS {
                let len = message.encoded_len_in(form);
                for short in [at.index(len), 0, len - 1] {
                    let mut buf = vec![0; short];
                    prop_assert_eq!(message.emit_in(form, &mut buf), Err(WireError::Buffer));
                }
            }
            Ok(())
        },
    );
}

#[test]
fn any_octets_that_parse_are_reproduced() {
    check(any_datagram(), |datagram| {
        let Ok(message) = Message::parse(&datagram) else {
            return Ok(());
        };
        let form = Header::parse(&datagram).unwrap().form;
        let again = emitted_in(&message, form);
        prop_assert_eq!(again.len(), datagram.len());
        prop_assert_eq!(Message::parse(&again), Ok(message));
        Ok(())
    });
}

#[test]
fn only_flags_with_a_meaning_change_a_message() {
    check((any_message(), 0..8_u8), |((kind, parts), bit)| {
        let message = message(kind, &parts);
        let Some(meaningful) = flag_bits(&message) else {
            return Ok(());
        };
        for form in FORMS {
            let mut datagram = emitted_in(&message, form);
            let at = Header::parse(&datagram).unwrap().len();
            datagram[at] ^= 1 << bit;
            let changed = Message::parse(&datagram) != Ok(message);
            prop_assert_eq!(changed, meaningful & (1 << bit) != 0);
        }
        Ok(())
    });
}

#[test]
fn lengths_at_the_limits_of_their_field() {
    // (payload octets, octets in the short form, octets in the long form)
    let limits = [
        (0, 7, 9),
        (248, 255, 257),
        (249, 258, 258),
        (MESSAGE_LEN_MAX - 9, MESSAGE_LEN_MAX, MESSAGE_LEN_MAX),
    ];
    for (payload_len, short, long) in limits {
        let payload = vec![0x5A; payload_len];
        let message = publish_of(&payload);
        for (form, len) in [(LengthForm::Short, short), (LengthForm::Long, long)] {
            let datagram = emitted_in(&message, form);
            assert_eq!(datagram.len(), len, "{payload_len} {form:?}");
            assert_eq!(
                Message::parse(&datagram),
                Ok(message),
                "{payload_len} {form:?}"
            );
        }
    }
}

#[test]
fn longer_than_the_length_field_is_refused() {
    let payload = vec![0x5A; MESSAGE_LEN_MAX - 8];
    let mut buf = vec![0; 2 * MESSAGE_LEN_MAX];
    for form in FORMS {
        let message = publish_of(&payload);
        assert_eq!(message.emit_in(form, &mut buf), Err(WireError::Buffer));
    }

    let node_id = [0x2A; FORWARD_NODE_ID_LEN_MAX + 1];
    let longest = Forward {
        radius: 0,
        node_id: &node_id[1..],
        inner: &[0x02, 0x16],
    };
    let (message, too_long) = (
        Message::Forward(longest),
        Message::Forward(Forward {
            node_id: &node_id,
            ..longest
        }),
    );
    let datagram = emitted_in(&message, LengthForm::Short);
    assert_eq!(Message::parse(&datagram), Ok(message));
    assert_eq!(too_long.emit(&mut buf), Err(WireError::Buffer));
}

/// Runs `test` on the cases of `strategy` and names the seed where it fails.
fn check<S: Strategy>(strategy: S, test: impl Fn(S::Value) -> TestCaseResult) {
    let seed = std::env::var("SEED").map_or(SEED, |seed| seed.parse().unwrap());
    let mut runner = TestRunner::new(ProptestConfig {
        cases: CASES,
        rng_seed: RngSeed::Fixed(seed),
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    if let Err(failure) = runner.run(&strategy, test) {
        panic!("SEED={seed}: {failure}");
    }
}

fn any_message() -> impl Strategy<Value = (MessageType, Parts)> {
    let inner = (any_kind(), any_parts(Just(vec![0x02, 0x16])))
        .prop_map(|(kind, parts)| emitted_in(&message(kind, &parts), LengthForm::Short));
    (any_kind(), any_parts(inner))
}

fn any_kind() -> impl Strategy<Value = MessageType> {
    select(MessageType::ALL)
}

fn any_parts(inner: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Parts> {
    let bytes = prop_oneof![
        4 => vec(any::<u8>(), 0..40),
        2 => vec(any::<u8>(), 240..260),
        1 => vec(any::<u8>(), 0..2000),
    ];
    (
        any::<[bool; 3]>(),
        any::<u8>(),
        any::<[u16; 2]>(),
        select(&QOS[..]),
        0..3_u8,
        bytes,
        vec(any::<u8>(), 0..=FORWARD_NODE_ID_LEN_MAX),
        inner,
    )
        .prop_map(
            |(bits, octet, numbers, qos, topic_kind, bytes, node_id, inner)| Parts {
                bits,
                octet,
                numbers,
                qos,
                topic_kind,
                bytes,
                node_id,
                inner,
            },
        )
}

/// Octets of any kind, most of them with a length that fits.
fn any_datagram() -> impl Strategy<Value = Vec<u8>> {
    let body = || vec(any::<u8>(), 0..300);
    let kind = prop_oneof![any_kind().prop_map(MessageType::code), any::<u8>()];
    let fitting = (any::<bool>(), kind, body()).prop_map(|(long, kind, body)| {
        let mut datagram = match u8::try_from(body.len() + 2) {
            Ok(len) if !long => vec![len, kind],
            _ => {
                let [high, low] = u16::try_from(body.len() + 4).unwrap().to_be_bytes();
                vec![0x01, high, low, kind]
            }
        };
        datagram.extend(body);
        datagram
    });
    prop_oneof![1 => body(), 9 => fitting]
}

/// Builds a message of the given type; every field comes from `parts`.
fn message(kind: MessageType, parts: &Parts) -> Message<'_> {
    let bytes = &*parts.bytes;
    let (topic_id, msg_id) = (TopicId(parts.numbers[0]), MsgId(parts.numbers[1]));
    let return_code = ReturnCode::from_code(parts.octet);
    let answer = ConnAck { return_code };
    let acknowledgement = Acknowledgement {
        topic_id,
        msg_id,
        return_code,
    };
    let will = parts.bits[0].then_some(WillTarget {
        qos: parts.qos,
        retain: parts.bits[1],
        topic: bytes,
    });
    match kind {
        MessageType::Advertise => Message::Advertise(Advertise {
            gw_id: parts.octet,
            duration_s: parts.numbers[0],
        }),
        MessageType::SearchGw => Message::SearchGw(SearchGw {
            radius: parts.octet,
        }),
        MessageType::GwInfo => Message::GwInfo(GwInfo {
            gw_id: parts.octet,
            gw_addr: bytes,
        }),
        MessageType::Connect => Message::Connect(Connect {
            will: parts.bits[0],
            clean: parts.bits[1],
            protocol_id: parts.octet,
            duration_s: parts.numbers[0],
            client_id: bytes,
        }),
        MessageType::ConnAck => Message::ConnAck(answer),
        MessageType::WillTopicReq => Message::WillTopicReq,
        MessageType::WillTopic => Message::WillTopic(will),
        MessageType::WillMsgReq => Message::WillMsgReq,
        MessageType::WillMsg => Message::WillMsg(bytes),
        MessageType::Register => Message::Register(Register {
            topic_id,
            msg_id,
            topic_name: bytes,
        }),
        MessageType::RegAck => Message::RegAck(acknowledgement),
        MessageType::Publish => Message::Publish(Publish {
            dup: parts.bits[0],
            qos: parts.qos,
            retain: parts.bits[1],
            topic: topic_ref(parts),
            msg_id,
            payload: bytes,
        }),
        MessageType::PubAck => Message::PubAck(acknowledgement),
        MessageType::PubComp => Message::PubComp(msg_id),
        MessageType::PubRec => Message::PubRec(msg_id),
        MessageType::PubRel => Message::PubRel(msg_id),
        MessageType::Subscribe => Message::Subscribe(Subscribe {
            dup: parts.bits[0],
            qos: parts.qos,
            msg_id,
            topic: topic_filter(parts),
        }),
        MessageType::SubAck => Message::SubAck(SubAck {
            qos: parts.qos,
            topic_id,
            msg_id,
            return_code,
        }),
        MessageType::Unsubscribe => Message::Unsubscribe(Unsubscribe {
            msg_id,
            topic: topic_filter(parts),
        }),
        MessageType::UnsubAck => Message::UnsubAck(msg_id),
        MessageType::PingReq => Message::PingReq(PingReq { client_id: bytes }),
        MessageType::PingResp => Message::PingResp,
        MessageType::Disconnect => Message::Disconnect(Disconnect {
            duration_s: parts.bits[0].then_some(parts.numbers[0]),
        }),
        MessageType::WillTopicUpd => Message::WillTopicUpd(will),
        MessageType::WillTopicResp => Message::WillTopicResp(answer),
        MessageType::WillMsgUpd => Message::WillMsgUpd(bytes),
        MessageType::WillMsgResp => Message::WillMsgResp(answer),
        MessageType::Forward => Message::Forward(Forward {
            radius: parts.octet & 0b11,
            node_id: &parts.node_id,
            inner: &parts.inner,
        }),
    }
}

fn topic_ref(parts: &Parts) -> TopicRef {
    let id = TopicId(parts.numbers[0]);
    match parts.topic_kind {
        0 => TopicRef::Normal(id),
        1 => TopicRef::Predefined(id),
        _ => TopicRef::Short(ShortName(parts.numbers[0].to_be_bytes())),
    }
}

fn topic_filter(parts: &Parts) -> TopicFilter<'_> {
    match parts.topic_kind {
        0 => TopicFilter::Name(&parts.bytes),
        1 => TopicFilter::Predefined(TopicId(parts.numbers[0])),
        _ => TopicFilter::Short(ShortName(parts.numbers[0].to_be_bytes())),
    }
}

/// Returns the flags that mean something in a message with flags [MQTT-SN 1.2 §5.3.4].
fn flag_bits(message: &Message<'_>) -> Option<u8> {
    Some(match message {
        Message::Connect(_) => 0b0000_1100,
        Message::WillTopic(Some(_)) | Message::WillTopicUpd(Some(_)) => 0b0111_0000,
        Message::Publish(_) => 0b1111_0011,
        Message::Subscribe(_) => 0b1110_0011,
        Message::SubAck(_) => 0b0110_0000,
        Message::Unsubscribe(_) => 0b0000_0011,
        _ => return None,
    })
}

fn publish_of(payload: &[u8]) -> Message<'_> {
    Message::Publish(Publish {
        dup: false,
        qos: QoS::AtLeastOnce,
        retain: false,
        topic: TopicRef::Normal(TopicId(5)),
        msg_id: MsgId(16),
        payload,
    })
}

fn emitted_in(message: &Message<'_>, form: LengthForm) -> Vec<u8> {
    let mut buf = vec![0; message.encoded_len_in(form)];
    let len = message.emit_in(form, &mut buf).unwrap();
    assert_eq!(len, buf.len());
    buf
}

const FORMS: [LengthForm; 2] = [LengthForm::Short, LengthForm::Long];
const QOS: [QoS; 4] = [
    QoS::MinusOne,
    QoS::AtMostOnce,
    QoS::AtLeastOnce,
    QoS::ExactlyOnce,
];
const SEED: u64 = 20_131_114;
const CASES: u32 = 4_000;
