//! Dissections for programs: one JSON object a datagram.
//!
//! The keys are the labels with `_` for the space, `duration_s` for the unit; octets are hex.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};
use shared::wire::LengthForm;

use super::dissect::{Dissection, Field, Value};
use super::frames::BrokenFrame;
use super::hex::{digits, printable};
use super::human::{address, qos, topic_id_type};
use super::layout::Flag;
use super::report::{Origin, Unreadable};

/// Writes what was found in a datagram as one line.
pub(super) fn write(
    out: &mut impl Write,
    origin: &Origin,
    found: &Result<Dissection<'_>, Unreadable>,
) -> io::Result<()> {
    serde_json::to_writer(&mut *out, &Entry { origin, found })?;
    writeln!(out)
}

struct Entry<'a> {
    origin: &'a Origin,
    found: &'a Result<Dissection<'a>, Unreadable>,
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        match self.origin {
            Origin::Argument(number) => map.serialize_entry("argument", number)?,
            Origin::Line { of, number } => {
                map.serialize_entry("source", of)?;
                map.serialize_entry("line", number)?;
            }
        }
        match self.found {
            Ok(found) => dissection(&mut map, found)?,
            Err(Unreadable::Hex(error)) => {
                map.serialize_entry("valid", &false)?;
                map.serialize_entry("error", "hex")?;
                map.serialize_entry("reason", &error.to_string())?;
            }
            Err(Unreadable::Frame(BrokenFrame { flaw, octets })) => {
                map.serialize_entry("frame", &digits(octets))?;
                map.serialize_entry("octets", &octets.len())?;
                map.serialize_entry("valid", &false)?;
                map.serialize_entry("error", flaw.name())?;
                map.serialize_entry("reason", &flaw.to_string())?;
            }
        }
        map.end()
    }
}

impl Serialize for Dissection<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        dissection(&mut map, self)?;
        map.end()
    }
}

fn dissection<M: SerializeMap>(map: &mut M, found: &Dissection<'_>) -> Result<(), M::Error> {
    map.serialize_entry("hex", &digits(found.datagram))?;
    map.serialize_entry("octets", &found.datagram.len())?;
    map.serialize_entry("valid", &found.is_valid())?;
    if let Some(kind) = found.kind {
        map.serialize_entry("type", kind.name())?;
    }
    if let Some(header) = found.header {
        map.serialize_entry("type_code", &header.type_code)?;
        let form = match header.form {
            LengthForm::Short => "short",
            LengthForm::Long => "long",
        };
        map.serialize_entry("length_form", form)?;
        map.serialize_entry("length", &header.length)?;
        map.serialize_entry("fields", &Fields(&found.fields))?;
    }
    if let Some(fault) = &found.fault {
        map.serialize_entry("error", fault.error.name())?;
        map.serialize_entry("reason", &fault.reason)?;
        map.serialize_entry("offset", &fault.offset)?;
    }
    match &found.inner {
        Some(inner) => map.serialize_entry("inner", inner),
        None => Ok(()),
    }
}

struct Fields<'a>(&'a [Field<'a>]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for Field { label, value } in self.0 {
            entries(&mut map, &label.replace(' ', "_"), *value)?;
        }
        map.end()
    }
}

fn entries<M: SerializeMap>(map: &mut M, key: &str, value: Value<'_>) -> Result<(), M::Error> {
    match value {
        Value::Flags { octet, flags } => {
            map.serialize_entry(key, &octet)?;
            flags
                .iter()
                .try_for_each(|flag| flag_entry(map, *flag, octet))
        }
        Value::Number(number)
        | Value::Normal(number)
        | Value::Predefined(number)
        | Value::Answered(number)
        | Value::ReservedType(number) => map.serialize_entry(key, &number),
        Value::Radius(hops) => map.serialize_entry(key, &hops),
        Value::Ctrl(octet) => map.serialize_entry("radius", &(octet & 0b11)),
        Value::Duration { seconds, .. } => map.serialize_entry("duration_s", &seconds),
        Value::Short(name) => {
            map.serialize_entry("topic_id", &u16::from_be_bytes(name.0))?;
            text(map, key, &name.0)
        }
        Value::ReturnCode(code) => {
            map.serialize_entry(key, &code.code())?;
            map.serialize_entry("return_meaning", &code.to_string())
        }
        Value::Text(octets) => text(map, key, octets),
        Value::Bytes(octets) => bytes(map, key, octets),
        Value::Address(octets) => {
            map.serialize_entry(key, &digits(octets))?;
            match address(octets) {
                Some(address) => map.serialize_entry("gw_addr_text", &address),
                None => Ok(()),
            }
        }
        Value::Empty(_) => map.serialize_entry("empty", &true),
        Value::LongName { name, payload } => map.serialize_entry(key, &LongName { name, payload }),
    }
}

fn flag_entry<M: SerializeMap>(map: &mut M, flag: Flag, octet: u8) -> Result<(), M::Error> {
    let set = flag.of(octet) != 0;
    match flag {
        Flag::Dup => map.serialize_entry("dup", &set),
        Flag::Qos => map.serialize_entry("qos", &qos(octet)),
        Flag::Retain => map.serialize_entry("retain", &set),
        Flag::Will => map.serialize_entry("will", &set),
        Flag::Clean => map.serialize_entry("clean", &set),
        Flag::TopicIdType => map.serialize_entry("topic_id_type", topic_id_type(octet)),
    }
}

/// Writes a name: as text, or as hex under a key of its own where it is none.
fn text<M: SerializeMap>(map: &mut M, key: &str, octets: &[u8]) -> Result<(), M::Error> {
    match std::str::from_utf8(octets) {
        Ok(text) => map.serialize_entry(key, text),
        Err(_) => map.serialize_entry(&format!("{key}_hex"), &digits(octets)),
    }
}

/// Writes octets as hex, and beside that as text where they are some.
fn bytes<M: SerializeMap>(map: &mut M, key: &str, octets: &[u8]) -> Result<(), M::Error> {
    map.serialize_entry(key, &digits(octets))?;
    match printable(octets) {
        Some(text) => map.serialize_entry(&format!("{key}_text"), text),
        None => Ok(()),
    }
}

struct LongName<'a> {
    name: &'a str,
    payload: &'a [u8],
}

impl Serialize for LongName<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("topic_name", self.name)?;
        bytes(&mut map, "payload", self.payload)?;
        map.end()
    }
}
