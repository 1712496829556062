//! The test vectors: 122 datagrams with what they hold, checked field by field.
//!
//! `data/vectors.json` says for each datagram what it must decode to, or why it must be refused.
//! Its `class` is one of `valid`, `policy` (well formed, but the session refuses it),
//! `extension` (well formed, with a second reading) and `invalid`.

// The workspace allows these in test functions only; every function here serves a test.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

use serde::Deserialize;
use serde_json::{Map, Value, json};
use shared::wire::{
    Header, LengthForm, Message, MessageType, Publish, TopicFilter, TopicRef, WillTarget, WireError,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    name: String,
    hex: String,
    fields: Map<String, Value>,
    direction: String,
    class: String,
    #[serde(rename = "note", default)]
    _note: String,
}

impl Vector {
    fn octets(&self) -> Vec<u8> {
        from_hex(&self.hex)
    }
}

#[test]
fn file_holds_every_vector() {
    let vectors = vectors();
    let count = |class: &str| vectors.iter().filter(|v| v.class == class).count();
    assert_eq!(vectors.len(), 122);
    assert_eq!(count("valid"), 94);
    assert_eq!(count("policy"), 9);
    assert_eq!(count("extension"), 1);
    assert_eq!(count("invalid"), 18);

    let mut names: Vec<_> = vectors.iter().map(|v| &v.name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 122, "a name stands twice");

    let directions = [
        "broadcast",
        "client>gw",
        "gw>client",
        "either",
        "forwarder<>gw",
    ];
    for vector in &vectors {
        assert!(directions.contains(&&*vector.direction), "{}", vector.name);
    }
}

#[test]
fn every_message_type_has_a_valid_vector() {
    let of_class = of_class(&["valid"]);
    for kind in MessageType::ALL {
        let found = of_class.iter().any(|v| v.fields["type"] == kind.name());
        assert!(found, "no vector for {}", kind.name());
    }
}

#[test]
fn valid_and_policy_vectors_decode_to_their_fields() {
    for vector in of_class(&["valid", "policy"]) {
        assert_eq!(
            Value::Object(vector.fields.clone()),
            decoded(&vector),
            "{}",
            vector.name
        );
    }
}

#[test]
fn extension_decodes_by_its_second_reading() {
    for vector in of_class(&["extension"]) {
        let octets = vector.octets();
        let Ok(Message::Publish(publish)) = Message::parse(&octets) else {
            panic!("{}: {:?}", vector.name, Message::parse(&octets));
        };
        let (name, payload) = publish.long_name().unwrap();
        let mut fields = decoded(&vector);
        // The topic id is the length of the name here, and no field of its own.
        assert_eq!(fields["topic_id"].take(), name.len());
        fields.as_object_mut().unwrap().remove("topic_id");
        fields["topic_name"] = text(name);
        fields["payload"] = to_hex(payload).into();
        assert_eq!(
            Value::Object(vector.fields.clone()),
            fields,
            "{}",
            vector.name
        );
    }
}

#[test]
fn invalid_vectors_are_refused_for_their_reason() {
    for vector in of_class(&["invalid"]) {
        let error = Message::parse(&vector.octets()).expect_err(&vector.name);
        assert_eq!(vector.fields["error"], error.name(), "{}", vector.name);
    }
}

#[test]
fn decodable_vectors_are_emitted_as_they_came() {
    for vector in of_class(&["valid", "policy", "extension"]) {
        let octets = vector.octets();
        let message = Message::parse(&octets).unwrap();
        let form = Header::parse(&octets).unwrap().form;

        assert_eq!(octets, emitted_in(&message, form), "{}", vector.name);
        assert_eq!(
            octets.len(),
            message.encoded_len_in(form),
            "{}",
            vector.name
        );
        // The short form saves two octets, so a long form of up to 257 octets has a short one.
        if form == LengthForm::Short || octets.len() - 2 > 0xFF {
            assert_eq!(octets, emitted(&message), "{}", vector.name);
        } else {
            assert_eq!(octets.len() - 2, emitted(&message).len(), "{}", vector.name);
        }
    }
}

#[test]
fn either_length_form_reads_as_the_same_message() {
    for vector in of_class(&["valid", "policy", "extension"]) {
        let octets = vector.octets();
        let message = Message::parse(&octets).unwrap();
        for form in [LengthForm::Short, LengthForm::Long] {
            let again = emitted_in(&message, form);
            assert_eq!(
                Ok(message),
                Message::parse(&again),
                "{} {form:?}",
                vector.name
            );
        }
    }
}

#[test]
fn inner_messages_are_messages() {
    let mut seen = 0;
    for vector in of_class(&["valid", "policy"]) {
        if let Some(inner) = vector.fields.get("inner") {
            let inner = from_hex(inner.as_str().unwrap());
            Message::parse(&inner).expect(&vector.name);
            seen += 1;
        }
    }
    assert_eq!(seen, 6);
}

#[test]
fn inner_messages_that_do_not_parse_are_refused() {
    // The encapsulation checks the head of what it holds; the body shows when that is parsed.
    for vector in of_class(&["invalid"]) {
        let inner = vector.octets();
        let mut octets = vec![0x04, 0xFE, 0x00, 0x2A];
        octets.extend_from_slice(&inner);
        let body_error = Message::parse(&inner).unwrap_err();
        match Message::parse(&octets) {
            Err(error) => assert_eq!(error, WireError::Inner, "{}", vector.name),
            Ok(Message::Forward(forward)) => {
                assert_eq!(forward.inner, inner, "{}", vector.name);
                let late = [WireError::Body, WireError::TopicIdType, WireError::Inner];
                assert!(late.contains(&body_error), "{}: {body_error}", vector.name);
            }
            Ok(other) => panic!("{}: {other:?}", vector.name),
        }
    }
}

#[test]
fn no_prefix_of_a_valid_vector_is_the_same_message() {
    for vector in of_class(&["valid"]) {
        let octets = vector.octets();
        let message = Message::parse(&octets).unwrap();
        for end in 0..octets.len() {
            let prefix = Message::parse(&octets[..end]);
            assert_ne!(Ok(message), prefix, "{} cut at {end}", vector.name);
            // Only the length says where a message ends, so a prefix with the old one is cut.
            assert!(prefix.is_err(), "{} cut at {end}: {prefix:?}", vector.name);
        }
    }
}

#[test]
fn no_extension_of_a_valid_vector_is_the_same_message() {
    for vector in of_class(&["valid"]) {
        let octets = vector.octets();
        let message = Message::parse(&octets).unwrap();
        for extra in 0..=0xFF {
            let mut longer = octets.clone();
            longer.push(extra);
            let parsed = Message::parse(&longer);
            assert_ne!(Ok(message), parsed, "{} and {extra:02x}", vector.name);
            // What follows the node id is the inner message, whose own length is checked.
            let expected = match message {
                Message::Forward(_) => WireError::Inner,
                _ => WireError::Trailing,
            };
            assert_eq!(Err(expected), parsed, "{} and {extra:02x}", vector.name);
        }
    }
}

#[test]
fn prefix_with_an_adjusted_length_is_refused_or_another_message() {
    for vector in of_class(&["valid"]) {
        let octets = vector.octets();
        let message = Message::parse(&octets).unwrap();
        if octets.len() > 0xFF || octets[0] == 0x01 || message.kind() == MessageType::Forward {
            continue;
        }
        for end in 2..octets.len() {
            let mut shorter = octets[..end].to_vec();
            shorter[0] = u8::try_from(end).unwrap();
            match Message::parse(&shorter) {
                Ok(other) => {
                    assert_ne!(message, other, "{} cut at {end}", vector.name);
                    assert_eq!(message.kind(), other.kind(), "{} cut at {end}", vector.name);
                    assert_eq!(shorter, emitted(&other), "{} cut at {end}", vector.name);
                }
                Err(error) => assert_eq!(error, WireError::Body, "{} cut at {end}", vector.name),
            }
        }
    }
}

/// Decodes a vector into the terms of its `fields`.
fn decoded(vector: &Vector) -> Value {
    let octets = vector.octets();
    let message = Message::parse(&octets)
        .unwrap_or_else(|error| panic!("{} is refused: {error}", vector.name));
    let header = Header::parse(&octets).unwrap();
    let mut fields = json!({
        "type": message.kind().name(),
        "len_form": match header.form { LengthForm::Short => 1, LengthForm::Long => 3 },
        "length": header.length,
    });
    let own = fields_of(&message);
    fields
        .as_object_mut()
        .unwrap()
        .extend(own.as_object().unwrap().clone());
    fields
}

fn fields_of(message: &Message<'_>) -> Value {
    match message {
        Message::Advertise(m) => json!({"gw_id": m.gw_id, "duration": m.duration_s}),
        Message::SearchGw(m) => json!({"radius": m.radius}),
        Message::GwInfo(m) => json!({"gw_id": m.gw_id, "gw_addr": to_hex(m.gw_addr)}),
        Message::Connect(m) => json!({
            "will": u8::from(m.will), "clean": u8::from(m.clean), "protocol_id": m.protocol_id,
            "duration": m.duration_s, "client_id": text(m.client_id),
        }),
        Message::ConnAck(m) | Message::WillTopicResp(m) | Message::WillMsgResp(m) => {
            json!({"return_code": m.return_code.code()})
        }
        Message::WillTopicReq | Message::WillMsgReq | Message::PingResp => json!({}),
        Message::WillTopic(m) | Message::WillTopicUpd(m) => will_target(m.as_ref()),
        Message::WillMsg(octets) | Message::WillMsgUpd(octets) => {
            json!({"will_msg": to_hex(octets)})
        }
        Message::Register(m) => json!({
            "topic_id": m.topic_id.0, "msg_id": m.msg_id.0, "topic_name": text(m.topic_name),
        }),
        Message::RegAck(m) | Message::PubAck(m) => json!({
            "topic_id": m.topic_id.0, "msg_id": m.msg_id.0, "return_code": m.return_code.code(),
        }),
        Message::Publish(m) => publish(m),
        Message::PubComp(id)
        | Message::PubRec(id)
        | Message::PubRel(id)
        | Message::UnsubAck(id) => json!({"msg_id": id.0}),
        Message::Subscribe(m) => {
            let mut fields = filter(&m.topic);
            fields["dup"] = u8::from(m.dup).into();
            fields["qos"] = m.qos.level().into();
            fields["msg_id"] = m.msg_id.0.into();
            fields
        }
        Message::SubAck(m) => json!({
            "qos": m.qos.level(), "topic_id": m.topic_id.0, "msg_id": m.msg_id.0,
            "return_code": m.return_code.code(),
        }),
        Message::Unsubscribe(m) => {
            let mut fields = filter(&m.topic);
            fields["msg_id"] = m.msg_id.0.into();
            fields
        }
        Message::PingReq(m) => json!({"client_id": text(m.client_id)}),
        Message::Disconnect(m) => match m.duration_s {
            Some(duration_s) => json!({"duration": duration_s}),
            None => json!({}),
        },
        Message::Forward(m) => json!({
            "radius": m.radius, "node_id": to_hex(m.node_id), "inner": to_hex(m.inner),
        }),
    }
}

fn will_target(target: Option<&WillTarget<'_>>) -> Value {
    match target {
        None => json!({"empty": true}),
        Some(m) => json!({
            "qos": m.qos.level(), "retain": u8::from(m.retain), "will_topic": text(m.topic),
        }),
    }
}

fn publish(m: &Publish<'_>) -> Value {
    let id_type = match m.topic {
        TopicRef::Normal(_) => 0,
        TopicRef::Predefined(_) => 1,
        TopicRef::Short(_) => 2,
    };
    json!({
        "dup": u8::from(m.dup), "qos": m.qos.level(), "retain": u8::from(m.retain),
        "topic_id_type": id_type, "topic_id": m.topic.topic_id().0, "msg_id": m.msg_id.0,
        "payload": to_hex(m.payload),
    })
}

fn filter(topic: &TopicFilter<'_>) -> Value {
    match topic {
        TopicFilter::Name(name) => json!({"topic_id_type": 0, "topic_name": text(name)}),
        TopicFilter::Predefined(id) => json!({"topic_id_type": 1, "topic_id": id.0}),
        TopicFilter::Short(name) => {
            json!({"topic_id_type": 2, "topic_id": u16::from_be_bytes(name.0)})
        }
    }
}

fn emitted(message: &Message<'_>) -> Vec<u8> {
    let mut buf = vec![0; message.encoded_len()];
    let len = message.emit(&mut buf).unwrap();
    assert_eq!(len, buf.len());
    buf
}

fn emitted_in(message: &Message<'_>, form: LengthForm) -> Vec<u8> {
    let mut buf = vec![0; message.encoded_len_in(form)];
    let len = message.emit_in(form, &mut buf).unwrap();
    assert_eq!(len, buf.len());
    buf
}

fn of_class(classes: &[&str]) -> Vec<Vector> {
    let mut vectors = vectors();
    vectors.retain(|vector| classes.contains(&&*vector.class));
    assert!(!vectors.is_empty());
    vectors
}

fn vectors() -> Vec<Vector> {
    serde_json::from_str(include_str!("data/vectors.json")).unwrap()
}

fn text(octets: &[u8]) -> Value {
    std::str::from_utf8(octets).unwrap().into()
}

fn to_hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn from_hex(hex: &str) -> Vec<u8> {
    assert!(hex.len().is_multiple_of(2), "{hex}");
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}
