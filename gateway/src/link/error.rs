//! Why a link cannot be opened, and what to do.

use std::io;
use std::net::SocketAddr;

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
}

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
