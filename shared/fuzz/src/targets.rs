//! What must hold for any bytes at all; a broken rule panics.
//!
//! The fuzz targets and the smoke test `shared/tests/fuzz_smoke.rs` both run these bodies.

use shared::wire::{Header, LengthForm, Message, MessageType, Publish, QoS, TopicRef, WireError};

/// Parses `datagram` and checks that the answer agrees with its octets.
///
/// # Panics
/// Where a rule is broken.
pub fn parse(datagram: &[u8]) {
    let mut datagram = datagram;
    loop {
        match Message::parse(datagram) {
            Ok(message) => agrees(&message, datagram),
            Err(error) => refused_with_reason(error, datagram),
        }
        let Ok(Message::Forward(forward)) = Message::parse(datagram) else {
            return;
        };
        datagram = forward.inner;
    }
}

/// Parses `datagram`, emits the message and parses what was emitted: nothing may change.
///
/// # Panics
/// Where a rule is broken.
pub fn round_trip(datagram: &[u8]) {
    let (Ok(message), Ok(header)) = (Message::parse(datagram), Header::parse(datagram)) else {
        return;
    };
    let emitted = emit(&message, header.form).expect("what was read can be written");
    assert_eq!(emitted.len(), datagram.len());
    assert_eq!(Message::parse(&emitted), Ok(message));
    // Bits without a meaning are cleared once; from then on the octets are stable too.
    assert_eq!(emit(&message, header.form).as_deref(), Ok(&*emitted));

    let short = emit(&message, LengthForm::Short).expect("the short form is never longer");
    assert_eq!(short.len(), message.encoded_len());
    assert_eq!(Message::parse(&short), Ok(message));

    refuses_short_buffers(&message, header.form);
}

fn agrees(message: &Message<'_>, datagram: &[u8]) {
    let header = Header::parse(datagram).expect("a message has a head");
    assert_eq!(
        MessageType::from_code(header.type_code),
        Some(message.kind())
    );
    assert_eq!(message.encoded_len_in(header.form), datagram.len());
    match message {
        Message::Forward(forward) => {
            assert_eq!(header.form, LengthForm::Short);
            assert_eq!(header.length + forward.inner.len(), datagram.len());
            assert!(forward.radius <= 3);
        }
        _ => assert_eq!(header.length, datagram.len()),
    }
    match message {
        Message::Publish(publish) => long_name_is_part_of_payload(publish),
        Message::GwInfo(info) => assert!(info.gw_addr.ends_with(info.bare_addr())),
        _ => {}
    }
}

fn long_name_is_part_of_payload(publish: &Publish<'_>) {
    let Some((name, payload)) = publish.long_name() else {
        return;
    };
    assert_eq!(publish.qos, QoS::MinusOne);
    assert!(matches!(publish.topic, TopicRef::Normal(len) if usize::from(len.0) == name.len()));
    assert_eq!([name, payload].concat(), publish.payload);
}

fn refused_with_reason(error: WireError, datagram: &[u8]) {
    assert!(!error.name().is_empty() && !error.to_string().is_empty());
    match error {
        WireError::Buffer => panic!("reading has no buffer that could be too short"),
        WireError::Type(code) => assert_eq!(MessageType::from_code(code), None),
        WireError::Trailing => {
            let header = Header::parse(datagram).expect("the length was read");
            assert!(header.length < datagram.len());
        }
        _ => {}
    }
}

fn refuses_short_buffers(message: &Message<'_>, form: LengthForm) {
    let len = message.encoded_len_in(form);
    for short in [0, 1, len / 2, len - 1] {
        let mut buf = vec![0; short];
        assert_eq!(message.emit_in(form, &mut buf), Err(WireError::Buffer));
    }
}

fn emit(message: &Message<'_>, form: LengthForm) -> Result<Vec<u8>, WireError> {
    let mut buf = vec![0; message.encoded_len_in(form)];
    let len = message.emit_in(form, &mut buf)?;
    assert_eq!(len, buf.len());
    Ok(buf)
}
