//! What a channel does over time: bursts, contact windows, outages.

use super::PPM;
use crate::rng::Rng;
use crate::time::{Duration, Instant};

/// Loss in bursts: a channel that is either good or bad, and tends to stay so.
///
/// E. N. Gilbert, "Capacity of a Burst-Noise Channel", Bell System Technical Journal 39(5),
/// 1960, had no loss in the good state; E. O. Elliott, "Estimates of Error Rates for Codes on
/// Burst-Noise Channels", Bell System Technical Journal 42(5), 1963, has it in both. They
/// count in bits, this model counts in frames: one step for every frame that reaches the air.
///
/// The channel is bad for `enter / (enter + exit)` of the frames, and for `1 / exit` frames on
/// end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GilbertElliott {
    /// The probability that a good channel is bad for the next frame, in ppm.
    pub enter_ppm: u32,
    /// The probability that a bad channel is good for the next frame, in ppm; 0 means that
    /// bad stays bad.
    pub exit_ppm: u32,
    /// The loss while the channel is good, in ppm.
    pub loss_good_ppm: u32,
    /// The loss while the channel is bad, in ppm.
    pub loss_bad_ppm: u32,
}

impl GilbertElliott {
    /// Returns the share of frames that are lost in the long run, in ppm.
    #[must_use]
    pub fn mean_loss_ppm(&self) -> u32 {
        let (enter, exit) = (u64::from(self.enter_ppm), u64::from(self.exit_ppm));
        let bad = enter * u64::from(self.loss_bad_ppm);
        let good = exit * u64::from(self.loss_good_ppm);
        let mean = match enter + exit {
            0 => u64::from(self.loss_good_ppm),
            steps => (bad + good) / steps,
        };
        u32::try_from(mean).unwrap_or(PPM)
    }
}

/// When the other end is within reach: an orbit's passes, a drone's visits, a duty schedule.
///
/// The windows open every `period`, first `offset` after the epoch, for `open` each. A frame
/// that is not wholly inside a window is lost: a radio sends into the void, it does not wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ContactWindows {
    /// From one opening to the next; zero means always open.
    pub period: Duration,
    /// How long each window is open.
    pub open: Duration,
    /// When the first window opens, after the driver's epoch; the windows before it follow
    /// from the period.
    pub offset: Duration,
}

impl ContactWindows {
    /// Returns whether a window is open at `at`.
    #[must_use]
    pub fn is_open(&self, at: Instant) -> bool {
        self.covers(micros(at), micros(at))
    }

    /// Returns when a window is open next: `at` itself while one is.
    #[must_use]
    pub fn next_open(&self, at: Instant) -> Instant {
        if self.is_open(at) {
            return at;
        }
        let wait_us = self.period_us() - self.position_us(micros(at));
        at + Duration::from_millis(wait_us.div_ceil(1000))
    }

    /// Returns whether one window is open from `start_us` to `end_us`.
    pub(super) fn covers(&self, start_us: u64, end_us: u64) -> bool {
        let open_us = span_us(self.open);
        if self.period_us() == 0 || open_us >= self.period_us() {
            return true;
        }
        let from = self.position_us(start_us);
        let to = from.saturating_add(end_us.saturating_sub(start_us));
        from < open_us && to <= open_us
    }

    /// Returns the time since the last opening.
    fn position_us(&self, at_us: u64) -> u64 {
        let period = self.period_us();
        match (
            at_us.checked_rem(period),
            span_us(self.offset).checked_rem(period),
        ) {
            (Some(at), Some(offset)) => (at + (period - offset)) % period,
            _ => 0,
        }
    }

    const fn period_us(&self) -> u64 {
        span_us(self.period)
    }
}

/// One stretch of time in which nothing gets through, this way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Outage {
    /// The first moment of it.
    pub from: Instant,
    /// The first moment after it.
    pub until: Instant,
}

impl Outage {
    /// Returns whether any of the time from `start_us` to `end_us` falls into the outage.
    pub(super) const fn touches(&self, start_us: u64, end_us: u64) -> bool {
        start_us < micros(self.until) && end_us >= micros(self.from)
    }
}

/// The state of a Gilbert-Elliott channel.
#[derive(Clone, Debug)]
pub(super) struct BurstChannel {
    bad: bool,
    rng: Rng,
}

impl BurstChannel {
    /// Creates a channel in its good state.
    pub(super) const fn new(rng: Rng) -> Self {
        Self { bad: false, rng }
    }

    /// Takes the step of one frame and returns whether the frame is lost.
    pub(super) fn loses_next(&mut self, model: &GilbertElliott) -> bool {
        let turn_ppm = if self.bad {
            model.exit_ppm
        } else {
            model.enter_ppm
        };
        if self.rng.chance_ppm(turn_ppm) {
            self.bad = !self.bad;
        }
        let loss_ppm = if self.bad {
            model.loss_bad_ppm
        } else {
            model.loss_good_ppm
        };
        self.rng.chance_ppm(loss_ppm)
    }
}

/// Returns the microseconds since the epoch.
pub(super) const fn micros(at: Instant) -> u64 {
    at.as_millis().saturating_mul(1000)
}

/// Returns the microseconds of a span.
pub(super) const fn span_us(span: Duration) -> u64 {
    span.as_millis().saturating_mul(1000)
}
