//! The network interfaces of this host, as far as groups need them.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use nix::ifaddrs::getifaddrs;
use nix::net::if_::{if_indextoname, if_nametoindex};
use nix::sys::socket::SockaddrStorage;

use crate::config::NetInterface;

/// An interface in the two forms in which the kernel wants it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    /// An IPv4 address of it; unspecified where the kernel shall choose.
    pub(super) v4: Ipv4Addr,
    /// Its number; 0 where the kernel shall choose.
    pub(super) v6: u32,
}

impl Interface {
    /// Finds the configured interface, or the one of the address that the link listens on.
    pub(super) fn find(wanted: Option<&NetInterface>, listen: SocketAddr) -> io::Result<Self> {
        let chosen_by_kernel = Self {
            v4: Ipv4Addr::UNSPECIFIED,
            v6: 0,
        };
        match wanted {
            None if listen.ip().is_unspecified() => Ok(chosen_by_kernel),
            None => Self::of_address(listen.ip()),
            Some(NetInterface::Address(address)) => Self::of_address(*address),
            Some(NetInterface::Name(name)) => Self::of_name(name),
            Some(NetInterface::Index(index)) => {
                let name = if_indextoname(*index)?;
                Self::of_name(&name.to_string_lossy())
            }
        }
    }

    fn of_address(address: IpAddr) -> io::Result<Self> {
        let name = addresses()?.find_map(|(name, own)| (own == address).then_some(name));
        let mut interface = Self::of_name(&name.ok_or(io::ErrorKind::AddrNotAvailable)?)?;
        // It may have several addresses; this is the one that others shall see.
        if let IpAddr::V4(address) = address {
            interface.v4 = address;
        }
        Ok(interface)
    }

    fn of_name(name: &str) -> io::Result<Self> {
        let index = if_nametoindex(name)?;
        let v4 = addresses()?.find_map(|(own, address)| match address {
            IpAddr::V4(address) if own == name => Some(address),
            _ => None,
        });
        Ok(Self {
            v4: v4.unwrap_or(Ipv4Addr::UNSPECIFIED),
            v6: index,
        })
    }
}

/// Returns every address of this host.
pub(super) fn own_addresses() -> io::Result<HashSet<IpAddr>> {
    Ok(addresses()?.map(|(_, address)| address).collect())
}

fn addresses() -> io::Result<impl Iterator<Item = (String, IpAddr)>> {
    let interfaces = getifaddrs()?;
    Ok(interfaces.filter_map(|it| Some((it.interface_name, ip(&it.address?)?))))
}

fn ip(address: &SockaddrStorage) -> Option<IpAddr> {
    let v4 = address.as_sockaddr_in().map(|it| it.ip().into());
    v4.or_else(|| address.as_sockaddr_in6().map(|it| it.ip().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_found_by_all_its_names() {
        let any: SocketAddr = "0.0.0.0:0".parse().unwrap();
        let index = if_nametoindex("lo").unwrap();
        let lo = Interface {
            v4: Ipv4Addr::LOCALHOST,
            v6: index,
        };
        for wanted in ["lo", "127.0.0.1", "::1", &index.to_string()] {
            let Ok(wanted) = wanted.parse::<NetInterface>();
            assert_eq!(Interface::find(Some(&wanted), any).unwrap(), lo, "{wanted}");
        }
        let listen = "127.0.0.1:1".parse().unwrap();
        assert_eq!(Interface::find(None, listen).unwrap(), lo);
        assert_eq!(Interface::find(None, any).unwrap().v6, 0);
        assert!(own_addresses().unwrap().contains(&lo.v4.into()));
    }

    #[test]
    fn an_interface_that_is_not_there_is_not_replaced_by_another() {
        let any: SocketAddr = "0.0.0.0:0".parse().unwrap();
        for wanted in ["nosuchif0", "192.0.2.77", "4294967295"] {
            let Ok(wanted) = wanted.parse::<NetInterface>();
            assert!(Interface::find(Some(&wanted), any).is_err(), "{wanted}");
        }
    }
}
