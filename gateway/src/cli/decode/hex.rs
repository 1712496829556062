//! Octets as text and back: hex as people paste it, and text where octets are some.

use thiserror::Error;

/// Why text is not the hex of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(super) enum HexError {
    /// A character that is neither a hex digit nor a separator.
    #[error("{character:?} at column {column} is not a hex digit")]
    Digit { character: char, column: usize },
    /// A group of digits that ends within an octet.
    #[error("the {count} hex digits at column {column} are not whole octets")]
    Odd { count: usize, column: usize },
}

/// Returns the octets of `text`: pairs of hex digits in any case, apart from the separators
/// space, `:`, `,`, `-` and `_`, and with or without `0x` before a group.
pub(super) fn octets(text: &str) -> Result<Vec<u8>, HexError> {
    let mut octets = Vec::with_capacity(text.len() / 2);
    let mut column = 1;
    for group in text.split(is_separator) {
        octets_of_group(group, column, &mut octets)?;
        column += group.chars().count() + 1;
    }
    Ok(octets)
}

/// Returns `octets` in hex.
pub(super) fn digits(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

/// Returns `octets` as text where they are some and none would spoil a terminal.
pub(super) fn printable(octets: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(octets).ok()?;
    (!text.is_empty() && !text.chars().any(char::is_control)).then_some(text)
}

fn octets_of_group(group: &str, column: usize, octets: &mut Vec<u8>) -> Result<(), HexError> {
    let bare = group
        .strip_prefix("0x")
        .or_else(|| group.strip_prefix("0X"))
        .unwrap_or(group);
    let column = column + group.len() - bare.len();
    let mut high = None;
    for (at, character) in bare.chars().enumerate() {
        let digit = character
            .to_digit(16)
            .and_then(|digit| u8::try_from(digit).ok())
            .ok_or(HexError::Digit {
                character,
                column: column + at,
            })?;
        match high.take() {
            None => high = Some(digit),
            Some(high) => octets.push(high << 4 | digit),
        }
    }
    match high {
        None => Ok(()),
        Some(_) => Err(HexError::Odd {
            count: bare.chars().count(),
            column,
        }),
    }
}

fn is_separator(character: char) -> bool {
    character.is_whitespace() || matches!(character, ':' | ',' | '-' | '_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_and_prefixes_are_skipped() {
        for text in [
            "0b0c20fe",
            "0B0C20FE",
            "0b 0c 20 fe",
            " 0b:0c:20:fe ",
            "0x0b0c20fe",
            "0x0b, 0x0c, 0X20, 0xfe",
            "0b-0c-20-fe",
            "0b0c_20fe",
            "0b0c\t20\nfe\r\n",
        ] {
            assert_eq!(octets(text), Ok(vec![0x0B, 0x0C, 0x20, 0xFE]), "{text:?}");
        }
        assert_eq!(octets(""), Ok(vec![]));
    }

    #[test]
    fn wrong_characters_are_named_with_their_column() {
        let digit = |character, column| Err(HexError::Digit { character, column });
        assert_eq!(octets("0b0g"), digit('g', 4));
        assert_eq!(octets("0b 0x0z"), digit('z', 7));
        assert_eq!(octets("°"), digit('°', 1));
        assert_eq!(octets("00x1"), digit('x', 3));
    }

    #[test]
    fn digits_are_read_back() {
        let all: Vec<u8> = (0..=0xFF).collect();
        assert_eq!(octets(&digits(&all)), Ok(all));
    }

    #[test]
    fn printable_is_text_without_controls() {
        assert_eq!(printable("21.5 °C".as_bytes()), Some("21.5 °C"));
        for octets in [
            &b""[..],
            b"\n",
            b"a\0",
            b"\x1b[31m",
            b"\xff",
            "\u{9b}".as_bytes(),
        ] {
            assert_eq!(printable(octets), None, "{octets:02x?}");
        }
    }

    #[test]
    fn half_octets_are_refused() {
        let odd = |count, column| Err(HexError::Odd { count, column });
        assert_eq!(octets("0b0"), odd(3, 1));
        // Two halves do not make an octet: the separator says where one ends.
        assert_eq!(octets("0b 0 c"), odd(1, 4));
        assert_eq!(octets("0x5"), odd(1, 3));
    }
}
