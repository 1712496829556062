//! What a process has used: processor time and memory, from `/proc`.

use std::time::Duration;

use anyhow::{Context, Result};

/// The processor time and memory of a process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Processor time since the process started, user and system.
    pub cpu: Duration,
    /// Memory in use now (resident set), in KiB.
    pub rss_kib: u64,
    /// The most memory that was ever in use, in KiB.
    pub rss_max_kib: u64,
}

impl Usage {
    /// Reads the usage of the process `pid`.
    ///
    /// # Errors
    /// Where the process is gone or `/proc` does not have the expected form.
    pub fn of(pid: u32) -> Result<Self> {
        let read = |file: &str| {
            let path = format!("/proc/{pid}/{file}");
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
        };
        let status = read("status")?;
        Ok(Self {
            cpu: cpu_of(&read("stat")?).context("/proc/PID/stat has an unknown form")?,
            rss_kib: kib_of(&status, "VmRSS:").context("/proc/PID/status names no VmRSS")?,
            rss_max_kib: kib_of(&status, "VmHWM:").context("/proc/PID/status names no VmHWM")?,
        })
    }
}

fn cpu_of(stat: &str) -> Option<Duration> {
    // The second field is the program's name in brackets and may hold spaces.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * TICK_MS))
}

fn kib_of(status: &str, key: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The length of a tick in `/proc/PID/stat`, in milliseconds: USER_HZ is 100 in the interface
/// of every architecture that the gateway runs on, whatever the kernel's own clock is.
const TICK_MS: u64 = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_and_brackets_does_not_shift_the_fields() {
        let stat = "42 (a) b (c)) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 1 0 9 0 0";
        assert_eq!(cpu_of(stat), Some(Duration::from_secs(2)));
    }

    #[test]
    fn this_process_uses_memory_and_time() {
        let start = std::time::Instant::now();
        let mut sum = 0_u64;
        while start.elapsed() < Duration::from_millis(100) {
            sum = std::hint::black_box(sum.wrapping_add(1));
        }
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.rss_kib > 100 && usage.rss_max_kib >= usage.rss_kib);
        assert!(usage.cpu >= Duration::from_millis(20), "{usage:?}");
    }
}
