//! Names, filters, and which match, by table and against an oracle.

use std::string::String;
use std::vec::Vec;

use proptest::prelude::*;
use rstest::rstest;

use super::*;
use crate::wire::{ShortName, TopicId};

#[rstest]
#[case("a", Ok(()))]
#[case("/", Ok(()))]
#[case("a//b", Ok(()))]
#[case(" ", Ok(()))]
#[case("$SYS/broker", Ok(()))]
#[case("Wüste/Öl", Ok(()))]
#[case("", Err(TopicError::Empty))]
#[case("a\0b", Err(TopicError::Nul))]
#[case("a/+", Err(TopicError::WildcardInName))]
#[case("a+b", Err(TopicError::WildcardInName))]
#[case("#", Err(TopicError::WildcardInName))]
fn names_are_checked(#[case] name: &str, #[case] expected: Result<(), TopicError>) {
    assert_eq!(TopicName::new(name).map(|_| ()), expected);
    assert_eq!(TopicName::from_bytes(name.as_bytes()).map(|_| ()), expected);
}

#[rstest]
#[case("#", Ok(()))]
#[case("+", Ok(()))]
#[case("a/#", Ok(()))]
#[case("+/+/#", Ok(()))]
#[case("/+", Ok(()))]
#[case("+/a/+", Ok(()))]
#[case("a//#", Ok(()))]
#[case("$SYS/#", Ok(()))]
#[case("$share", Ok(()))]
#[case("$shared/a", Ok(()))]
#[case("$share/group/a/+/#", Ok(()))]
#[case("$share/group//", Ok(()))]
#[case("", Err(TopicError::Empty))]
#[case("a\0", Err(TopicError::Nul))]
#[case("a/#/b", Err(TopicError::HashNotLast))]
#[case("#/", Err(TopicError::HashNotLast))]
#[case("##", Err(TopicError::WildcardNotAlone))]
#[case("a#", Err(TopicError::WildcardNotAlone))]
#[case("a/b+", Err(TopicError::WildcardNotAlone))]
#[case("+a/b", Err(TopicError::WildcardNotAlone))]
#[case("++", Err(TopicError::WildcardNotAlone))]
#[case("$share/", Err(TopicError::ShareName))]
#[case("$share//a", Err(TopicError::ShareName))]
#[case("$share/+/a", Err(TopicError::ShareName))]
#[case("$share/g#/a", Err(TopicError::ShareName))]
#[case("$share/group", Err(TopicError::ShareWithoutFilter))]
#[case("$share/group/", Err(TopicError::ShareWithoutFilter))]
#[case("$share/group/a#", Err(TopicError::WildcardNotAlone))]
fn filters_are_checked(#[case] filter: &str, #[case] expected: Result<(), TopicError>) {
    assert_eq!(Filter::new(filter).map(|_| ()), expected);
    assert_eq!(Filter::from_bytes(filter.as_bytes()).map(|_| ()), expected);
}

#[test]
fn octets_that_are_not_utf8_are_refused() {
    // The last one is U+D800 in the shape of UTF-8, which MQTT forbids too.
    for octets in [&b"\xFF"[..], b"a/\xC3", b"\xED\xA0\x80"] {
        assert_eq!(TopicName::from_bytes(octets), Err(TopicError::NotUtf8));
        assert_eq!(Filter::from_bytes(octets), Err(TopicError::NotUtf8));
    }
}

#[test]
fn the_length_limit_is_in_octets_and_inclusive() {
    let longest = "ä".repeat(TOPIC_LEN_MAX / 2) + "a";
    assert_eq!(longest.len(), TOPIC_LEN_MAX);
    assert!(TopicName::new(&longest).is_ok());
    assert!(Filter::new(&longest).is_ok());
    let longer = longest + "a";
    let expected = TopicError::TooLong(TOPIC_LEN_MAX + 1);
    assert_eq!(TopicName::new(&longer), Err(expected));
    assert_eq!(Filter::new(&longer), Err(expected));
    assert_eq!(TopicName::from_bytes(longer.as_bytes()), Err(expected));
    assert_eq!(TopicName::from_bytes(&[0xFF; 65_536]), Err(expected));
}

#[rstest]
#[case(*b"ab", Ok("ab"))]
#[case(*b"/a", Ok("/a"))]
#[case([0xC3, 0xA4], Ok("ä"))]
#[case(*b"a+", Err(TopicError::WildcardInName))]
#[case(*b"#a", Err(TopicError::WildcardInName))]
#[case([b'a', 0], Err(TopicError::Nul))]
#[case([0xC3, b'a'], Err(TopicError::NotUtf8))]
#[case([0x80, 0x80], Err(TopicError::NotUtf8))]
fn short_names_are_checked(#[case] octets: [u8; 2], #[case] expected: Result<&str, TopicError>) {
    let short = ShortName(octets);
    assert_eq!(
        TopicName::from_short(&short).map(TopicName::as_str),
        expected
    );
    if let Ok(name) = TopicName::from_short(&short) {
        assert_eq!(name.to_short(), Some(short));
    }
}

#[test]
fn only_two_octets_make_a_short_name() {
    for (name, expected) in [
        ("a", None),
        ("ab", Some(ShortName(*b"ab"))),
        ("abc", None),
        ("ä", Some(ShortName([0xC3, 0xA4]))),
        ("ää", None),
    ] {
        assert_eq!(TopicName::new(name).unwrap().to_short(), expected, "{name}");
    }
}

// The examples of [MQTT 3.1.1 §4.7.1–4.7.3] first.
#[rstest]
#[case("sport/tennis/player1/#", "sport/tennis/player1", true)]
#[case("sport/tennis/player1/#", "sport/tennis/player1/ranking", true)]
#[case("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true)]
#[case("sport/#", "sport", true)]
#[case("sport/#", "sporty", false)]
#[case("#", "sport", true)]
#[case("#", "/", true)]
#[case("sport/tennis/+", "sport/tennis/player1", true)]
#[case("sport/tennis/+", "sport/tennis/player1/ranking", false)]
#[case("sport/+", "sport", false)]
#[case("sport/+", "sport/", true)]
#[case("+/+", "/finance", true)]
#[case("/+", "/finance", true)]
#[case("+", "/finance", false)]
#[case("#", "$SYS", false)]
#[case("#", "$SYS/monitor/Clients", false)]
#[case("+/monitor/Clients", "$SYS/monitor/Clients", false)]
#[case("$SYS/#", "$SYS/monitor/Clients", true)]
#[case("$SYS/#", "$SYS", true)]
#[case("$SYS/monitor/+", "$SYS/monitor/Clients", true)]
#[case("ACCOUNTS", "Accounts", false)]
#[case("a", "/a", false)]
#[case("a/b", "a/b", true)]
#[case("a/b", "a/b/", false)]
#[case("a/b/", "a/b", false)]
#[case("a/+/c", "a//c", true)]
#[case("a/+/#", "a", false)]
#[case("a/+/#", "a/b", true)]
#[case("+/#", "a", true)]
#[case("+/#", "$a", false)]
#[case("a/+", "a/$b", true)]
#[case("a/#", "a/$b/c", true)]
#[case("+/+/+", "a/b", false)]
#[case("input/+/temperature", "input/antonio/temperature", true)]
#[case("$share/g/a/+", "a/b", true)]
#[case("$share/g/a/+", "a", false)]
#[case("$share/g/#", "$SYS/a", false)]
#[case("$share/g/$SYS/#", "$SYS/a", true)]
#[case("$share/g//a", "/a", true)]
#[case("$shared/a", "$shared/a", true)]
fn filters_match(#[case] filter: &str, #[case] name: &str, #[case] expected: bool) {
    assert_eq!(matches(filter, name), expected);
    let filter = Filter::new(filter).unwrap();
    assert_eq!(filter.matches(TopicName::new(name).unwrap()), expected);
}

#[rstest]
#[case("a/b", "a/b", true)]
#[case("a/b", "a/c", false)]
#[case("a/b", "a/+", false)]
#[case("a/b", "a/b/c", false)]
#[case("a/b/c", "a/b", false)]
#[case("a/b", "a/b/#", false)]
#[case("a/+", "a/b", true)]
#[case("a/+", "a/", true)]
#[case("a/+", "a/+", true)]
#[case("a/+", "a", false)]
#[case("a/+", "a/#", false)]
#[case("a/+", "a/b/c", false)]
#[case("a/#", "a", true)]
#[case("a/#", "a/b/+/c", true)]
#[case("a/#", "a/#", true)]
#[case("a/#", "ab", false)]
#[case("a/#", "+/b", false)]
#[case("a/#", "#", false)]
#[case("a/+/#", "a/#", false)]
#[case("a/+/#", "a/+", true)]
#[case("a/+/#", "a/b/#", true)]
#[case("+/b", "a/b", true)]
#[case("+/b", "a/+", false)]
#[case("+/#", "#", true)]
#[case("#", "+/#", true)]
#[case("+/+/#", "#", false)]
#[case("/+/#", "/#", true)]
#[case("+/+/#", "/#", true)]
#[case("+/+", "/#", false)]
#[case("/+/+/#", "/#", false)]
#[case("a/+/#", "/#", false)]
#[case("+", "#", false)]
#[case("#", "#", true)]
#[case("#", "/", true)]
#[case("#", "a/b", true)]
#[case("#", "$SYS", false)]
#[case("#", "$SYS/#", false)]
#[case("+/a", "$x/a", false)]
#[case("$SYS/#", "$SYS/+/a", true)]
#[case("$SYS/#", "#", false)]
#[case("a/#", "a/$b", true)]
#[case("$share/g/a/#", "a/b", true)]
#[case("a/#", "$share/g/a/b", true)]
#[case("#", "$share/g/$SYS/a", false)]
fn filters_cover(#[case] allowed: &str, #[case] asked: &str, #[case] expected: bool) {
    assert!(Filter::new(allowed).is_ok() && Filter::new(asked).is_ok());
    assert_eq!(covers(allowed, asked), expected);
}

#[rstest]
#[case("a/b", false, None, Some("a/b"))]
#[case("a/+", true, None, None)]
#[case("#", true, None, None)]
#[case("$share/g/a", false, Some("g"), None)]
#[case("$share/g/a/#", true, Some("g"), None)]
#[case("$share", false, None, Some("$share"))]
fn filters_tell_what_they_are(
    #[case] filter: &str,
    #[case] wildcard: bool,
    #[case] share_name: Option<&str>,
    #[case] exact: Option<&str>,
) {
    let filter = Filter::new(filter).unwrap();
    assert_eq!(filter.has_wildcard(), wildcard);
    assert_eq!(filter.share_name(), share_name);
    assert_eq!(filter.exact_name().map(TopicName::as_str), exact);
}

/// The standard's sentences, one clause each.
fn oracle(filter: &[&str], name: &[&str]) -> bool {
    match (filter, name) {
        ([], []) => true,
        (["#"], _) => true,
        (["+", filter @ ..], [_, name @ ..]) => oracle(filter, name),
        ([same, filter @ ..], [level, name @ ..]) if same == level => oracle(filter, name),
        _ => false,
    }
}

fn oracle_matches(filter: &str, name: &str) -> bool {
    let filter: Vec<_> = filter.split('/').collect();
    let name: Vec<_> = name.split('/').collect();
    let hidden = name[0].starts_with('$') && ["+", "#"].contains(&filter[0]);
    !hidden && oracle(&filter, &name)
}

fn level() -> impl Strategy<Value = &'static str> {
    prop::sample::select(&["", "a", "b", "ab", "ä", "$", "$a"][..])
}

fn name() -> impl Strategy<Value = String> {
    prop::collection::vec(level(), 1..5)
        .prop_map(|levels| levels.join("/"))
        .prop_filter("a name is not empty", |name| !name.is_empty())
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop_oneof![3 => level(), 2 => Just("+")];
    (prop::collection::vec(level, 0..5), any::<bool>())
        .prop_map(|(mut levels, hash)| {
            if hash {
                levels.push("#");
            }
            levels.join("/")
        })
        .prop_filter("a filter is not empty", |filter| !filter.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn matching_agrees_with_the_oracle(filter in filter(), name in name()) {
        prop_assert!(Filter::new(&filter).is_ok());
        prop_assert!(TopicName::new(&name).is_ok());
        prop_assert_eq!(matches(&filter, &name), oracle_matches(&filter, &name));
    }

    /// A filter that is made from the name by putting wildcards in matches it.
    #[test]
    fn a_name_matches_the_filters_made_from_it(
        name in name(),
        plus in prop::collection::vec(any::<bool>(), 5),
        hash in prop::option::of(0_usize..5),
    ) {
        let mut levels: Vec<_> = name
            .split('/')
            .zip(plus)
            .map(|(level, plus)| if plus && !level.starts_with('$') { "+" } else { level })
            .collect();
        if let Some(hash) = hash.filter(|hash| *hash > 0) {
            levels.truncate(hash);
            levels.push("#");
        }
        let filter = levels.join("/");
        prop_assert!(matches(&filter, &name), "{filter} {name}");
    }

    #[test]
    fn any_text_is_judged_without_a_panic(filter in ".{0,12}", name in ".{0,12}") {
        let _ = (matches(&filter, &name), covers(&filter, &name));
        let checked = Filter::new(&filter);
        if let (Ok(filter), Ok(name)) = (checked, TopicName::new(&name)) {
            let _ = filter.matches(name);
        }
        if let Ok(name) = TopicName::new(&filter) {
            // Every name is a filter but the malformed shared ones, and matches itself.
            prop_assert!(checked.is_ok() || name.as_str().starts_with("$share/"));
            prop_assert!(checked.is_err() || name.as_str().starts_with("$share/")
                || matches(&filter, name.as_str()));
        }
    }

    #[test]
    fn any_octets_are_judged_without_a_panic(octets in prop::collection::vec(any::<u8>(), 0..40)) {
        prop_assert_eq!(
            TopicName::from_bytes(&octets).is_err_and(|error| error == TopicError::NotUtf8),
            std::str::from_utf8(&octets).is_err()
        );
        let _ = Filter::from_bytes(&octets);
    }
}

/// Every name of up to five levels from those that the filters below are made of, and of one
/// level that is in none of them: enough to tell any two of the filters apart.
fn names_of_small_filters() -> Vec<String> {
    const LEVELS: [&str; 4] = ["", "a", "$", "other"];
    let mut names: Vec<String> = LEVELS.map(String::from).to_vec();
    let mut longer = names.clone();
    for _ in 0..4 {
        longer = longer
            .iter()
            .flat_map(|name| LEVELS.map(|level| std::format!("{name}/{level}")))
            .collect();
        names.extend_from_slice(&longer);
    }
    names.retain(|name| !name.is_empty());
    names
}

/// Every filter of up to three levels from a few, the last of which may be `#`.
fn small_filters() -> Vec<String> {
    const LEVELS: [&str; 4] = ["", "a", "$", "+"];
    let mut filters: Vec<String> = std::vec![String::from("#")];
    let mut longer: Vec<String> = LEVELS.map(String::from).to_vec();
    for _ in 0..3 {
        for filter in &longer {
            filters.extend([filter.clone(), std::format!("{filter}/#")]);
        }
        longer = longer
            .iter()
            .flat_map(|filter| LEVELS.map(|level| std::format!("{filter}/{level}")))
            .collect();
    }
    filters.retain(|filter| !filter.is_empty());
    filters
}

#[test]
fn covering_is_matching_whatever_the_other_matches() {
    let (filters, names) = (small_filters(), names_of_small_filters());
    // Which names each filter matches, a bit for each.
    let matched: Vec<Vec<bool>> = filters
        .iter()
        .map(|filter| names.iter().map(|name| matches(filter, name)).collect())
        .collect();
    for (allowed, in_allowed) in filters.iter().zip(&matched) {
        for (asked, in_asked) in filters.iter().zip(&matched) {
            let both = in_asked.iter().zip(in_allowed);
            let outside = both
                .zip(&names)
                .find(|((asked, allowed), _)| **asked && !**allowed)
                .map(|(_, name)| name);
            assert_eq!(
                covers(allowed, asked),
                outside.is_none(),
                "{allowed} and {asked}: {outside:?}"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_filter_covers_itself_and_exactly_the_names_it_matches(filter in filter(), name in name()) {
        prop_assert!(covers(&filter, &filter));
        prop_assert_eq!(covers(&filter, &name), matches(&filter, &name));
    }

    /// What is covered twice over is covered.
    #[test]
    fn covering_carries_on(a in filter(), b in filter(), c in filter()) {
        prop_assert!(!(covers(&a, &b) && covers(&b, &c)) || covers(&a, &c));
    }
}

// ---- pre-defined topics ----

const fn topic(id: u16, name: &str) -> PredefinedTopic<'_> {
    PredefinedTopic {
        id: TopicId(id),
        name,
    }
}

#[test]
fn a_table_finds_by_id_and_by_name() {
    const TOPICS: &[PredefinedTopic<'static>] =
        &[topic(1, "well/1/pressure"), topic(0xFFFE, "well/1/valve")];
    let table = PredefinedTable::new(TOPICS);
    assert_eq!(table.validate(), Ok(()));
    assert_eq!(table.name_of(TopicId(1)), Some("well/1/pressure"));
    assert_eq!(table.name_of(TopicId(2)), None);
    assert_eq!(table.id_of("well/1/valve"), Some(TopicId(0xFFFE)));
    assert_eq!(table.id_of("well/1"), None);
    assert_eq!((table.len(), table.is_empty()), (2, false));
    assert_eq!(table.into_iter().count(), 2);
    assert!(PredefinedTable::default().is_empty());
}

#[rstest]
#[case(&[], Ok(()))]
#[case(&[topic(0, "a")], Err(PredefinedError::ReservedId { index: 0, id: TopicId(0) }))]
#[case(
    &[topic(1, "a"), topic(0xFFFF, "b")],
    Err(PredefinedError::ReservedId { index: 1, id: TopicId(0xFFFF) })
)]
#[case(
    &[topic(1, "a"), topic(2, "b/+")],
    Err(PredefinedError::Name { index: 1, error: TopicError::WildcardInName })
)]
#[case(&[topic(1, "")], Err(PredefinedError::Name { index: 0, error: TopicError::Empty }))]
#[case(
    &[topic(1, "a"), topic(2, "b"), topic(1, "c")],
    Err(PredefinedError::DuplicateId { first: 0, second: 2 })
)]
#[case(
    &[topic(1, "a"), topic(2, "b"), topic(3, "b")],
    Err(PredefinedError::DuplicateName { first: 1, second: 2 })
)]
fn a_table_is_checked(
    #[case] topics: &[PredefinedTopic<'_>],
    #[case] expected: Result<(), PredefinedError>,
) {
    assert_eq!(PredefinedTable::new(topics).validate(), expected);
}
