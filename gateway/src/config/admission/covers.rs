//! Which rules hide others.

use crate::session::Pattern;

/// Returns whether one pattern fits every client id that another one fits.
pub(super) fn covers(one: &Pattern, other: &Pattern) -> bool {
    let (one, other) = (in_order(one), in_order(other));
    // Whether the start of `one` fits all that the start of `other` up to here fits, for each
    // length of that start.
    let mut fits = vec![false; other.len() + 1];
    fits[0] = true;
    for part in one {
        let mut diagonal = fits[0];
        fits[0] = diagonal && part == '*';
        for (at, taken) in other.iter().enumerate() {
            let above = fits[at + 1];
            fits[at + 1] = match part {
                '*' => above || fits[at],
                // What a `*` stands for only a `*` can take.
                '?' => diagonal && *taken != '*',
                part => diagonal && part == *taken,
            };
            diagonal = above;
        }
    }
    fits[other.len()]
}

/// Returns a pattern in its one spelling: of wildcards side by side each `?` stands before the
/// only `*`.
fn in_order(pattern: &Pattern) -> Vec<char> {
    let mut parts = Vec::new();
    let mut has_star = false;
    for part in pattern.as_str().chars() {
        if part == '*' {
            has_star = true;
            continue;
        }
        if part != '?' && std::mem::take(&mut has_star) {
            parts.push('*');
        }
        parts.push(part);
    }
    parts.extend(has_star.then_some('*'));
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_they_take_all_of() {
        let covers = |one: &str, other: &str| covers(&Pattern::new(one), &Pattern::new(other));
        for (one, other) in [
            ("*", "pump-*"),
            ("*", "*"),
            ("*", ""),
            ("pump-*", "pump-1*"),
            ("pump-*", "pump-??"),
            ("pump-*", "pump-17"),
            ("pump-?", "pump-?"),
            ("pump-17", "pump-17"),
            ("*?", "?*"),
            ("?*", "*??*"),
            ("*-7", "pump-*-7"),
            ("*a*b*", "?a*a?b"),
        ] {
            assert!(covers(one, other), "{one} {other}");
        }
        for (one, other) in [
            ("pump-*", "*"),
            ("pump-?", "pump-*"),
            ("pump-?", "pump-??"),
            ("pump-??", "pump-?"),
            ("pump-1", "pump-?"),
            ("?*", "*"),
            ("*-7", "pump-*"),
            ("*a*b*", "b*a"),
        ] {
            assert!(!covers(one, other), "{one} {other}");
        }
    }
}
