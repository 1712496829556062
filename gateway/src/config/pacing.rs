//! How fast a link may be sent to: what a slow, shared or regulated channel can take.

use shared::fault::{Airtime, LoRa};
use shared::frame::frame_len_max;
use shared::time::Duration;

use super::reader::Section;

/// How fast a link may be sent to, and what may wait for it.
///
/// Without it a link takes datagrams as fast as its socket or line does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacingConfig {
    /// The octets a second that the channel carries; `None` where nothing but `lora` and
    /// `frame_time` says how long a frame takes.
    pub rate_bytes_per_s: Option<u32>,
    /// The radio, where it is a LoRa one: its frames take as long as the data sheet says.
    pub lora: Option<LoRa>,
    /// What every frame has on the channel beside its datagram, in octets.
    pub frame_overhead_bytes: usize,
    /// What every frame costs beside its octets: preamble, key-up, the set-up of a session.
    pub frame_time: Duration,
    /// The octets that may go at once before the rate holds: what the modem has room for. It
    /// says nothing where a `guard` or `lora` makes the link send one frame at a time.
    pub burst_bytes: u32,
    /// The share of every hour in which the link may be on the air, in thousandths; 1000 sets
    /// no bound. In the 868 MHz band it is 10 or less in most places (EN 300 220-2, annex B).
    pub duty_cycle_permille: u16,
    /// The time on the air that may be used up at once before the duty cycle holds; the time
    /// of one frame of `max_message` octets at least. What may go at once is taken from what
    /// may go steadily, so that no hour has more than its share.
    pub duty_burst: Duration,
    /// The half-duplex guard: how long the link keeps quiet after a frame of its own, so that
    /// its node can answer, and after a datagram from a node.
    pub guard: Duration,
    /// The most octets that wait, overhead included.
    pub queue_bytes_max: usize,
}

/// The overhead of a frame where nothing is configured, in octets: that of our own framing on
/// a quiet line (a delimiter on either side, CRC and stuffing).
pub const DEFAULT_FRAME_OVERHEAD_BYTES: usize = frame_len_max(128) - 128;
/// The octets that wait where nothing is configured: a few dozen frames.
pub const DEFAULT_PACING_QUEUE_BYTES: usize = 4096;
/// A duty cycle without a bound, in thousandths.
pub const DUTY_CYCLE_FREE: u16 = 1000;

impl Default for PacingConfig {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl PacingConfig {
    pub(super) const DEFAULT: Self = Self {
        rate_bytes_per_s: None,
        lora: None,
        frame_overhead_bytes: DEFAULT_FRAME_OVERHEAD_BYTES,
        frame_time: Duration::ZERO,
        burst_bytes: 0,
        duty_cycle_permille: DUTY_CYCLE_FREE,
        duty_burst: Duration::ZERO,
        guard: Duration::ZERO,
        queue_bytes_max: DEFAULT_PACING_QUEUE_BYTES,
    };

    /// Returns how long the frame of a datagram of `len` octets is on the air, in microseconds.
    #[must_use]
    pub fn airtime_us(&self, len: usize) -> u64 {
        let octets = len.saturating_add(self.frame_overhead_bytes);
        let radio = self
            .lora
            .map_or(0, |lora| Airtime::LoRa(lora).micros(octets));
        let line = self.rate_us(octets);
        // The slower one holds: a modem behind a slow line is no faster than the line.
        radio
            .max(line)
            .saturating_add(self.frame_time.as_millis().saturating_mul(1000))
    }

    /// Returns how long `octets` octets take at the configured rate, in microseconds.
    #[must_use]
    pub fn rate_us(&self, octets: usize) -> u64 {
        self.rate_bytes_per_s.map_or(0, |bytes_per_second| {
            let rate = Airtime::Linear {
                bits_per_second: bytes_per_second.saturating_mul(8),
                bits_per_octet: 8,
                overhead_us: 0,
            };
            rate.micros(octets)
        })
    }

    /// Returns whether the link sends one frame at a time, and waits for its end.
    #[must_use]
    pub const fn one_at_a_time(&self) -> bool {
        self.lora.is_some() || self.guard.as_millis() > 0
    }

    /// Returns the time on the air that may be used up at once, in microseconds, where the
    /// duty cycle is bounded and the largest datagram has `max_message` octets.
    #[must_use]
    pub fn duty_burst_us(&self, max_message: usize) -> u64 {
        let burst = self.duty_burst.as_millis().saturating_mul(1000);
        burst.max(self.airtime_us(max_message))
    }

    /// Returns the time on the air that every hour may have, in microseconds.
    #[must_use]
    pub const fn duty_hour_us(&self) -> u64 {
        HOUR_US / 1000 * self.duty_cycle_permille as u64
    }

    /// Returns why a link cannot be paced so whose datagrams have up to `max_message` octets,
    /// if it cannot.
    #[must_use]
    pub fn trouble(&self, max_message: usize) -> Option<String> {
        let frame = max_message.saturating_add(self.frame_overhead_bytes);
        if self.queue_bytes_max < frame {
            return Some(format!(
                "a queue of {} octets has no room for a frame of max_message = {max_message}, \
                 which takes {frame}",
                self.queue_bytes_max
            ));
        }
        let hour = self.duty_hour_us();
        let burst = self.duty_burst_us(max_message);
        // What is left is what the link can send in the long run.
        if self.duty_cycle_permille < DUTY_CYCLE_FREE && burst >= hour {
            return Some(format!(
                "a duty cycle of {} in 1000 is {} s an hour, and the largest frame or the burst \
                 alone takes {} s: lower max_message or the burst, or take a faster radio",
                self.duty_cycle_permille,
                hour / 1_000_000,
                burst.div_ceil(1_000_000)
            ));
        }
        None
    }
}

impl PacingConfig {
    /// Reads the pacing of a link, over that of its preset. There is none where neither says any.
    pub(super) fn read(
        section: &mut Section<'_, '_>,
        preset: Option<Self>,
        max_message: usize,
    ) -> Option<Self> {
        if preset.is_none() && !section.has_table(PACING) {
            return None;
        }
        let default = preset.unwrap_or_default();
        let spreading_factor = default.lora.map(|lora| lora.spreading_factor);
        let spreading_factor = section.or_nothing("pacing.lora_spreading_factor", spreading_factor);
        let read = Self {
            rate_bytes_per_s: section
                .or_nothing("pacing.rate_bytes_per_s", default.rate_bytes_per_s),
            lora: spreading_factor.map(LoRa::eu868),
            frame_overhead_bytes: section
                .or("pacing.frame_overhead_bytes", default.frame_overhead_bytes),
            frame_time: section.or("pacing.frame_time", default.frame_time),
            burst_bytes: section.or("pacing.burst_bytes", default.burst_bytes),
            duty_cycle_permille: section
                .or("pacing.duty_cycle_permille", default.duty_cycle_permille),
            duty_burst: section.or("pacing.duty_burst", default.duty_burst),
            guard: section.or("pacing.guard", default.guard),
            queue_bytes_max: section.or("pacing.queue_bytes_max", default.queue_bytes_max),
        };
        let takes_time = read.airtime_us(max_message) > 0;
        if read.duty_cycle_permille < DUTY_CYCLE_FREE && !takes_time {
            section.refuse("pacing.duty_cycle_permille", NO_TIME);
        } else if let Some(why) = read.trouble(max_message) {
            section.refuse_here(PACING, &why);
        } else if !takes_time && read.guard == Duration::ZERO {
            section.warn(PACING, NO_TIME);
            return None;
        }
        Some(read)
    }
}

const PACING: &str = "pacing";

const NO_TIME: &str = "it does nothing, because nothing says how long a frame takes: set \
                       pacing.rate_bytes_per_s, pacing.lora_spreading_factor or pacing.frame_time";

/// The time over which a duty cycle is measured, in microseconds: one hour (EN 300 220-1
/// V3.1.1, clause 5.4).
pub const HOUR_US: u64 = 3_600_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_frame_counts_its_overhead() {
        let line = PacingConfig {
            rate_bytes_per_s: Some(1000),
            frame_overhead_bytes: 5,
            frame_time: Duration::from_millis(20),
            ..PacingConfig::default()
        };
        assert_eq!(line.airtime_us(95), 120_000);
        assert!(!line.one_at_a_time());
        let radio = PacingConfig {
            rate_bytes_per_s: None,
            frame_time: Duration::ZERO,
            lora: Some(LoRa::eu868(12)),
            ..line
        };
        assert_eq!(
            radio.airtime_us(46),
            Airtime::LoRa(LoRa::eu868(12)).micros(51)
        );
        assert!(radio.one_at_a_time());
    }

    #[test]
    fn what_can_never_be_sent_is_told() {
        let config = PacingConfig {
            lora: Some(LoRa::eu868(12)),
            duty_cycle_permille: 1,
            queue_bytes_max: 100,
            ..PacingConfig::default()
        };
        assert_eq!(config.trouble(51), None);
        assert!(config.trouble(96).unwrap().contains("no room"));
        let config = PacingConfig {
            queue_bytes_max: 4096,
            ..config
        };
        // An hour at 0.1 % has 3.6 s.
        assert!(config.trouble(200).unwrap().contains("3 s an hour"));
        let config = PacingConfig {
            duty_burst: Duration::from_secs(4),
            ..config
        };
        assert!(config.trouble(51).is_some());
    }
}
