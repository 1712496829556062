//! The walk through a body, field by field along its layout.

use shared::wire::{MessageType, ReturnCode, ShortName};

use super::dissect::{Field, Value};
use super::fault::{Stop, are, left};
use super::hex::digits;
use super::layout::{Flag, Part, layout};

/// Reads the fields of a body that starts at `offset`, as far as it has its type's layout.
pub(super) fn walk(
    kind: MessageType,
    body: &[u8],
    offset: usize,
) -> (Vec<Field<'_>>, Option<Stop>) {
    let mut walk = Walk {
        rest: body,
        offset,
        flags: 0,
        fields: Vec::new(),
        topic_fault: None,
    };
    let stop = walk.body(kind).err().or(walk.topic_fault);
    (walk.fields, stop)
}

struct Walk<'a> {
    rest: &'a [u8],
    offset: usize,
    flags: u8,
    fields: Vec<Field<'a>>,
    /// A reserved topic id type; the parser reports a body that is too short before it.
    topic_fault: Option<Stop>,
}

impl<'a> Walk<'a> {
    fn body(&mut self, kind: MessageType) -> Result<(), Stop> {
        for part in layout(kind) {
            if let Part::Optional(meaning) = part {
                if self.rest.is_empty() {
                    if !meaning.is_empty() {
                        self.push("body", Value::Empty(meaning));
                    }
                    return Ok(());
                }
                continue;
            }
            self.part(*part)?;
        }
        if self.rest.is_empty() {
            return Ok(());
        }
        let over = left(self.rest.len());
        Err(self.stop(format!(
            "{} ends here, {over} over: {}",
            kind.name(),
            digits(self.rest)
        )))
    }

    fn part(&mut self, part: Part) -> Result<(), Stop> {
        let (label, value) = match part {
            Part::Flags(flags) => {
                let octet = self.octet("flags")?;
                self.flags = octet;
                ("flags", Value::Flags { octet, flags })
            }
            Part::Octet(label) => (label, Value::Number(self.octet(label)?.into())),
            Part::Number(label) => (label, Value::Number(self.number(label)?)),
            Part::Radius => ("radius", Value::Radius(self.octet("radius")?)),
            Part::Ctrl => ("ctrl", Value::Ctrl(self.octet("ctrl")?)),
            Part::Duration(span) => {
                let seconds = self.number("duration")?;
                ("duration", Value::Duration { seconds, span })
            }
            Part::TopicId => ("topic id", Value::Normal(self.number("topic id")?)),
            Part::AnsweredTopicId => ("topic id", Value::Answered(self.number("topic id")?)),
            Part::Topic => self.topic()?,
            Part::Filter => self.filter()?,
            Part::ReturnCode => {
                let code = ReturnCode::from_code(self.octet("return code")?);
                ("return code", Value::ReturnCode(code))
            }
            Part::Text(label) => (label, Value::Text(self.rest())),
            Part::Bytes(label) => (label, Value::Bytes(self.rest())),
            Part::Address => ("gw addr", Value::Address(self.rest())),
            Part::Optional(_) => return Ok(()),
        };
        self.push(label, value);
        Ok(())
    }

    fn topic(&mut self) -> Result<(&'static str, Value<'a>), Stop> {
        let octets = self.take::<2>("topic id")?;
        let id = u16::from_be_bytes(octets);
        Ok(match Flag::TopicIdType.of(self.flags) {
            0b00 => ("topic id", Value::Normal(id)),
            0b01 => ("topic id", Value::Predefined(id)),
            0b10 => ("topic name", Value::Short(ShortName(octets))),
            _ => {
                self.topic_fault = Some(reserved_topic_id_type(self.offset - 3));
                ("topic id", Value::ReservedType(id))
            }
        })
    }

    fn filter(&mut self) -> Result<(&'static str, Value<'a>), Stop> {
        Ok(match Flag::TopicIdType.of(self.flags) {
            0b00 => ("topic name", Value::Text(self.rest())),
            0b01 => ("topic id", Value::Predefined(self.number("topic id")?)),
            0b10 => {
                let name = ShortName(self.take::<2>("topic name")?);
                ("topic name", Value::Short(name))
            }
            _ => return Err(reserved_topic_id_type(self.offset - 3)),
        })
    }

    fn octet(&mut self, label: &str) -> Result<u8, Stop> {
        self.take::<1>(label).map(|[octet]| octet)
    }

    fn number(&mut self, label: &str) -> Result<u16, Stop> {
        self.take(label).map(u16::from_be_bytes)
    }

    fn take<const N: usize>(&mut self, label: &str) -> Result<[u8; N], Stop> {
        let Some((octets, rest)) = self.rest.split_first_chunk::<N>() else {
            let reason = match self.rest {
                [] => format!("the {label} is missing"),
                cut => format!(
                    "the {label} has {N} octets, {} there: {}",
                    are(cut.len()),
                    digits(cut)
                ),
            };
            return Err(self.stop(reason));
        };
        self.rest = rest;
        self.offset += N;
        Ok(*octets)
    }

    const fn rest(&mut self) -> &'a [u8] {
        let rest = self.rest;
        self.rest = &[];
        self.offset += rest.len();
        rest
    }

    fn push(&mut self, label: &'static str, value: Value<'a>) {
        self.fields.push(Field { label, value });
    }

    const fn stop(&self, reason: String) -> Stop {
        Stop {
            reason,
            offset: self.offset,
        }
    }
}

fn reserved_topic_id_type(offset: usize) -> Stop {
    Stop {
        reason: "the flags hold the topic id type 11".to_owned(),
        offset,
    }
}
