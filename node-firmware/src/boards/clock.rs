//! The clock of every board: embassy's.

use app::Clock;
use embassy_time::{Instant as EmbassyInstant, Timer};
use shared::time::Instant;

/// Embassy's clock, which counts from the start of the firmware.
#[derive(Clone, Copy, Debug, Default)]
pub struct EmbassyClock;

impl Clock for EmbassyClock {
    fn now(&self) -> Instant {
        Instant::from_millis(EmbassyInstant::now().as_millis())
    }

    async fn wait_until(&self, deadline: Instant) {
        Timer::at(EmbassyInstant::from_millis(deadline.as_millis())).await;
    }
}
