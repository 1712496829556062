//! Durations as text: `"500ms"`, `"10s"`, `"5m"`, `"24h"`, `"7d"`.

use shared::time::Duration;

/// Reads a whole number and its unit, or returns `None`.
#[must_use]
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(digits);
    let (_, unit_ms) = UNITS.iter().find(|(name, _)| *name == unit)?;
    let millis = count.parse::<u64>().ok()?.checked_mul(*unit_ms)?;
    Some(Duration::from_millis(millis))
}

/// Writes a duration in its largest whole unit.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    let (name, unit_ms) = UNITS
        .iter()
        .find(|(_, unit_ms)| millis.is_multiple_of(*unit_ms))
        .copied()
        .unwrap_or(("ms", 1));
    format!("{}{name}", millis / unit_ms)
}

/// The units and their milliseconds, largest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_reads_and_writes_back() {
        for (text, millis) in [
            ("500ms", 500),
            ("10s", 10_000),
            ("90s", 90_000),
            ("5m", 300_000),
            ("36h", 129_600_000),
            ("7d", 604_800_000),
            ("0s", 0),
        ] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration.as_millis(), millis, "{text}");
            assert_eq!(format_duration(duration), text);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "10",
            "s",
            "10 s",
            "-1s",
            "1.5s",
            "10S",
            "1h30m",
            "10sec",
            "18446744073709551615d",
            "99999999999999999999s",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }
}
