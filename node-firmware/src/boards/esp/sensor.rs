//! The chip's own temperature sensor.

use core::convert::Infallible;

use app::{Sample, Sensor};
use embassy_time::Timer;
use esp_hal::peripherals::TSENS;
use esp_hal::tsens::{Config, Temperature, TemperatureSensor};

/// The temperature inside the chip, which lies above that around it. The voltage of the supply
/// is not measured: it needs a divider that boards do not have.
#[derive(Debug)]
pub(super) struct ChipTemperature(TemperatureSensor<'static>);

impl ChipTemperature {
    pub(super) fn new(tsens: TSENS<'static>) -> Self {
        // The error type has no values.
        let Ok(sensor) = TemperatureSensor::new(tsens, Config::default()) else {
            unreachable!("there is no way to fail")
        };
        sensor.power_down();
        Self(sensor)
    }
}

impl Sensor for ChipTemperature {
    type Error = Infallible;

    async fn sample(&mut self) -> Result<Sample, Infallible> {
        self.0.power_up();
        Timer::after_micros(SETTLE_US).await;
        let value_milli = millidegrees(&self.0.get_temperature());
        self.0.power_down();
        Ok(Sample {
            value_milli,
            battery_mv: 0,
        })
    }
}

/// The HAL's formula, `0.4386 raw - 27.88 offset - 20.52`, in integers.
fn millidegrees(temperature: &Temperature) -> i32 {
    let raw = i32::from(temperature.raw_value);
    raw * 4386 / 10 - i32::from(temperature.offset) * 27_880 - 20_520
}

/// The HAL asks for a few hundred microseconds between power and measurement.
const SETTLE_US: u64 = 300;
