//! Free ports, and what the kernel dropped at them.

use std::hash::{BuildHasher, RandomState};
use std::net::{TcpListener, UdpSocket};

use anyhow::{Context, Result};

/// Where ports are taken from: below the range that Linux gives to sockets that did not ask for
/// a port. One from that range may be given to somebody else between its choice and its use, or
/// while a broker is restarted on it.
const PORTS: std::ops::Range<u16> = 20_000..32_000;

/// Returns a TCP port of the loopback that was free a moment ago.
///
/// # Errors
/// Where no port is free.
pub fn free_tcp_port() -> Result<u16> {
    free_port(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()).context("no free TCP port")
}

/// Returns a UDP port of the loopback that was free a moment ago.
///
/// # Errors
/// Where no port is free.
pub fn free_udp_port() -> Result<u16> {
    free_port(|port| UdpSocket::bind(("127.0.0.1", port)).is_ok()).context("no free UDP port")
}

/// Tries the ports in turn from a random one on, so that tests that run at the same time in
/// other processes try others.
fn free_port(is_free: impl Fn(u16) -> bool) -> Option<u16> {
    let start = RandomState::new().hash_one(std::process::id());
    let len = u64::from(PORTS.end - PORTS.start);
    (0..len)
        .filter_map(|step| u16::try_from(start.wrapping_add(step) % len).ok())
        .map(|offset| PORTS.start + offset)
        .find(|port| is_free(*port))
}

/// Returns how many datagrams the kernel dropped because the socket at `port` was full.
///
/// # Errors
/// Where `/proc/net/udp` cannot be read, or no UDP socket is bound to `port`.
pub fn udp_drops(port: u16) -> Result<u64> {
    let mut drops = None;
    for table in ["/proc/net/udp", "/proc/net/udp6"] {
        // A kernel without IPv6 has no second table.
        let Ok(text) = std::fs::read_to_string(table) else {
            continue;
        };
        if let Some(found) = drops_in(&text, port) {
            drops = Some(drops.unwrap_or(0) + found);
        }
    }
    drops.with_context(|| format!("no UDP socket is bound to port {port}"))
}

/// Sums the drop counters of the rows whose local port is `port`.
fn drops_in(table: &str, port: u16) -> Option<u64> {
    let rows = table.lines().skip(1).filter_map(|row| {
        let columns: Vec<&str> = row.split_whitespace().collect();
        let (_, local_port) = columns.get(1)?.rsplit_once(':')?;
        (u16::from_str_radix(local_port, 16).ok()? == port)
            .then(|| columns.last()?.parse::<u64>().ok())?
    });
    rows.fold(None, |sum, drops| Some(sum.unwrap_or(0) + drops))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  155: 0100007F:2710 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4711 2 0000000000000000 17
  156: 00000000:2711 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 4712 2 0000000000000000 0
";

    #[test]
    fn drops_are_read_from_the_row_of_the_port() {
        assert_eq!(drops_in(TABLE, 10_000), Some(17));
        assert_eq!(drops_in(TABLE, 10_001), Some(0));
        assert_eq!(drops_in(TABLE, 10_002), None);
    }

    #[test]
    fn a_flooded_socket_counts_its_drops() {
        let deaf = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        let port = deaf.local_addr().unwrap().port();
        assert_eq!(udp_drops(port).unwrap(), 0);
        let sender = UdpSocket::bind(("127.0.0.1", 0)).unwrap();
        for _ in 0..5_000 {
            sender.send_to(&[0; 1_000], ("127.0.0.1", port)).unwrap();
        }
        assert!(udp_drops(port).unwrap() > 0, "the kernel kept 5 MB");
    }
}
