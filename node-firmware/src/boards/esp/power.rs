//! Light sleep, and the LED.

use app::Power;
use embassy_time::{Instant, Timer};
use esp_hal::gpio::Output;
use esp_hal::peripherals::LPWR;
use esp_hal::rtc_cntl::sleep::{LowPower, RtcSleepConfig};
use shared::time::Duration;

/// Light sleep: the clocks stop, memory and session stay, and the HAL moves the system timer on
/// by the time slept.
pub(super) struct LightSleep {
    low_power: LowPower<'static>,
    led: Output<'static>,
    enabled: bool,
}

impl LightSleep {
    pub(super) fn new(lpwr: LPWR<'static>, led: Output<'static>, enabled: bool) -> Self {
        Self {
            low_power: LowPower::new(lpwr),
            led,
            enabled,
        }
    }
}

impl Power for LightSleep {
    async fn sleep(&mut self, span: Duration) {
        let end = Instant::now() + embassy_time::Duration::from_millis(span.as_millis());
        if self.enabled && span >= WORTH_SLEEPING {
            let span = esp_hal::time::Duration::from_millis(span.as_millis());
            let deadline = esp_hal::time::Instant::now() + span;
            self.low_power.set_wakeup_deadline(deadline);
            self.low_power.sleep_light(RtcSleepConfig::default());
            self.low_power.clear_wakeup_deadline();
        }
        // The hardware may reject a sleep and does not say so: the rest is waited for.
        Timer::at(end).await;
    }

    fn switch_led(&mut self, on: bool) {
        self.led.set_level(on.into());
    }
}

/// Below this, going to sleep and waking take longer than they save.
const WORTH_SLEEPING: Duration = Duration::from_millis(20);
