//! A datagram taken apart: its head, its fields, and where it goes wrong.

use shared::wire::{Header, Message, MessageType, ReturnCode, ShortName, WireError};

use super::fault::{Fault, Stop, place};
use super::hex::printable;
use super::layout::Flag;
use super::walk::walk;

/// What is known of one datagram.
#[derive(Debug)]
pub(super) struct Dissection<'a> {
    /// The datagram as it came.
    pub(super) datagram: &'a [u8],
    /// The head, where it can be read.
    pub(super) header: Option<Header>,
    /// The type, where it is not reserved.
    pub(super) kind: Option<MessageType>,
    /// The fields up to the fault, in the order of the octets.
    pub(super) fields: Vec<Field<'a>>,
    /// The message inside an encapsulation.
    pub(super) inner: Option<Box<Self>>,
    /// Why this is no message.
    pub(super) fault: Option<Fault>,
}

/// A named field.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    pub(super) label: &'static str,
    pub(super) value: Value<'a>,
}

/// What a field holds.
#[derive(Clone, Copy, Debug)]
pub(super) enum Value<'a> {
    /// The flags octet and the flags that mean something.
    Flags {
        octet: u8,
        flags: &'static [Flag],
    },
    /// A number without further meaning.
    Number(u16),
    /// Hops.
    Radius(u8),
    /// The control octet of an encapsulation.
    Ctrl(u8),
    /// Seconds, and what they span.
    Duration {
        seconds: u16,
        span: &'static str,
    },
    /// A normal topic id.
    Normal(u16),
    /// A pre-defined topic id.
    Predefined(u16),
    /// A topic id in an answer, of any type.
    Answered(u16),
    /// A topic id of the reserved type.
    ReservedType(u16),
    /// A topic name in place of an id.
    Short(ShortName),
    ReturnCode(ReturnCode),
    Text(&'a [u8]),
    Bytes(&'a [u8]),
    Address(&'a [u8]),
    /// The whole body is left out, and what that means.
    Empty(&'static str),
    /// How a QoS −1 publication reads by the extension [`shared::wire::Publish::long_name`].
    LongName {
        name: &'a str,
        payload: &'a [u8],
    },
}

impl Dissection<'_> {
    /// Returns whether the datagram and all that is inside it are messages.
    pub(super) fn is_valid(&self) -> bool {
        self.fault.is_none() && self.inner.as_ref().is_none_or(|inner| inner.is_valid())
    }
}

/// Takes `datagram` apart.
pub(super) fn dissect(datagram: &[u8]) -> Dissection<'_> {
    dissect_at(datagram, 0, 0)
}

/// Takes a datagram apart that starts `base` octets into the outermost one and lies in `depth`
/// encapsulations.
fn dissect_at(datagram: &[u8], base: usize, depth: usize) -> Dissection<'_> {
    let error = Message::parse(datagram).err();
    let mut found = Dissection {
        datagram,
        header: Header::parse(datagram).ok(),
        kind: None,
        fields: Vec::new(),
        inner: None,
        fault: None,
    };
    let mut stop = None;
    if let Some(header) = found.header {
        found.kind = MessageType::from_code(header.type_code);
        if let (Some(kind), true) = (found.kind, error != Some(WireError::Length)) {
            let end = header.length.min(datagram.len());
            let body = datagram.get(header.len()..end).unwrap_or_default();
            (found.fields, stop) = walk(kind, body, header.len());
            found.inner = inner(&found, header.length, base, depth).map(Box::new);
        }
    }
    found.fields.extend(long_name(datagram));
    found.fault = error.map(|error| {
        let Stop { reason, offset } = place(error, &found, stop);
        Fault {
            error,
            reason,
            offset: base + offset,
        }
    });
    found
}

/// Takes apart what an encapsulation holds behind its node id.
fn inner<'a>(
    outer: &Dissection<'a>,
    head_len: usize,
    base: usize,
    depth: usize,
) -> Option<Dissection<'a>> {
    if outer.kind != Some(MessageType::Forward) || depth == FORWARD_DEPTH_MAX {
        return None;
    }
    let inner = outer.datagram.get(head_len..)?;
    (!inner.is_empty()).then(|| dissect_at(inner, base + head_len, depth + 1))
}

/// Returns the second reading of a QoS −1 publication, where the name looks like one.
fn long_name(datagram: &[u8]) -> Option<Field<'_>> {
    let Ok(Message::Publish(publish)) = Message::parse(datagram) else {
        return None;
    };
    let (name, payload) = publish.long_name()?;
    let name = printable(name)?;
    Some(Field {
        label: "long name",
        value: Value::LongName { name, payload },
    })
}

/// How many encapsulations are looked into; the gateway itself takes one (D-35), and a datagram
/// has room for twenty thousand.
const FORWARD_DEPTH_MAX: usize = 4;
