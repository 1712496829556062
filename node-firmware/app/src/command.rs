//! Commands to a node: short texts, so that any MQTT client can send them by hand.
//!
//! ```text
//! command  = [ "#" id " " ] verb [ " " argument ]
//! id       = 1 to 4294967295; a repeated delivery of the same id is confirmed, but not done twice
//!
//! interval SECONDS    reports every SECONDS from now on; kept over a loss of power
//! report              measures and reports now
//! led on | led off    switches the LED
//! ```

use core::str::FromStr;

use crate::payload::Outcome;
use crate::settings::INTERVAL_S;

/// What a node can be told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Report every so many seconds.
    Interval(u32),
    /// Measure and report now.
    Report,
    /// Switch the LED.
    Led(bool),
}

/// A command as it arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// The sender's id, 0 where it gave none.
    pub id: u32,
    /// What to do, or why not.
    pub action: Result<Action, Outcome>,
}

impl Command {
    /// Reads a command from the payload of a publication; any bytes are some command.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Self {
        let Ok(text) = core::str::from_utf8(payload) else {
            return Self::unknown();
        };
        let mut words = text.split_ascii_whitespace();
        let first = words.next();
        let (id, verb) = match first.and_then(|word| word.strip_prefix('#')) {
            None => (0, first),
            Some(digits) => match u32::from_str(digits) {
                Ok(id) => (id, words.next()),
                Err(_) => return Self::unknown(),
            },
        };
        let argument = words.next();
        let action = match words.next() {
            None => action(verb, argument),
            Some(_) => Err(Outcome::Unknown),
        };
        Self { id, action }
    }

    const fn unknown() -> Self {
        Self {
            id: 0,
            action: Err(Outcome::Unknown),
        }
    }
}

fn action(verb: Option<&str>, argument: Option<&str>) -> Result<Action, Outcome> {
    match (verb, argument) {
        (Some("interval"), Some(seconds)) => match u32::from_str(seconds) {
            Ok(seconds) if INTERVAL_S.contains(&seconds) => Ok(Action::Interval(seconds)),
            _ => Err(Outcome::Argument),
        },
        (Some("report"), None) => Ok(Action::Report),
        (Some("led"), Some("on")) => Ok(Action::Led(true)),
        (Some("led"), Some("off")) => Ok(Action::Led(false)),
        (Some("interval" | "report" | "led"), _) => Err(Outcome::Argument),
        _ => Err(Outcome::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_some_command(payload in prop::collection::vec(any::<u8>(), 0..64)) {
            let command = Command::parse(&payload);
            prop_assert!(command.action.is_err() || payload.is_ascii());
        }

        #[test]
        fn intervals_are_taken_within_their_range(id in 1_u32.., seconds: u32) {
            let text = std::format!("#{id} interval {seconds}");
            let expected = if INTERVAL_S.contains(&seconds) {
                Ok(Action::Interval(seconds))
            } else {
                Err(Outcome::Argument)
            };
            prop_assert_eq!(parsed(&text), (id, expected));
        }
    }

    fn parsed(text: &str) -> (u32, Result<Action, Outcome>) {
        let Command { id, action } = Command::parse(text.as_bytes());
        (id, action)
    }

    #[test]
    fn commands_with_and_without_id() {
        assert_eq!(parsed("interval 30"), (0, Ok(Action::Interval(30))));
        assert_eq!(parsed("#17 interval 30\n"), (17, Ok(Action::Interval(30))));
        assert_eq!(parsed("#4294967295 report"), (u32::MAX, Ok(Action::Report)));
        assert_eq!(parsed("led on"), (0, Ok(Action::Led(true))));
        assert_eq!(parsed("#1 led off"), (1, Ok(Action::Led(false))));
    }

    #[test]
    fn bad_arguments_keep_the_id() {
        assert_eq!(parsed("#5 interval"), (5, Err(Outcome::Argument)));
        assert_eq!(parsed("#5 interval 0"), (5, Err(Outcome::Argument)));
        assert_eq!(parsed("#5 interval -3"), (5, Err(Outcome::Argument)));
        assert_eq!(parsed("#5 led blue"), (5, Err(Outcome::Argument)));
        assert_eq!(parsed("report now"), (0, Err(Outcome::Argument)));
    }

    #[test]
    fn anything_else_is_unknown() {
        assert_eq!(parsed(""), (0, Err(Outcome::Unknown)));
        assert_eq!(parsed("#9"), (9, Err(Outcome::Unknown)));
        assert_eq!(parsed("#4294967296 report"), (0, Err(Outcome::Unknown)));
        assert_eq!(parsed("#7 led on please"), (7, Err(Outcome::Unknown)));
        assert_eq!(Command::parse(&[0xFF, 0x00]).action, Err(Outcome::Unknown));
    }
}
