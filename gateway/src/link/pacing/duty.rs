//! The share of the air that a regulated band leaves to one sender.

use crate::config::{DUTY_CYCLE_FREE, HOUR_US, PacingConfig};

/// A duty cycle over the sliding hour (EN 300 220-1 V3.1.1, clause 5.4): a budget of time on
/// the air that some frames may use up at once, and that is refilled steadily.
///
/// The budget and what is refilled within an hour make the hour's share together, so no hour
/// has more than that, wherever it begins. LoRaWAN's pause after each frame is the same with a
/// budget of one frame. A window with a memory of an hour would allow all of it at once, and
/// then nobody could send for the rest of the hour.
#[derive(Debug)]
pub(super) struct DutyCycle {
    budget_us: u64,
    /// What is refilled in a second, in microseconds.
    refill_ppm: u64,
    /// What was used and not yet refilled at `since_us`, in millionths of a microsecond.
    used: u64,
    since_us: u64,
}

impl DutyCycle {
    /// Creates a full budget, or nothing where the duty cycle has no bound.
    pub(super) fn new(config: &PacingConfig, max_message: usize) -> Option<Self> {
        if config.duty_cycle_permille >= DUTY_CYCLE_FREE {
            return None;
        }
        let budget_us = config.duty_burst_us(max_message);
        let left = config.duty_hour_us().saturating_sub(budget_us);
        Some(Self {
            budget_us,
            refill_ppm: (left / (HOUR_US / PPM)).max(1),
            used: 0,
            since_us: 0,
        })
    }

    /// Returns when the budget has room for so much time on the air.
    pub(super) const fn free_for(&self, airtime_us: u64) -> u64 {
        let wanted = airtime_us.saturating_mul(PPM).saturating_add(self.used);
        let missing = wanted.saturating_sub(self.budget_us.saturating_mul(PPM));
        if missing == 0 {
            return 0;
        }
        self.since_us + missing.div_ceil(self.refill_ppm)
    }

    /// Takes the whole time of a frame that starts now.
    pub(super) fn spend(&mut self, now_us: u64, airtime_us: u64) {
        let span = now_us.saturating_sub(self.since_us);
        let refilled = span.saturating_mul(self.refill_ppm);
        self.used = self.used.saturating_sub(refilled) + airtime_us * PPM;
        self.since_us = now_us;
    }
}

const PPM: u64 = 1_000_000;
