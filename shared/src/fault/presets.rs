//! Named links, and where their figures come from.

use super::{Airtime, ContactWindows, FaultProfile, GilbertElliott, LoRa};
use crate::time::Duration;

/// Every preset by its name, for command lines and reports.
pub const PRESETS: &[(&str, FaultProfile)] = &[
    ("perfect", FaultProfile::perfect()),
    ("lossy_20", FaultProfile::lossy_20()),
    ("bursty", FaultProfile::bursty()),
    ("lossy_serial", FaultProfile::lossy_serial()),
    ("lora_sf7", FaultProfile::lora(7)),
    ("lora_sf8", FaultProfile::lora(8)),
    ("lora_sf9", FaultProfile::lora(9)),
    ("lora_sf10", FaultProfile::lora(10)),
    ("lora_sf11", FaultProfile::lora(11)),
    ("lora_sf12", FaultProfile::lora(12)),
    ("sat_geo", FaultProfile::sat_geo()),
    ("sat_leo", FaultProfile::sat_leo()),
    ("hostile", FaultProfile::hostile()),
];

impl FaultProfile {
    /// Returns the preset of a name, or `None` where [`PRESETS`] has none.
    #[must_use]
    pub fn preset(name: &str) -> Option<Self> {
        PRESETS
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, profile)| *profile)
    }

    /// A link that does nothing to frames: at once, all of them, in order.
    #[must_use]
    pub const fn perfect() -> Self {
        Self {
            loss_ppm: 0,
            burst: None,
            delay: Duration::ZERO,
            jitter: Duration::ZERO,
            duplicate_ppm: 0,
            reorder_ppm: 0,
            reorder_hold: Duration::ZERO,
            corrupt_ppm: 0,
            corrupt_bits_max: 1,
            windows: None,
            outage: None,
            airtime: Airtime::None,
            queue_frames: u16::MAX,
            queue_octets: u32::MAX,
        }
    }

    /// One frame of five lost, each by chance: a radio at the edge of its range, without
    /// fading; 5 to 15 ms of delay.
    #[must_use]
    pub const fn lossy_20() -> Self {
        Self {
            loss_ppm: 200_000,
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(10),
            ..Self::perfect()
        }
    }

    /// One frame of five lost, in bursts of five frames' length: something passes through the
    /// line of sight. Bad for 1 / (1 + 4) of the frames, nothing gets through while it is.
    #[must_use]
    pub const fn bursty() -> Self {
        Self {
            burst: Some(GilbertElliott {
                enter_ppm: 50_000,
                exit_ppm: 200_000,
                loss_good_ppm: 0,
                loss_bad_ppm: 1_000_000,
            }),
            delay: Duration::from_millis(5),
            jitter: Duration::from_millis(10),
            ..Self::perfect()
        }
    }

    /// A telemetry radio on a UART at the limit: 57,600 baud of ten bits an octet, a fifth of
    /// the frames lost, half of them by chance (10.6 %) and half in bursts of three (10.6 %),
    /// one frame of fifty with up to eight flipped bits, and 4 kB of transmit buffer.
    #[must_use]
    pub const fn lossy_serial() -> Self {
        Self {
            loss_ppm: 105_600,
            burst: Some(GilbertElliott {
                enter_ppm: 39_350,
                exit_ppm: 333_333,
                loss_good_ppm: 0,
                loss_bad_ppm: 1_000_000,
            }),
            delay: Duration::from_millis(10),
            jitter: Duration::from_millis(10),
            corrupt_ppm: 20_000,
            corrupt_bits_max: 8,
            airtime: Airtime::Linear {
                bits_per_second: 57_600,
                bits_per_octet: 10,
                overhead_us: 0,
            },
            queue_octets: 4096,
            ..Self::perfect()
        }
    }

    /// A LoRa link of the spreading factor 7 to 12 at 125 kHz: the time on air of the data
    /// sheet (a 20-octet frame takes 57 ms at 7 and 1.3 s at 12), 5 % of the frames lost as a
    /// link with some margin does, and room for four frames, as modems have.
    ///
    /// LoRa's own CRC turns corruption into loss, so nothing arrives corrupted. Regulation may
    /// allow 1 % of the time on air; that is the sender's to keep.
    #[must_use]
    pub const fn lora(spreading_factor: u8) -> Self {
        Self {
            loss_ppm: 50_000,
            delay: Duration::from_millis(2),
            airtime: Airtime::LoRa(LoRa::eu868(spreading_factor)),
            queue_frames: 4,
            ..Self::perfect()
        }
    }

    /// A bent-pipe link over a geostationary satellite: up and down is 2 · 35,786 km below it
    /// and 2 · 41,679 km at its horizon, 239 to 278 ms at the speed of light; with coding and
    /// queues 280 to 340 ms. 9,600 bit/s, 0.1 % single losses, and rain that takes half of the
    /// frames for fifty on end, 1 % of the time.
    #[must_use]
    pub const fn sat_geo() -> Self {
        Self {
            loss_ppm: 1000,
            burst: Some(GilbertElliott {
                enter_ppm: 202,
                exit_ppm: 20_000,
                loss_good_ppm: 0,
                loss_bad_ppm: 500_000,
            }),
            delay: Duration::from_millis(280),
            jitter: Duration::from_millis(60),
            airtime: Airtime::Linear {
                bits_per_second: 9600,
                bits_per_octet: 8,
                overhead_us: 20_000,
            },
            queue_octets: 16_384,
            ..Self::perfect()
        }
    }

    /// One satellite in a low orbit of 600 km: it comes by every 97 minutes and is high enough
    /// for 8 (the earth's turning makes a real one miss most orbits; this is the best case). 2 ms overhead to 9 ms at the horizon, 4,800 bit/s, 2 % single losses.
    #[must_use]
    pub const fn sat_leo() -> Self {
        Self {
            loss_ppm: 20_000,
            delay: Duration::from_millis(2),
            jitter: Duration::from_millis(7),
            windows: Some(ContactWindows {
                period: Duration::from_secs(97 * 60),
                open: Duration::from_secs(8 * 60),
                offset: Duration::ZERO,
            }),
            airtime: Airtime::Linear {
                bits_per_second: 4800,
                bits_per_octet: 8,
                overhead_us: 50_000,
            },
            queue_octets: 4096,
            ..Self::perfect()
        }
    }

    /// Everything at once and more of it than any link has, to find what a machine forgot.
    #[must_use]
    pub const fn hostile() -> Self {
        Self {
            loss_ppm: 100_000,
            burst: Some(GilbertElliott {
                enter_ppm: 50_000,
                exit_ppm: 250_000,
                loss_good_ppm: 0,
                loss_bad_ppm: 900_000,
            }),
            delay: Duration::from_millis(50),
            jitter: Duration::from_millis(400),
            duplicate_ppm: 100_000,
            reorder_ppm: 100_000,
            reorder_hold: Duration::from_secs(3),
            corrupt_ppm: 50_000,
            corrupt_bits_max: 16,
            airtime: Airtime::Linear {
                bits_per_second: 9600,
                bits_per_octet: 10,
                overhead_us: 5000,
            },
            queue_frames: 16,
            ..Self::perfect()
        }
    }
}
