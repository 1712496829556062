//! The radio that the settings choose.

use app::serial::{SerialError, SerialRadio};
use app::settings::RadioSettings;
use app::{Radio, Settings};
use embassy_executor::Spawner;
use esp_hal::gpio::AnyPin;
use esp_hal::peripherals::{UART1, WIFI};
use esp_hal::uart::{Config, Uart};

use super::line::NoisyLine;
use super::wifi::{WifiError, WifiRadio};

/// The radio of the settings.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one, in the node's static memory"
)]
pub(super) enum BoardRadio {
    Serial(SerialRadio<NoisyLine>),
    Wifi(WifiRadio),
}

/// The pins of the serial radio.
pub(super) struct Pins {
    pub(super) tx: AnyPin<'static>,
    pub(super) rx: AnyPin<'static>,
}

/// Why a radio failed.
#[derive(Clone, Copy, Debug)]
pub(super) enum BoardRadioError {
    Serial(#[expect(dead_code, reason = "read by Debug")] SerialError),
    Wifi(#[expect(dead_code, reason = "read by Debug")] WifiError),
}

impl BoardRadio {
    /// Sets the radio up, or returns `None` where its hardware does not take the settings.
    pub(super) fn new(
        settings: &Settings,
        spawner: Spawner,
        uart: UART1<'static>,
        pins: Pins,
        wifi: WIFI<'static>,
    ) -> Option<Self> {
        match &settings.radio {
            RadioSettings::Serial { baud } => {
                let config = Config::default().with_baudrate(*baud);
                let uart = Uart::new(uart, config)
                    .ok()?
                    .with_tx(pins.tx)
                    .with_rx(pins.rx)
                    .into_async();
                let line = NoisyLine(uart);
                Some(Self::Serial(SerialRadio::new(line, settings.node_id())))
            }
            RadioSettings::Udp {
                gateway,
                port,
                ssid,
                password,
            } => {
                let endpoint = (*gateway, *port);
                WifiRadio::new(spawner, wifi, endpoint, ssid, &password.0).map(Self::Wifi)
            }
        }
    }
}

impl Radio for BoardRadio {
    type Error = BoardRadioError;

    async fn power_up(&mut self) -> Result<(), BoardRadioError> {
        match self {
            Self::Serial(radio) => radio.power_up().await.map_err(BoardRadioError::Serial),
            Self::Wifi(radio) => radio.power_up().await.map_err(BoardRadioError::Wifi),
        }
    }

    async fn power_down(&mut self) -> Result<(), BoardRadioError> {
        match self {
            Self::Serial(radio) => radio.power_down().await.map_err(BoardRadioError::Serial),
            Self::Wifi(radio) => radio.power_down().await.map_err(BoardRadioError::Wifi),
        }
    }

    async fn transmit(&mut self, datagram: &[u8]) -> Result<(), BoardRadioError> {
        match self {
            Self::Serial(radio) => radio
                .transmit(datagram)
                .await
                .map_err(BoardRadioError::Serial),
            Self::Wifi(radio) => radio
                .transmit(datagram)
                .await
                .map_err(BoardRadioError::Wifi),
        }
    }

    async fn receive(&mut self, buf: &mut [u8]) -> Result<usize, BoardRadioError> {
        match self {
            Self::Serial(radio) => radio.receive(buf).await.map_err(BoardRadioError::Serial),
            Self::Wifi(radio) => radio.receive(buf).await.map_err(BoardRadioError::Wifi),
        }
    }
}
