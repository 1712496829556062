//! Messages of nodes, and what looks like them.

use shared::rng::Rng;
use shared::wire::{
    Acknowledgement, Connect, Disconnect, Forward, LengthForm, Message, MsgId, PingReq, Publish,
    QoS, Register, ReturnCode, SearchGw, ShortName, Subscribe, TopicFilter, TopicId, TopicRef,
    Unsubscribe, WillTarget,
};

use super::places::{
    CLIENT_IDS, FILTERS, GOOD_CLIENT_IDS, GOOD_TOPICS, PREDEFINED, SHORT_NAMES, TOPICS,
};
use super::setup::{maybe, pick};

/// The durations of CONNECT and DISCONNECT, in seconds.
const DURATIONS_S: [u16; 6] = [0, 1, 5, 60, 300, 7200];

/// The message ids.
const MSG_IDS: [u16; 6] = [0, 1, 2, 3, 0x7FFF, 0xFFFF];

/// The normal topic ids: the first that are given out, and some that never are.
const TOPIC_IDS: [u16; 8] = [1025, 1026, 1027, 1028, 1040, 0, 1, 0xFFFF];

/// The lengths of payloads, in octets.
const LENGTHS: [usize; 7] = [0, 1, 2, 20, 60, 200, 1100];

pub(super) fn emit(message: &Message<'_>) -> Vec<u8> {
    let mut bytes = vec![0; message.encoded_len()];
    let len = message.emit(&mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

pub(super) fn connect(client_id: &[u8], clean: bool, will: bool, duration_s: u16) -> Vec<u8> {
    emit(&Message::Connect(Connect {
        will,
        clean,
        protocol_id: Connect::PROTOCOL_ID,
        duration_s,
        client_id,
    }))
}

pub(super) fn client_id(rng: &mut Rng) -> &'static [u8] {
    if maybe(rng, 95) {
        CLIENT_IDS[usize::try_from(rng.below(GOOD_CLIENT_IDS)).unwrap()]
    } else {
        pick(rng, &CLIENT_IDS)
    }
}

pub(super) fn topic_name(rng: &mut Rng) -> &'static [u8] {
    if maybe(rng, 90) {
        TOPICS[usize::try_from(rng.below(GOOD_TOPICS)).unwrap()]
    } else {
        pick(rng, &TOPICS)
    }
}

pub(super) fn msg_id(rng: &mut Rng) -> MsgId {
    MsgId(pick(rng, &MSG_IDS))
}

pub(super) fn duration_s(rng: &mut Rng) -> u16 {
    pick(rng, &DURATIONS_S)
}

pub(super) fn publish(rng: &mut Rng, qos: QoS) -> Vec<u8> {
    let topic = topic_ref(rng);
    let payload = payload(rng);
    emit(&Message::Publish(Publish {
        dup: maybe(rng, 25),
        qos,
        retain: maybe(rng, 25),
        topic,
        msg_id: msg_id(rng),
        payload: &payload,
    }))
}

pub(super) fn subscribe(rng: &mut Rng) -> Vec<u8> {
    let topic = topic_filter(rng);
    emit(&Message::Subscribe(Subscribe {
        dup: maybe(rng, 25),
        qos: pick(
            rng,
            &[
                QoS::AtMostOnce,
                QoS::AtLeastOnce,
                QoS::ExactlyOnce,
                QoS::ExactlyOnce,
                QoS::MinusOne,
            ],
        ),
        msg_id: msg_id(rng),
        topic,
    }))
}

/// Returns a message of a node, of any type, well formed.
pub(super) fn any(rng: &mut Rng) -> Vec<u8> {
    let ack = Acknowledgement {
        topic_id: TopicId(pick(rng, &TOPIC_IDS)),
        msg_id: msg_id(rng),
        return_code: return_code(rng),
    };
    let payload = payload(rng);
    let message = match rng.below(26) {
        0 | 1 => {
            let id = client_id(rng);
            let mut bytes = connect(id, maybe(rng, 50), maybe(rng, 40), duration_s(rng));
            if maybe(rng, 3) {
                bytes[3] = 2;
            }
            return bytes;
        }
        2 => Message::WillTopic(will_target(rng)),
        3 => Message::WillMsg(&payload),
        4 => Message::WillTopicUpd(will_target(rng)),
        5 => Message::WillMsgUpd(&payload),
        6 | 7 => Message::Register(Register {
            topic_id: TopicId(pick(rng, &[0, 0, 0, 1025])),
            msg_id: msg_id(rng),
            topic_name: topic_name(rng),
        }),
        8 => return publish(rng, QoS::AtMostOnce),
        9 => return publish(rng, QoS::AtLeastOnce),
        10 => return publish(rng, QoS::ExactlyOnce),
        11 => return minus_one(rng),
        12 => Message::RegAck(ack),
        13 => Message::PubAck(ack),
        14 => Message::PubRec(ack.msg_id),
        15 => Message::PubRel(ack.msg_id),
        16 => Message::PubComp(ack.msg_id),
        17 | 18 => return subscribe(rng),
        19 => Message::Unsubscribe(Unsubscribe {
            msg_id: msg_id(rng),
            topic: topic_filter(rng),
        }),
        20 => Message::PingReq(PingReq { client_id: b"" }),
        21 => Message::PingReq(PingReq {
            client_id: client_id(rng),
        }),
        22 if maybe(rng, 60) => Message::Disconnect(Disconnect { duration_s: None }),
        22 | 23 => Message::Disconnect(Disconnect {
            duration_s: Some(duration_s(rng)),
        }),
        24 => Message::SearchGw(SearchGw { radius: 1 }),
        _ => return of_a_gateway(rng),
    };
    emit(&message)
}

/// Returns octets that are no message, or nearly one.
pub(super) fn raw(rng: &mut Rng) -> Vec<u8> {
    let mut bytes = match rng.below(4) {
        0 => {
            let len = usize::try_from(rng.below(40)).unwrap();
            return (0..len).map(|_| rng.next_u64() as u8).collect();
        }
        1 => {
            // A nested or wrapped one.
            let inner = any(rng);
            emit(&Message::Forward(Forward {
                radius: 3,
                node_id: pick(rng, &[&[1][..], &[9, 9, 9], &[]]),
                inner: &inner,
            }))
        }
        2 => long_form(rng),
        _ => any(rng),
    };
    for _ in 0..rng.below(3) {
        let count = u64::try_from(bytes.len()).unwrap();
        let Ok(place) = usize::try_from(rng.below(count)) else {
            break;
        };
        match rng.below(3) {
            0 => bytes[place] = rng.next_u64() as u8,
            1 => bytes.truncate(place),
            _ => bytes.insert(place, rng.next_u64() as u8),
        }
        if bytes.is_empty() {
            break;
        }
    }
    bytes
}

/// A short message with the three-octet length that a receiver must take as well.
fn long_form(rng: &mut Rng) -> Vec<u8> {
    let short = any(rng);
    let Ok(message) = Message::parse(&short) else {
        return short;
    };
    let mut bytes = vec![0; message.encoded_len_in(LengthForm::Long)];
    match message.emit_in(LengthForm::Long, &mut bytes) {
        Ok(_) => bytes,
        Err(_) => short,
    }
}

fn of_a_gateway(rng: &mut Rng) -> Vec<u8> {
    let list: [&[u8]; 7] = [
        &[0x05, 0x00, 0x02, 0x03, 0x84],
        &[0x03, 0x02, 0x07],
        &[0x03, 0x05, 0x00],
        &[0x02, 0x06],
        &[0x08, 0x13, 0x20, 0x04, 0x01, 0x00, 0x01, 0x00],
        &[0x04, 0x15, 0x00, 0x01],
        &[0x02, 0x17],
    ];
    pick(rng, &list).to_vec()
}

/// QoS −1, also with a name instead of an id.
fn minus_one(rng: &mut Rng) -> Vec<u8> {
    if maybe(rng, 70) {
        return publish(rng, QoS::MinusOne);
    }
    let name = topic_name(rng);
    let mut payload = name.to_vec();
    payload.extend_from_slice(b"long");
    let len = u16::try_from(name.len()).unwrap() + u16::from(maybe(rng, 20)) * 100;
    emit(&Message::Publish(Publish {
        dup: false,
        qos: QoS::MinusOne,
        retain: false,
        topic: TopicRef::Normal(TopicId(len)),
        msg_id: MsgId::NONE,
        payload: &payload,
    }))
}

fn will_target(rng: &mut Rng) -> Option<WillTarget<'static>> {
    maybe(rng, 85).then(|| WillTarget {
        qos: pick(
            rng,
            &[
                QoS::AtMostOnce,
                QoS::AtLeastOnce,
                QoS::ExactlyOnce,
                QoS::MinusOne,
            ],
        ),
        retain: maybe(rng, 50),
        topic: topic_name(rng),
    })
}

fn topic_ref(rng: &mut Rng) -> TopicRef {
    match rng.below(4) {
        0 | 1 => TopicRef::Normal(TopicId(pick(rng, &TOPIC_IDS))),
        2 => TopicRef::Predefined(predefined(rng)),
        _ => TopicRef::Short(ShortName(pick(rng, &SHORT_NAMES))),
    }
}

fn topic_filter(rng: &mut Rng) -> TopicFilter<'static> {
    match rng.below(8) {
        0..3 => TopicFilter::Name(topic_name(rng)),
        3..6 => TopicFilter::Name(pick(rng, &FILTERS)),
        6 => TopicFilter::Predefined(predefined(rng)),
        _ => TopicFilter::Short(ShortName(pick(rng, &SHORT_NAMES))),
    }
}

fn predefined(rng: &mut Rng) -> TopicId {
    if maybe(rng, 90) {
        TopicId(pick(rng, &PREDEFINED).0)
    } else {
        TopicId(9)
    }
}

fn return_code(rng: &mut Rng) -> ReturnCode {
    pick(
        rng,
        &[
            ReturnCode::Accepted,
            ReturnCode::Congestion,
            ReturnCode::InvalidTopicId,
            ReturnCode::NotSupported,
            ReturnCode::Reserved(0x80),
        ],
    )
}

fn payload(rng: &mut Rng) -> Vec<u8> {
    let mark = rng.next_u64() as u8;
    vec![mark; pick(rng, &LENGTHS)]
}
