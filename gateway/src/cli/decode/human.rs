//! Dissections for people: a line for the message, a line for each field.

use std::fmt;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

use shared::wire::{GwInfo, LengthForm, MessageType, QoS};

use super::dissect::{Dissection, Field, Value};
use super::fault::count;
use super::frames::BrokenFrame;
use super::hex::{digits, printable};
use super::layout::Flag;
use super::report::{Origin, Unreadable};

/// Writes what was found in a datagram, apart from the one before where there is one.
pub(super) fn write(
    out: &mut impl Write,
    follows: bool,
    origin: &Origin,
    found: &Result<Dissection<'_>, Unreadable>,
) -> io::Result<()> {
    if follows {
        writeln!(out)?;
    }
    match (found, origin) {
        (Err(Unreadable::Hex(error)), _) => writeln!(out, "{origin}: not hex: {error}"),
        (Err(Unreadable::Frame(BrokenFrame { flaw, octets })), _) => {
            let (len, octets) = (count(octets.len()), digits(octets));
            writeln!(out, "{origin}: broken frame: {flaw}  {octets}  ({len})")
        }
        (Ok(found), Origin::Argument(_)) => dissection(out, "", found),
        (Ok(found), Origin::Line { .. }) => {
            write!(out, "{origin}: ")?;
            dissection(out, "", found)
        }
    }
}

fn dissection(out: &mut impl Write, indent: &str, found: &Dissection<'_>) -> io::Result<()> {
    writeln!(out, "{}", Title(found))?;
    let indent = format!("{indent}  ");
    for Field { label, value } in &found.fields {
        writeln!(out, "{indent}{label:<LABEL_WIDTH$}{value}")?;
    }
    if let Some(fault) = &found.fault {
        let name = fault.error.name();
        writeln!(
            out,
            "{indent}{:<LABEL_WIDTH$}{name}: {}",
            "invalid", fault.error
        )?;
        writeln!(out, "{indent}{:<LABEL_WIDTH$}{}", "reason", fault.reason)?;
        writeln!(out, "{indent}{:<LABEL_WIDTH$}{}", "offset", fault.offset)?;
    }
    if let Some(inner) = &found.inner {
        write!(out, "{indent}")?;
        dissection(out, &indent, inner)?;
    }
    Ok(())
}

/// The first line: type, size, length field.
struct Title<'a>(&'a Dissection<'a>);

impl fmt::Display for Title<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(found) = self;
        let octets = count(found.datagram.len());
        let Some(header) = found.header else {
            return write!(f, "NO MESSAGE  {octets}  {}", digits(found.datagram));
        };
        match found.kind {
            Some(kind) => f.write_str(kind.name())?,
            None => write!(f, "TYPE 0x{:02x}", header.type_code)?,
        }
        let form = match header.form {
            LengthForm::Short => "short",
            LengthForm::Long => "long",
        };
        write!(f, "  {octets}, {form} length")?;
        // The length field of an encapsulation ends with the node id [MQTT-SN 1.2 §5.5].
        if found.kind == Some(MessageType::Forward) {
            write!(f, " {} up to the inner message", header.length)
        } else if header.length != found.datagram.len() {
            write!(f, " {}", header.length)
        } else {
            Ok(())
        }
    }
}

impl fmt::Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Flags { octet, flags } => write_flags(f, octet, flags),
            Self::Number(number) => write!(f, "{number}"),
            Self::Radius(0) => f.write_str("0  the whole network"),
            Self::Radius(1) => f.write_str("1  hop"),
            Self::Radius(hops) => write!(f, "{hops}  hops"),
            Self::Ctrl(octet) => write!(f, "0x{octet:02x}  radius {}", octet & 0b11),
            Self::Duration { seconds, span } => write!(f, "{seconds} s  {span}"),
            Self::Normal(id) => write!(f, "{id}{}", reserved_id(id)),
            Self::Predefined(id) => write!(f, "{id}  predefined{}", reserved_id(id)),
            Self::Answered(id) => match printable(&id.to_be_bytes()) {
                Some(name) => write!(f, "{id}  or the short name {name:?}"),
                None => write!(f, "{id}{}", reserved_id(id)),
            },
            Self::ReservedType(id) => write!(f, "{id}  of the reserved type"),
            Self::Short(name) => match name.as_str() {
                Some(text) => write!(f, "{text:?}  short (0x{})", digits(&name.0)),
                None => write!(f, "0x{}  short, not UTF-8", digits(&name.0)),
            },
            Self::ReturnCode(code) => write!(f, "{}  {code}", code.code()),
            Self::Text(octets) => match std::str::from_utf8(octets) {
                Ok(text) => write!(f, "{text:?}  ({})", count(octets.len())),
                Err(_) => write!(
                    f,
                    "{}  not UTF-8  ({})",
                    digits(octets),
                    count(octets.len())
                ),
            },
            Self::Bytes(octets) => write_bytes(f, octets),
            Self::Address(octets) => write_address(f, octets),
            Self::Empty(meaning) => write!(f, "empty  {meaning}"),
            Self::LongName { name, payload } => {
                write!(
                    f,
                    "or, by the QoS -1 extension, topic {name:?} and payload "
                )?;
                write_bytes(f, payload)
            }
        }
    }
}

fn write_flags(f: &mut fmt::Formatter<'_>, octet: u8, flags: &[Flag]) -> fmt::Result {
    write!(f, "0x{octet:02x}")?;
    let mut separator = "  ";
    for flag in flags {
        f.write_str(separator)?;
        separator = ", ";
        match flag {
            Flag::Dup => write!(f, "dup {}", flag.of(octet))?,
            Flag::Qos => write!(f, "qos {}", qos(octet))?,
            Flag::Retain => write!(f, "retain {}", flag.of(octet))?,
            Flag::Will => write!(f, "will {}", flag.of(octet))?,
            Flag::Clean => write!(f, "clean {}", flag.of(octet))?,
            Flag::TopicIdType => write!(f, "topic id type {}", topic_id_type(octet))?,
        }
    }
    let known = flags.iter().fold(0, |known, flag| known | flag.mask());
    match octet & !known {
        0 => Ok(()),
        ignored => write!(f, "{separator}0x{ignored:02x} ignored"),
    }
}

fn write_bytes(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    match (octets, printable(octets)) {
        ([], _) => f.write_str("empty"),
        (_, Some(text)) => write!(f, "{}  {text:?}  ({})", digits(octets), count(octets.len())),
        (_, None) => write!(f, "{}  ({})", digits(octets), count(octets.len())),
    }
}

fn write_address(f: &mut fmt::Formatter<'_>, octets: &[u8]) -> fmt::Result {
    match (octets, address(octets)) {
        ([], _) => f.write_str("none: the gateway itself answers"),
        (_, Some(address)) => write!(f, "{}  {address}", digits(octets)),
        (_, None) => write!(f, "{}  ({})", digits(octets), count(octets.len())),
    }
}

/// Returns the address in the notation of its family.
pub(super) fn address(octets: &[u8]) -> Option<String> {
    let info = GwInfo {
        gw_id: 0,
        gw_addr: octets,
    };
    let bare = info.bare_addr();
    if let Ok(octets) = <[u8; 4]>::try_from(bare) {
        return Some(Ipv4Addr::from(octets).to_string());
    }
    let octets = <[u8; 16]>::try_from(bare).ok()?;
    Some(Ipv6Addr::from(octets).to_string())
}

/// Returns the quality of service in `flags`, −1 to 2.
pub(super) const fn qos(flags: u8) -> i8 {
    match Flag::Qos.of(flags) {
        0 => QoS::AtMostOnce.level(),
        1 => QoS::AtLeastOnce.level(),
        2 => QoS::ExactlyOnce.level(),
        _ => QoS::MinusOne.level(),
    }
}

/// Returns the name of the topic id type in `flags`.
pub(super) const fn topic_id_type(flags: u8) -> &'static str {
    match Flag::TopicIdType.of(flags) {
        0b00 => "normal",
        0b01 => "predefined",
        0b10 => "short",
        _ => "reserved",
    }
}

const fn reserved_id(id: u16) -> &'static str {
    match id {
        0 => "  none",
        0xFFFF => "  reserved",
        _ => "",
    }
}

const LABEL_WIDTH: usize = 13;
