//! The ESP32-C3 and ESP32-C6: what both chips share, which is nearly all.
//!
//! | part | where |
//! |---|---|
//! | serial radio | UART1: TX on GPIO6, RX on GPIO7 |
//! | Wi-Fi | the chip's own, WPA2 or open, the address by DHCP |
//! | settings and state | the flash partition `node`, see `partitions.csv` |
//! | sensor | the chip's temperature sensor |
//! | LED | GPIO10, high is on |
//! | sleep | light sleep, radio off; memory and session stay |
//! | messages to a person | the USB serial port or UART0, see [`esp_println`] |

mod flash;
mod line;
mod power;
mod radio;
mod sensor;
mod wifi;

use app::flash::FlashStorage;
use app::{Node, Parts, Settings, StartError};
use embassy_executor::Spawner;
use embassy_time::Timer;
use esp_hal::clock::CpuClock;
use esp_hal::gpio::{Level, Output, OutputConfig};
use esp_hal::peripherals::Peripherals;
use esp_hal::ram;
use esp_hal::timer::timg::TimerGroup;
use esp_println::println;

use self::power::LightSleep;
use self::radio::BoardRadio;
use self::sensor::ChipTemperature;
use super::EmbassyClock;

/// Runs the node for ever.
pub async fn run(spawner: Spawner) -> ! {
    let config = esp_hal::Config::default().with_cpu_clock(CpuClock::_80MHz);
    let chip = esp_hal::init(config);
    // Memory that the boot loader no longer needs, and as much again as Wi-Fi wants on top.
    esp_alloc::heap_allocator!(#[ram(reclaimed)] size: 64 * 1024);
    esp_alloc::heap_allocator!(size: 36 * 1024);
    let reason = live(spawner, chip).await;
    println!("sandgrouse: {reason}");
    loop {
        // Nothing that the node could do about it itself; someone with a cable is needed.
        Timer::after_secs(10).await;
        println!("sandgrouse: {reason}");
    }
}

/// Runs the node; returns why it stopped.
async fn live(spawner: Spawner, chip: Peripherals) -> Stop {
    let timers = TimerGroup::new(chip.TIMG0);
    esp_rtos::start(timers.timer0, chip.FROM_CPU_INTR0);

    let Some((flash, base)) = flash::node_partition(chip.FLASH) else {
        return Stop::Partition;
    };
    let mut storage = FlashStorage::new(flash, base);
    let settings = match Settings::load(&mut storage).await {
        Ok(settings) => settings,
        Err(error) => return error.into(),
    };
    let pins = radio::Pins {
        tx: chip.GPIO6.into(),
        rx: chip.GPIO7.into(),
    };
    let Some(radio) = BoardRadio::new(&settings, spawner, chip.UART1, pins, chip.WIFI) else {
        return Stop::Radio;
    };
    let led = Output::new(chip.GPIO10, Level::Low, OutputConfig::default());
    let parts = Parts {
        radio,
        storage,
        sensor: ChipTemperature::new(chip.TSENS),
        power: LightSleep::new(chip.LPWR, led, settings.light_sleep),
        clock: EmbassyClock,
    };
    println!("sandgrouse: node {}", settings.client_id);
    let mut node = match Node::start(parts).await {
        Ok(node) => node,
        Err(error) => return error.into(),
    };
    match node.run().await {
        Ok(_) => Stop::Done,
        Err(error) => Stop::Command(error),
    }
}

/// Why a node stopped.
#[derive(Clone, Copy, Debug)]
enum Stop {
    Partition,
    Radio,
    Start(StartError<app::flash::FlashError>),
    Command(shared::client::CommandError),
    Done,
}

impl From<StartError<app::flash::FlashError>> for Stop {
    fn from(error: StartError<app::flash::FlashError>) -> Self {
        Self::Start(error)
    }
}

impl core::fmt::Display for Stop {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Partition => f.write_str("no flash partition `node` of three sectors"),
            Self::Radio => f.write_str("the radio of the settings cannot be set up"),
            Self::Start(error) => error.fmt(f),
            Self::Command(error) => write!(f, "topics of the settings: {error}"),
            Self::Done => f.write_str("all readings of the settings are sent"),
        }
    }
}

/// Called when a panic has been printed: an unattended node starts anew.
#[unsafe(no_mangle)]
extern "Rust" fn custom_halt() -> ! {
    esp_hal::system::software_reset()
}
