//! How long a frame occupies the line.

use crate::time::Duration;

/// How long a frame of a given length is on the air.
///
/// While it is, the next one waits: a line sends one frame at a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Airtime {
    /// No time at all; frames never wait for each other.
    #[default]
    None,
    /// A fixed bit rate, as a serial line or a modem has.
    Linear {
        /// Bits per second on the air; 0 counts as 1.
        bits_per_second: u32,
        /// Bits that carry one octet: 8, or 10 on a UART with start and stop bits.
        bits_per_octet: u32,
        /// Microseconds that every frame costs beside its octets: preamble, key-up, header.
        overhead_us: u32,
    },
    /// A LoRa radio, whose frames grow in steps of whole symbols.
    LoRa(LoRa),
}

/// The settings of a LoRa radio that its time on air depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LoRa {
    /// The spreading factor, 7 to 12; each step doubles the symbol's time and adds 2.5 dB.
    pub spreading_factor: u8,
    /// The bandwidth in hertz, usually 125,000; 0 counts as 1.
    pub bandwidth_hz: u32,
    /// The coding rate's denominator over 4: 5 to 8 for 4/5 to 4/8.
    pub coding_rate: u8,
    /// Symbols of the preamble that are programmed, usually 8.
    pub preamble_symbols: u16,
}

impl Airtime {
    /// Returns the time that a frame of `len` octets is on the air, rounded up to whole
    /// milliseconds.
    #[must_use]
    pub fn of(&self, len: usize) -> Duration {
        Duration::from_millis(self.micros(len).div_ceil(1000))
    }

    /// Returns the time that a frame of `len` octets is on the air, in microseconds.
    #[must_use]
    pub fn micros(&self, len: usize) -> u64 {
        let len = u64::try_from(len).unwrap_or(u64::MAX);
        match *self {
            Self::None => 0,
            Self::Linear {
                bits_per_second,
                bits_per_octet,
                overhead_us,
            } => len
                .saturating_mul(u64::from(bits_per_octet))
                .saturating_mul(1_000_000)
                .div_ceil(u64::from(bits_per_second.max(1)))
                .saturating_add(u64::from(overhead_us)),
            Self::LoRa(radio) => radio.micros(len),
        }
    }
}

impl LoRa {
    /// Creates the settings usual in the European 868 MHz band: 125 kHz, coding rate 4/5 and
    /// 8 symbols of preamble.
    #[must_use]
    pub const fn eu868(spreading_factor: u8) -> Self {
        Self {
            spreading_factor,
            bandwidth_hz: 125_000,
            coding_rate: 5,
            preamble_symbols: 8,
        }
    }

    /// Returns the time on air of `len` octets, in microseconds: Semtech SX1276/77/78/79 data
    /// sheet, revision 7, §4.1.1.7, with an explicit header, the payload CRC, and the low
    /// data rate optimisation where a symbol takes longer than 16 ms, as it demands.
    fn micros(&self, len: u64) -> u64 {
        let sf = u64::from(self.spreading_factor.clamp(7, 12));
        let symbol_us = (1_000_000 << sf) / u64::from(self.bandwidth_hz.max(1));
        let low_rate = if symbol_us > 16_000 { 2 } else { 0 };
        // 8·len - 4·SF + 28 + 16 (CRC) - 0 (explicit header); never below zero bits
        let bits = len
            .saturating_mul(8)
            .saturating_add(44)
            .saturating_sub(4 * sf);
        let blocks = bits.div_ceil(4 * (sf - low_rate));
        let payload_symbols = blocks
            .saturating_mul(u64::from(self.coding_rate))
            .saturating_add(8);
        // The preamble is followed by 4.25 symbols of sync word.
        let quarters = payload_symbols
            .saturating_add(u64::from(self.preamble_symbols))
            .saturating_mul(4)
            .saturating_add(17);
        quarters.saturating_mul(symbol_us) / 4
    }
}
