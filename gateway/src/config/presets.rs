//! Links by name: clocks and limits that go together, and where their figures come from.
//!
//! A preset stands for keys that the configuration may still set one by one.

use shared::fault::LoRa;
use shared::time::Duration;

use super::link::{DEFAULT_MAX_MESSAGE, DEFAULT_N_RETRY};
use super::pacing::PacingConfig;
use crate::session::Tolerance;

/// What is usual on one kind of link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkPreset {
    /// The name in the configuration.
    pub name: &'static str,
    /// How long an answer of a node is awaited: longer than the worst round trip, with what
    /// pacing lets a frame wait.
    pub t_retry: Duration,
    /// How often an unanswered message is repeated.
    pub n_retry: u8,
    /// How much longer than it has announced a node may be silent.
    pub tolerance: Tolerance,
    /// The largest datagram either way, in octets.
    pub max_message: usize,
    /// How fast the link may be sent to.
    pub pacing: Option<PacingConfig>,
    /// After how much silence the link is taken for dead. No preset has one: how often nodes
    /// report is the fleet's affair, and a fleet that sleeps for a day is no dead link.
    pub dead_after: Option<Duration>,
}

impl LinkPreset {
    /// Every preset.
    pub const ALL: &[Self] = &[
        Self::UDP_LAN,
        Self::SERIAL_WIRED,
        Self::LORA_SF7,
        Self::LORA_SF8,
        Self::LORA_SF9,
        Self::LORA_SF10,
        Self::LORA_SF11,
        Self::LORA_SF12,
        Self::SAT_GEO,
        Self::SAT_SBD,
    ];

    /// The names of all of them.
    pub const NAMES: &[&str] = &preset_names();

    /// Returns the preset of a name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<&'static Self> {
        Self::ALL.iter().find(|preset| preset.name == name)
    }

    /// A wired or wireless local network. Round trips take milliseconds, but a station in
    /// Wi-Fi power save is only sent to after its listen interval, which is a second or more.
    const UDP_LAN: Self = Self {
        name: "udp-lan",
        t_retry: Duration::from_secs(5),
        n_retry: DEFAULT_N_RETRY,
        tolerance: USUAL,
        max_message: DEFAULT_MAX_MESSAGE,
        pacing: None,
        dead_after: None,
    };

    /// A cable, full duplex: the line itself says when it takes no more, so it needs no
    /// pacing. The default queue of 8192 octets takes 1.4 s at 57,600 baud.
    const SERIAL_WIRED: Self = Self {
        name: "serial-wired",
        t_retry: Duration::from_secs(5),
        n_retry: DEFAULT_N_RETRY,
        tolerance: USUAL,
        max_message: 256,
        pacing: None,
        dead_after: None,
    };

    /// LoRa, spreading factor 7, 125 kHz: a full frame takes 0.37 s.
    const LORA_SF7: Self = lora("lora-sf7", 7, 222, 90, 3);
    /// LoRa, spreading factor 8: a full frame takes 0.66 s.
    const LORA_SF8: Self = lora("lora-sf8", 8, 222, 150, 3);
    /// LoRa, spreading factor 9: a full frame takes 0.68 s.
    const LORA_SF9: Self = lora("lora-sf9", 9, 115, 150, 3);
    /// LoRa, spreading factor 10: a full frame takes 0.70 s.
    const LORA_SF10: Self = lora("lora-sf10", 10, 51, 150, 3);
    /// LoRa, spreading factor 11: a full frame takes 1.6 s.
    const LORA_SF11: Self = lora("lora-sf11", 11, 51, 360, 2);
    /// LoRa, spreading factor 12: a full frame takes 2.8 s, and an hour has room for twelve.
    const LORA_SF12: Self = lora("lora-sf12", 12, 51, 660, 2);

    /// A geostationary satellite terminal for machines. Twice 36,000 km up and down are
    /// 480 ms; slots, coding and the ground make 600 ms to 2 s of it. 8,000 octets a second
    /// is what the small classes of service carry both ways; the queue then takes 8 s. IPv4
    /// and UDP put 28 octets before each datagram, and every octet is paid for: 512 octets
    /// keep what one loss costs small.
    const SAT_GEO: Self = Self {
        name: "sat-geo",
        t_retry: Duration::from_secs(15),
        n_retry: DEFAULT_N_RETRY,
        tolerance: USUAL,
        max_message: 512,
        pacing: Some(PacingConfig {
            rate_bytes_per_s: Some(8_000),
            frame_overhead_bytes: 28,
            burst_bytes: 8_000,
            queue_bytes_max: 65_536,
            ..PacingConfig::DEFAULT
        }),
        dead_after: None,
    };

    /// Short burst data (Iridium 9602/9603): 340 octets up, 270 down, so 270 either way. Each
    /// message is a session of its own, of 20 s and more whatever its length, and a session
    /// without a clear sky is tried again: minutes both ways.
    const SAT_SBD: Self = Self {
        name: "sat-sbd",
        t_retry: Duration::from_secs(300),
        n_retry: 2,
        tolerance: PATIENT,
        max_message: 270,
        pacing: Some(PacingConfig {
            frame_overhead_bytes: 0,
            frame_time: Duration::from_secs(20),
            ..PacingConfig::DEFAULT
        }),
        dead_after: None,
    };
}

const fn preset_names() -> [&'static str; LinkPreset::ALL.len()] {
    let mut names = [""; LinkPreset::ALL.len()];
    let mut index = 0;
    while index < names.len() {
        names[index] = LinkPreset::ALL[index].name;
        index += 1;
    }
    names
}

/// What the standard proposes [MQTT-SN 1.2 §7.2].
const USUAL: Tolerance = Tolerance {
    short_percent: 150,
    long_percent: 110,
};

/// For links on which a node may have to wait for its turn before it can even ping.
const PATIENT: Tolerance = Tolerance {
    short_percent: 300,
    long_percent: 150,
};

/// A LoRa radio in the European 868 MHz band.
///
/// The largest datagram is the largest application payload of LoRaWAN at the same data rate
/// (RP002-1.0.4, EU863-870, repeater compatible), which keeps a frame below 3 s; the 13 octets
/// of its headers stand for those of the modem and of our framing. The time of a frame is that
/// of Semtech's data sheet. Every hour has 1 % of it for each sender (EN 300 220-2, annex B,
/// band M), three full frames of which may go at once: CONNACK, REGISTER and PUBLISH.
///
/// The worst round trip: the gateway has used up its burst and waits for one frame's share,
/// sends a full frame, the node too has just sent a full frame and must be silent for 99 times
/// as long, and answers with a full frame.
const fn lora(
    name: &'static str,
    spreading_factor: u8,
    max_message: usize,
    t_retry_s: u64,
    n_retry: u8,
) -> LinkPreset {
    LinkPreset {
        name,
        t_retry: Duration::from_secs(t_retry_s),
        n_retry,
        tolerance: PATIENT,
        max_message,
        pacing: Some(PacingConfig {
            lora: Some(LoRa::eu868(spreading_factor)),
            frame_overhead_bytes: 13,
            duty_cycle_permille: 10,
            duty_burst: Duration::from_millis(LORA_BURST_MS[(spreading_factor - 7) as usize]),
            // A small node needs that long to turn its radio round and to answer.
            guard: Duration::from_millis(100),
            queue_bytes_max: 2_048,
            ..PacingConfig::DEFAULT
        }),
        dead_after: None,
    }
}

/// Three full frames, in milliseconds, by spreading factor from 7 on.
const LORA_BURST_MS: [u64; 6] = [1_110, 1_970, 2_035, 2_100, 4_690, 8_385];

#[cfg(test)]
mod tests {
    use super::super::pacing::HOUR_US;
    use super::*;

    /// The worst round trip of a paced link, in microseconds: as `lora` says, and with a
    /// round trip of 2 s where the channel is free.
    fn worst_round_trip_us(preset: &LinkPreset) -> u64 {
        let Some(pacing) = preset.pacing else {
            return 2_000_000;
        };
        let frame = pacing.airtime_us(preset.max_message);
        let (mut own, mut theirs) = (0, 0);
        if pacing.duty_cycle_permille < 1000 {
            let left = pacing.duty_hour_us() - pacing.duty_burst_us(preset.max_message);
            own =
                u64::try_from(u128::from(frame) * u128::from(HOUR_US) / u128::from(left)).unwrap();
            theirs = frame * (1000 / u64::from(pacing.duty_cycle_permille) - 1);
        }
        let full_queue = pacing
            .rate_bytes_per_s
            .map_or(0, |_| pacing.rate_us(pacing.queue_bytes_max));
        own + frame + theirs + frame + 2_000 * pacing.guard.as_millis() + full_queue
    }

    #[test]
    fn t_retry_exceeds_the_worst_round_trip() {
        for preset in LinkPreset::ALL {
            let worst = worst_round_trip_us(preset);
            let t_retry = preset.t_retry.as_millis() * 1000;
            assert!(t_retry > worst, "{}: {worst} us", preset.name);
        }
    }

    #[test]
    fn every_preset_can_be_used_and_has_a_name_of_its_own() {
        for preset in LinkPreset::ALL {
            assert_eq!(LinkPreset::by_name(preset.name), Some(preset));
            let trouble = preset.pacing.and_then(|it| it.trouble(preset.max_message));
            assert_eq!(trouble, None, "{}", preset.name);
        }
        assert_eq!(LinkPreset::by_name("lora"), None);
        assert_eq!(LinkPreset::ALL.len(), 10);
    }

    #[test]
    fn three_full_frames_of_a_lora_radio_may_go_at_once() {
        let radios = LinkPreset::ALL.iter().filter_map(|preset| {
            let pacing = preset.pacing?;
            pacing.lora.map(|_| (preset, pacing))
        });
        let mut count = 0;
        for (preset, pacing) in radios {
            let three = 3 * pacing.airtime_us(preset.max_message);
            let burst = pacing.duty_burst.as_millis() * 1000;
            assert!(
                (three..three + 20_000).contains(&burst),
                "{} {three}",
                preset.name
            );
            count += 1;
        }
        assert_eq!(count, 6);
    }
}
