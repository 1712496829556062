//! What the kernel has thrown away, as /proc tells it.

use std::io;
use std::os::fd::AsFd;

/// The kernel's drop counter of one UDP socket.
#[derive(Debug)]
pub(super) struct KernelDrops {
    table: &'static str,
    inode: u64,
    last: u64,
}

impl KernelDrops {
    /// Finds the socket's counter.
    pub(super) fn of(socket: impl AsFd, is_ipv6: bool) -> io::Result<Self> {
        let stat = nix::sys::stat::fstat(socket)?;
        let mut drops = Self {
            table: if is_ipv6 {
                "/proc/net/udp6"
            } else {
                "/proc/net/udp"
            },
            inode: stat.st_ino,
            last: 0,
        };
        drops.poll()?;
        Ok(drops)
    }

    /// Returns the datagrams thrown away since the last call.
    pub(super) fn poll(&mut self) -> io::Result<u64> {
        let table = std::fs::read_to_string(self.table)?;
        let total = find(&table, self.inode).ok_or(io::ErrorKind::NotFound)?;
        let new = total.saturating_sub(self.last);
        self.last = total;
        Ok(new)
    }
}

/// Finds the last column, the drops, of the socket's line.
fn find(table: &str, inode: u64) -> Option<u64> {
    table.lines().skip(1).find_map(|line| {
        let mut columns = line.split_ascii_whitespace().skip(INODE_COLUMN);
        let own: u64 = columns.next()?.parse().ok()?;
        (own == inode).then(|| columns.nth(DROPS_AFTER_INODE)?.parse().ok())?
    })
}

/// The column of the inode (net/ipv4/udp.c, `udp4_format_sock`).
const INODE_COLUMN: usize = 9;
/// Between the inode and the drops stand the reference count and the socket's address.
const DROPS_AFTER_INODE: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_inode_counts() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  468: 0100007F:0035 00000000:0000 07 00000000:00000000 00:00000000 00000000   101        0 20311 2 0000000000000000 3
 1211: 00000000:2710 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 74055 2 0000000000000000 4711
";
        assert_eq!(find(table, 74055), Some(4711));
        assert_eq!(find(table, 20311), Some(3));
        assert_eq!(find(table, 1), None);
        assert_eq!(find("", 1), None);
    }
}
