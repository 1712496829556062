//! QEMU's riscv32 `virt` machine: the node in an emulated CPU.
//!
//! | part | where |
//! |---|---|
//! | radio line | the 16550 serial port at 0x1000_0000, the machine's first `-serial` |
//! | settings and state | memory at 0x8040_0000, see [`flash`] |
//! | sensor | none: a wave that follows the clock, see [`WaveSensor`] |
//! | clock | `mtime` of the CLINT, 10 MHz |
//! | sleep | `wfi`, with the machine's memory and clock alive |
//! | power-off | the test device at 0x10_0000; the exit code tells why, see [`power`] |

#[cfg(feature = "semihosting")]
mod console;
pub mod flash;
pub mod power;
mod time;
pub mod uart;

use core::convert::Infallible;

use app::flash::FlashStorage;
use app::serial::SerialRadio;
use app::{Node, Parts, Power, Sample, Sensor, Settings, StartError};
use embassy_time::{Instant, Timer};
use shared::time::Duration;

use self::flash::MemoryFlash;
use self::power::Exit;
use self::uart::Uart;
use super::EmbassyClock;

/// Runs the node until its settings call it done, and tells how it ended.
///
/// # Safety
/// To be called once: it takes the machine's parts.
pub async unsafe fn run() -> Exit {
    // SAFETY: the caller's promise.
    let (flash, line) = unsafe { (MemoryFlash::init(), Uart::init()) };
    let mut storage = FlashStorage::new(flash, 0);
    let node_id = match Settings::load(&mut storage).await {
        Ok(settings) => settings.node_id(),
        Err(_) => return Exit::Settings,
    };
    let parts = Parts {
        radio: SerialRadio::new(line, node_id),
        storage,
        sensor: WaveSensor,
        power: WaitForInterrupt,
        clock: EmbassyClock,
    };
    let mut node = match Node::start(parts).await {
        Ok(node) => node,
        Err(StartError::Settings(_) | StartError::Config(_)) => return Exit::Settings,
        Err(_) => return Exit::Failed,
    };
    match node.run().await {
        Ok(stats) if stats.is_complete() => Exit::Finished,
        Ok(_) => Exit::Incomplete,
        Err(_) => Exit::Settings,
    }
}

/// A sensor where there is none: a temperature that swings between 15 and 25 degrees, once
/// every ten minutes.
#[derive(Clone, Copy, Debug)]
pub struct WaveSensor;

impl Sensor for WaveSensor {
    type Error = Infallible;

    async fn sample(&mut self) -> Result<Sample, Infallible> {
        let phase = Instant::now().as_millis() % WAVE_PERIOD_MS;
        let height = phase.min(WAVE_PERIOD_MS - phase) * WAVE_HEIGHT_MILLI / (WAVE_PERIOD_MS / 2);
        Ok(Sample {
            value_milli: WAVE_LOW_MILLI.saturating_add_unsigned(height as u32),
            battery_mv: 3300,
        })
    }
}

/// Sleep by `wfi`, in which the executor waits for the timer.
#[derive(Clone, Copy, Debug)]
pub struct WaitForInterrupt;

impl Power for WaitForInterrupt {
    async fn sleep(&mut self, span: Duration) {
        Timer::after_millis(span.as_millis()).await;
    }
}

const WAVE_PERIOD_MS: u64 = 600_000;
const WAVE_HEIGHT_MILLI: u64 = 10_000;
const WAVE_LOW_MILLI: i32 = 15_000;
