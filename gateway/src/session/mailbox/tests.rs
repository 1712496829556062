use bytes::Bytes;
use proptest::prelude::*;
use shared::time::Duration;
use shared::wire::QoS;

use super::super::letter::Lifetime;
use super::super::port::Publication;
use super::*;

const LIMITS: MailboxLimits = MailboxLimits {
    messages_max: 4,
    bytes_max: 1000,
    age_max: Duration::from_secs(1),
    qos0_max: 2,
    conflate_qos0: false,
};

/// Nothing had to go.
const NONE: [u8; 0] = [];

const QOS_0: QoS = QoS::AtMostOnce;
const QOS_1: QoS = QoS::AtLeastOnce;

/// A letter of ten octets that says `n` and arrived at `n` milliseconds.
fn letter(n: u8, qos: QoS) -> Letter {
    letter_on("t", n, qos, Priority::Normal)
}

fn letter_on(topic: &str, n: u8, qos: QoS, priority: Priority) -> Letter {
    let publication = Publication {
        topic: topic.into(),
        payload: Bytes::from(vec![n; 9]),
        qos,
        retain: false,
    };
    let now = Instant::from_millis(u64::from(n));
    let lifetime = Lifetime::new(now, LIMITS.age_max, None);
    Letter::new(publication, qos, None, priority, lifetime)
}

fn living(letter: Letter, lifetime: Lifetime) -> Letter {
    Letter::new(
        letter.publication,
        letter.qos,
        None,
        letter.priority,
        lifetime,
    )
}

fn n(letter: &Letter) -> u8 {
    letter.publication.payload[0]
}

/// Puts a letter in, and returns what had to go.
fn put(mailbox: &mut Mailbox, mut letter: Letter, limits: &MailboxLimits) -> Vec<u8> {
    mailbox.stamp(&mut letter);
    let gone = mailbox.push(letter, limits);
    gone.iter().map(|(letter, _)| n(letter)).collect()
}

fn drain(mailbox: &mut Mailbox) -> Vec<u8> {
    std::iter::from_fn(|| mailbox.pop())
        .map(|l| n(&l))
        .collect()
}

/// A mailbox with letters of these topics, qualities of service and priorities, in this order.
fn filled(letters: &[(&str, QoS, Priority)]) -> Mailbox {
    let mut mailbox = Mailbox::default();
    let limits = MailboxLimits {
        messages_max: 100,
        bytes_max: 10_000,
        qos0_max: 100,
        ..LIMITS
    };
    for (at, (topic, qos, priority)) in (0..).zip(letters) {
        let letter = letter_on(topic, at, *qos, *priority);
        assert_eq!(put(&mut mailbox, letter, &limits), NONE);
    }
    mailbox
}

#[test]
fn d27_the_newest_at_qos_0_are_kept() {
    let mut mailbox = Mailbox::default();
    let gone: Vec<_> = (0..4)
        .flat_map(|n| put(&mut mailbox, letter(n, QOS_0), &LIMITS))
        .collect();
    assert_eq!(gone, [0, 1]);
    assert_eq!(drain(&mut mailbox), [2, 3]);
    assert_eq!(mailbox.bytes, 0);
}

#[test]
fn d27_a_full_mailbox_gives_up_qos_0_first_then_refuses() {
    let mut mailbox = Mailbox::default();
    put(&mut mailbox, letter(0, QOS_0), &LIMITS);
    for n in 1..4 {
        assert_eq!(put(&mut mailbox, letter(n, QOS_1), &LIMITS), NONE);
    }
    assert_eq!(put(&mut mailbox, letter(4, QOS_1), &LIMITS), [0]);
    assert_eq!(put(&mut mailbox, letter(5, QOS_1), &LIMITS), [5]);
    assert_eq!(put(&mut mailbox, letter(6, QOS_0), &LIMITS), [6]);
    assert_eq!(drain(&mut mailbox), [1, 2, 3, 4]);
}

#[test]
fn d27_bytes_are_bounded() {
    let limits = MailboxLimits {
        bytes_max: 25,
        ..LIMITS
    };
    let mut mailbox = Mailbox::default();
    assert_eq!(put(&mut mailbox, letter(0, QOS_1), &limits), NONE);
    assert_eq!(put(&mut mailbox, letter(1, QOS_0), &limits), NONE);
    assert_eq!(put(&mut mailbox, letter(2, QOS_1), &limits), [1]);
    assert_eq!(put(&mut mailbox, letter(3, QOS_1), &limits), [3]);
}

#[test]
fn d27_what_can_never_fit_displaces_nothing() {
    let limits = MailboxLimits {
        bytes_max: 15,
        ..LIMITS
    };
    let mut mailbox = Mailbox::default();
    put(&mut mailbox, letter(0, QOS_0), &limits);
    let mut large = letter(1, QOS_1);
    large.publication.payload = Bytes::from(vec![1; 16]);
    assert_eq!(put(&mut mailbox, large, &limits), [1]);
    assert_eq!(drain(&mut mailbox), [0]);
}

#[test]
fn d27_the_least_important_at_qos_0_goes_first_and_never_for_less() {
    let mut mailbox = Mailbox::default();
    put(
        &mut mailbox,
        letter_on("h", 0, QOS_0, Priority::High),
        &LIMITS,
    );
    put(
        &mut mailbox,
        letter_on("n", 1, QOS_0, Priority::Normal),
        &LIMITS,
    );
    let low = letter_on("l", 2, QOS_0, Priority::Low);
    assert_eq!(put(&mut mailbox, low, &LIMITS), [2]);
    let high = letter_on("h", 3, QOS_0, Priority::High);
    assert_eq!(put(&mut mailbox, high, &LIMITS), [1]);
    assert_eq!(drain(&mut mailbox), [0, 3]);
}

#[test]
fn d27_of_a_topic_only_the_newest_at_qos_0_is_kept_where_asked_for() {
    let limits = MailboxLimits {
        conflate_qos0: true,
        ..LIMITS
    };
    let mut mailbox = Mailbox::default();
    let on = |topic, n, qos| letter_on(topic, n, qos, Priority::Normal);
    assert_eq!(put(&mut mailbox, on("a", 0, QOS_0), &limits), NONE);
    assert_eq!(put(&mut mailbox, on("b", 1, QOS_0), &limits), NONE);
    assert_eq!(put(&mut mailbox, on("a", 2, QOS_1), &limits), NONE);
    assert_eq!(put(&mut mailbox, on("a", 3, QOS_0), &limits), [0]);
    assert_eq!(put(&mut mailbox, on("b", 4, QOS_0), &limits), [1]);
    assert_eq!(drain(&mut mailbox), [2, 3, 4]);
}

#[test]
fn d27_what_is_too_old_goes_and_says_by_whose_word() {
    let mut mailbox = Mailbox::default();
    let millis = Duration::from_millis;
    let expiries = [None, Some(millis(100)), Some(millis(5000)), None];
    for (at, expiry) in (0..).zip(expiries) {
        let mut letter = letter(at, QOS_1);
        let now = Instant::from_millis(u64::from(at));
        letter = living(letter, Lifetime::new(now, LIMITS.age_max, expiry));
        put(&mut mailbox, letter, &LIMITS);
    }
    let mut expire = |at| -> Vec<_> {
        let gone = mailbox.expire(Instant::from_millis(at));
        gone.iter().map(|(letter, why)| (n(letter), *why)).collect()
    };
    assert_eq!(expire(100), []);
    assert_eq!(expire(101), [(1, DropReason::MailboxExpired)]);
    assert_eq!(expire(999), []);
    assert_eq!(expire(1000), [(0, DropReason::MailboxAge)]);
    // The mailbox's bound comes before the publisher's.
    assert_eq!(expire(1002), [(2, DropReason::MailboxAge)]);
    assert_eq!(mailbox.next_expiry(), Some(Instant::from_millis(1003)));
    assert_eq!(drain(&mut mailbox), [3]);
    assert_eq!(mailbox.next_expiry(), None);
}

#[test]
fn the_most_important_goes_first_and_each_topic_in_order() {
    let (low, normal, high) = (Priority::Low, Priority::Normal, Priority::High);
    let mut mailbox = filled(&[
        ("l", QOS_1, low),
        ("n", QOS_1, normal),
        ("h", QOS_0, high),
        ("l", QOS_0, low),
        ("h", QOS_1, high),
    ]);
    assert_eq!(drain(&mut mailbox), [2, 4, 1, 0, 3]);
}

#[test]
fn new_priorities_keep_the_order_of_each_topic() {
    let (low, normal, high) = (Priority::Low, Priority::Normal, Priority::High);
    let mut mailbox = filled(&[
        ("a", QOS_1, low),
        ("b", QOS_0, high),
        ("a", QOS_1, low),
        ("c", QOS_1, normal),
    ]);
    let mut first = mailbox.pop().unwrap();
    mailbox.rank_anew(|topic| if topic == "a" { high } else { low });
    first.priority = low;
    mailbox.put_back(first);
    let newest = letter_on("a", 4, QOS_1, high);
    put(
        &mut mailbox,
        newest,
        &MailboxLimits {
            messages_max: 5,
            ..LIMITS
        },
    );
    assert_eq!(mailbox.len(), 5);
    assert_eq!(drain(&mut mailbox), [0, 2, 4, 1, 3]);
}

#[test]
fn a20_none_passes_another_of_its_topic() {
    let normal = Priority::Normal;
    let mut mailbox = filled(&[
        ("a", QOS_1, normal),
        ("b", QOS_0, normal),
        ("a", QOS_0, normal),
        ("b", QOS_0, normal),
        ("b", QOS_1, normal),
        ("b", QOS_0, normal),
        ("unknown", QOS_0, normal),
    ]);
    let passing = |mailbox: &mut Mailbox| -> Vec<u8> {
        let known = |letter: &Letter| &*letter.publication.topic != "unknown";
        let letters = mailbox.take_passing(known);
        letters.iter().map(n).collect()
    };
    assert_eq!(passing(&mut mailbox), [1, 3]);
    assert_eq!(passing(&mut mailbox), NONE);
    assert_eq!(mailbox.pop().as_ref().map(n), Some(0));
    assert_eq!(passing(&mut mailbox), [2]);
    assert_eq!(drain(&mut mailbox), [4, 5, 6]);
}

#[test]
fn an_empty_mailbox_costs_no_buffer() {
    let mut mailbox = filled(&[("a", QOS_0, Priority::Normal)]);
    mailbox.pop();
    assert!(mailbox.topics.is_empty() && mailbox.qos0.is_empty());
    assert_eq!((mailbox.bytes, mailbox.qos0_bytes), (0, 0));
    assert!(size_of::<Mailbox>() <= 128, "{}", size_of::<Mailbox>());
}

proptest! {
    #[test]
    fn d27_the_bounds_hold_the_books_agree_and_topics_keep_their_order(
        steps in proptest::collection::vec((0..8_u8, 0..6_u8, 0..3_u8), 1..300),
        conflate_qos0: bool,
        qos0_max in 0..6_usize,
    ) {
        let limits = MailboxLimits { messages_max: 12, bytes_max: 100, qos0_max, conflate_qos0, ..LIMITS };
        let mut mailbox = Mailbox::default();
        let mut last: BTreeMap<Arc<str>, u64> = BTreeMap::new();
        let mut now = Instant::ZERO;
        for (step, topic, qos) in steps {
            now += Duration::from_millis(20);
            match step {
                0 => {
                    if let Some(letter) = mailbox.pop() {
                        let before = last.insert(letter.publication.topic.clone(), letter.turn);
                        prop_assert!(before.is_none_or(|before| before < letter.turn));
                    }
                }
                1 => drop(mailbox.expire(now)),
                2 => {
                    for letter in mailbox.take_passing(|letter| letter.publication.topic.len() > 1) {
                        let before = last.insert(letter.publication.topic.clone(), letter.turn);
                        prop_assert!(before.is_none_or(|before| before < letter.turn));
                    }
                }
                3 => drop(mailbox.remove_topic(&format!("t{topic}"))),
                _ => {
                    let priority = [Priority::Low, Priority::Normal, Priority::High][usize::from(topic) % 3];
                    let qos = [QOS_0, QOS_1, QoS::ExactlyOnce][usize::from(qos)];
                    let mut letter = letter_on(&format!("t{topic}"), 0, qos, priority);
                    letter = living(letter, Lifetime::new(now, Duration::from_millis(500), None));
                    let kept = mailbox.letters.values().filter(|letter| !letter.is_qos0()).count();
                    mailbox.stamp(&mut letter);
                    let gone = mailbox.push(letter, &limits);
                    let lost = gone.iter().filter(|(letter, _)| !letter.is_qos0()).count();
                    prop_assert!(lost == 0 || (lost == 1 && qos != QOS_0), "displaced");
                    prop_assert!(mailbox.letters.values().filter(|letter| !letter.is_qos0()).count() >= kept);
                }
            }
            let letters: Vec<_> = mailbox.letters.values().collect();
            let qos0 = letters.iter().filter(|letter| letter.is_qos0());
            prop_assert!(letters.len() <= 12 && mailbox.bytes <= 100);
            prop_assert!(qos0.clone().count() <= qos0_max);
            prop_assert_eq!(mailbox.qos0.len(), qos0.clone().count());
            prop_assert_eq!(mailbox.bytes, letters.iter().map(|letter| letter.len()).sum::<usize>());
            prop_assert_eq!(mailbox.qos0_bytes, qos0.clone().map(|letter| letter.len()).sum::<usize>());
            prop_assert_eq!(
                mailbox.topics.values().map(|waiting| waiting.letters).sum::<usize>(),
                letters.len()
            );
            let earliest = letters.iter().map(|letter| letter.until()).min();
            prop_assert!(mailbox.expiry <= earliest || earliest.is_none());
            prop_assert_eq!(mailbox.expiry.is_none(), earliest.is_none());
            if conflate_qos0 {
                let topics: BTreeSet<_> = qos0.clone().map(|letter| &letter.publication.topic).collect();
                prop_assert_eq!(topics.len(), mailbox.qos0.len());
            }
        }
    }
}
