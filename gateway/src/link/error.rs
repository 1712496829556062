//! Why a link cannot be opened, and what to do.

use std::io;
use std::net::SocketAddr;

use nix::libc::{ENODEV, ENXIO};

use crate::config::GroupTrouble;

/// A link cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LinkError {
    /// The socket cannot be bound.
    #[error(
        "link {name}: cannot listen on UDP {address}: {source}{}",
        bind_hint(source)
    )]
    Bind {
        /// The link's name.
        name: String,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The socket cannot be made or set up.
    #[error("link {name}: cannot set up the socket for UDP {address}: {source}")]
    Socket {
        /// The link's name.
        name: String,
        /// The address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// A group cannot be joined or sent to.
    #[error(
        "link {name}: cannot use the group {group}: {source}{}",
        group_hint(source)
    )]
    Group {
        /// The link's name.
        name: String,
        /// The group.
        group: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The groups do not go with where the link listens.
    #[error("link {name}: {trouble}")]
    Groups {
        /// The link's name.
        name: String,
        /// Why.
        trouble: GroupTrouble,
    },
    /// The link cannot be paced so.
    #[error("link {name}: {trouble}")]
    Pacing {
        /// The link's name.
        name: String,
        /// Why.
        trouble: String,
    },
}

fn group_hint(source: &io::Error) -> &'static str {
    let is_no_device = matches!(source.raw_os_error(), Some(ENODEV | ENXIO));
    match source.kind() {
        _ if is_no_device => NO_SUCH_INTERFACE,
        io::ErrorKind::AddrInUse => {
            "; another program listens there and does not share it (ss -lunp shows which): end \
             it or take another port"
        }
        io::ErrorKind::AddrNotAvailable => NO_SUCH_INTERFACE,
        io::ErrorKind::InvalidInput => {
            "; a group of this scope needs an interface: set multicast.interface"
        }
        _ => "; has the interface an address of that kind, and is it up? (ip address shows it)",
    }
}

const NO_SUCH_INTERFACE: &str =
    "; no interface is that one (ip address shows them): change multicast.interface";

fn bind_hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::AddrInUse => {
            "; another program listens there (ss -lunp shows which): end it or change listen"
        }
        io::ErrorKind::AddrNotAvailable => {
            "; no interface has this address (ip address shows them): change listen"
        }
        io::ErrorKind::PermissionDenied => {
            "; ports below 1024 need CAP_NET_BIND_SERVICE: grant it or take a higher port"
        }
        _ => "",
    }
}
