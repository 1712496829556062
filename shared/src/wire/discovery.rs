//! Discovery: ADVERTISE, SEARCHGW, GWINFO [MQTT-SN 1.2 §5.4.1–5.4.3, §6.1].

use super::WireError;
use super::cursor::{Reader, Writer};

/// ADVERTISE: a gateway tells everyone that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Advertise {
    /// The gateway's id.
    pub gw_id: u8,
    /// Seconds until the next ADVERTISE.
    pub duration_s: u16,
}

impl Advertise {
    pub(super) fn parse(mut body: Reader<'_>) -> Result<Self, WireError> {
        let advertise = Self {
            gw_id: body.u8()?,
            duration_s: body.u16()?,
        };
        body.end(advertise)
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        w.u8(self.gw_id)?;
        w.u16(self.duration_s)
    }
}

/// SEARCHGW: a node looks for gateways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SearchGw {
    /// How far to broadcast, in hops; 0 is the whole network.
    pub radius: u8,
}

impl SearchGw {
    pub(super) fn parse(mut body: Reader<'_>) -> Result<Self, WireError> {
        let search = Self { radius: body.u8()? };
        body.end(search)
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        w.u8(self.radius)
    }
}

/// GWINFO: the answer to SEARCHGW.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GwInfo<'a> {
    /// The gateway's id.
    pub gw_id: u8,
    /// The gateway's address; empty when the gateway itself answers.
    pub gw_addr: &'a [u8],
}

impl<'a> GwInfo<'a> {
    /// Returns the address without a leading length octet (D-05): 4 or 16 octets as they are,
    /// or 5 or 17 octets whose first one counts the rest; anything else as it came.
    #[must_use]
    pub fn bare_addr(&self) -> &'a [u8] {
        match self.gw_addr {
            [len, rest @ ..] if matches!(rest.len(), 4 | 16) && usize::from(*len) == rest.len() => {
                rest
            }
            other => other,
        }
    }

    pub(super) fn parse(mut body: Reader<'a>) -> Result<Self, WireError> {
        Ok(Self {
            gw_id: body.u8()?,
            gw_addr: body.rest(),
        })
    }

    pub(super) fn emit(&self, w: &mut Writer<'_>) -> Result<(), WireError> {
        w.u8(self.gw_id)?;
        w.bytes(self.gw_addr)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_bare_or_behind_their_size() {
        let bare = |gw_addr| GwInfo { gw_id: 1, gw_addr }.bare_addr();
        assert_eq!(bare(&[10, 0, 0, 1]), [10, 0, 0, 1]);
        assert_eq!(bare(&[4, 10, 0, 0, 1]), [10, 0, 0, 1]);
        let mut long = [0x20; 17];
        long[0] = 16;
        assert_eq!(bare(&long), [0x20; 16]);
        assert_eq!(bare(&long[1..]), [0x20; 16]);
    }

    #[test]
    fn other_addresses_stay_as_they_came() {
        let bare = |gw_addr| GwInfo { gw_id: 1, gw_addr }.bare_addr();
        assert_eq!(bare(&[]), []);
        assert_eq!(bare(&[4]), [4]);
        // Five octets whose first one does not count the rest.
        assert_eq!(bare(&[5, 10, 0, 0, 1]), [5, 10, 0, 0, 1]);
        // A size that fits, of an address that no one has.
        assert_eq!(bare(&[2, 10, 0]), [2, 10, 0]);
    }
}
