//! The one place where the process's clock becomes the engine's.

use std::time::Duration;

use shared::time::Instant;

/// Milliseconds since the driver's start.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    start: tokio::time::Instant,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self {
            start: tokio::time::Instant::now(),
        }
    }

    pub(super) fn now(self) -> Instant {
        Instant::from_millis(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Returns what the engine's clock shows at a point of the runtime's, rounded up.
    pub(super) fn of(self, at: tokio::time::Instant) -> Instant {
        let span = at.saturating_duration_since(self.start);
        let millis = span.as_nanos().div_ceil(1_000_000);
        Instant::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
    }

    /// Returns when the runtime's clock shows `at`.
    pub(super) fn at(self, at: Instant) -> tokio::time::Instant {
        self.start + Duration::from_millis(at.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn both_clocks_agree() {
        let clock = Clock::start();
        let at = clock.now() + shared::time::Duration::from_millis(1500);
        tokio::time::sleep_until(clock.at(at)).await;
        assert_eq!(clock.now(), at);
        assert_eq!(clock.of(clock.at(at)), at);
        assert_eq!(
            clock
                .of(clock.at(at) + Duration::from_micros(1))
                .since(at)
                .as_millis(),
            1
        );
    }
}
