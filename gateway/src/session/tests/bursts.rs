//! A burst for a sleeping node: the bounded set, in order, over several wakes, never a replay.

use std::collections::{BTreeMap, BTreeSet};

use super::*;

const TOPICS: u64 = 12;

/// What was sent of a burst, and to whom it belongs.
struct Burst {
    script: Script,
    rng: Rng,
    place: Binding,
    /// What was published, by its number: topic and quality of service.
    published: BTreeMap<u64, (u64, QoS)>,
    /// What the node has taken, in its order.
    taken: Vec<u64>,
    /// What it has said PUBREC for and not yet been told PUBREL.
    half: BTreeMap<MsgId, u64>,
    /// What it acknowledged to its end.
    done: BTreeSet<u64>,
    loss_percent: u64,
}

impl Burst {
    fn new(seed: u64, budget: Option<u32>, loss_percent: u64) -> Self {
        let mut script = Script::with(|settings| {
            settings.mailbox.messages_max = 120;
            settings.topic_priorities = vec![
                ("t/0".into(), Priority::High),
                ("t/1".into(), Priority::Low),
            ];
        });
        script.connected(NODE, "a", false);
        script.subscribed(NODE, "t/#", QoS::ExactlyOnce);
        script.rule("a", |rule| rule.awake_messages_max = budget);
        script.asleep(NODE, 3600);
        Self {
            script,
            rng: Rng::new(seed),
            place: NODE,
            published: BTreeMap::new(),
            taken: Vec::new(),
            half: BTreeMap::new(),
            done: BTreeSet::new(),
            loss_percent,
        }
    }

    fn publish(&mut self) {
        for n in 0..500 {
            let topic = self.rng.below(TOPICS);
            let qos = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
            let qos = qos[usize::try_from(self.rng.below(3)).unwrap()];
            self.published.insert(n, (topic, qos));
            self.script
                .delivery(n + 1, &format!("t/{topic}"), &n.to_string(), qos);
        }
        self.script.hears_nothing();
    }

    /// The node wakes, perhaps elsewhere, and answers what it hears until PINGRESP comes or it
    /// gives up. Returns whether PINGRESP came, and how many publications were sent.
    fn wake(&mut self) -> (bool, u32) {
        if self.rng.below(4) == 0 {
            self.place = if self.place == NODE { OTHER } else { NODE };
        }
        let mut numbers = BTreeSet::new();
        let mut finished = false;
        for _ in 0..4 {
            self.script.says(self.place, &ping("a"));
            while let Some((to, datagram)) = self.script.sent.pop_front() {
                assert!(!finished, "sent after PINGRESP");
                assert_eq!(to, self.place);
                if let Ok(Message::Publish(publish)) = Message::parse(&datagram) {
                    numbers.insert(number(&publish));
                }
                if self.rng.below(100) >= self.loss_percent {
                    finished = self.hear(&datagram);
                }
            }
            if finished {
                break;
            }
            self.script.wait(Duration::from_secs(3));
        }
        // A ping too many may have begun another wake; this one is over at any rate.
        self.script.wait(Duration::from_secs(300));
        self.script.sent.clear();
        (finished, u32::try_from(numbers.len()).unwrap())
    }

    fn hear(&mut self, datagram: &[u8]) -> bool {
        let answer = match Message::parse(datagram).unwrap() {
            Message::PingResp => return true,
            Message::Register(register) => regack(register.topic_id, register.msg_id, ACCEPTED),
            Message::Publish(publish) => match self.take(&publish) {
                Some(answer) => answer,
                None => return false,
            },
            Message::PubRel(msg_id) => {
                if let Some(n) = self.half.remove(&msg_id) {
                    self.finish(n);
                }
                Message::PubComp(msg_id)
            }
            other => panic!("unexpected {other:?}"),
        };
        if self.rng.below(100) >= self.loss_percent {
            let mut buf = vec![0; answer.encoded_len()];
            answer.emit(&mut buf).unwrap();
            self.script.raw(self.place, &buf);
            if let Message::PubAck(ack) = answer {
                let n = self.half.remove(&ack.msg_id).expect("it was taken");
                self.finish(n);
            }
        }
        false
    }

    /// Takes a publication at the node; what is acknowledged to its end may not come again.
    fn take(&mut self, publish: &Publish<'_>) -> Option<Message<'static>> {
        let n = number(publish);
        assert!(!self.done.contains(&n), "{n} is a replay");
        assert_eq!(publish.qos, self.published[&n].1);
        if self.taken.last() != Some(&n) {
            assert!(!self.taken.contains(&n), "{n} comes again, out of order");
            self.taken.push(n);
        } else {
            assert_ne!(publish.qos, QoS::AtMostOnce, "{n} comes twice");
            assert!(publish.dup);
        }
        match publish.qos {
            QoS::AtLeastOnce => {
                self.half.insert(publish.msg_id, n);
                Some(puback(TopicId::NONE, publish.msg_id, ACCEPTED))
            }
            QoS::ExactlyOnce => {
                self.half.insert(publish.msg_id, n);
                Some(Message::PubRec(publish.msg_id))
            }
            _ => None,
        }
    }

    fn finish(&mut self, n: u64) {
        self.done.insert(n);
    }

    fn check(&self, kept: &BTreeSet<u64>, lossless: bool) {
        let taken: BTreeSet<u64> = self.taken.iter().copied().collect();
        if lossless {
            assert_eq!(&taken, kept);
        }
        let mut last = BTreeMap::new();
        for n in &self.taken {
            let (topic, _) = self.published[n];
            let before = last.insert(topic, *n);
            assert!(before < Some(*n), "topic {topic} is out of order");
        }
    }
}

fn number(publish: &Publish<'_>) -> u64 {
    std::str::from_utf8(publish.payload)
        .unwrap()
        .parse()
        .unwrap()
}

/// What a mailbox of 120 with 20 at QoS 0 keeps of a burst.
fn kept(published: &BTreeMap<u64, (u64, QoS)>) -> BTreeSet<u64> {
    let importance = |topic: u64| match topic {
        0 => 2,
        1 => 0,
        _ => 1,
    };
    let (mut zero, mut other) = (Vec::new(), BTreeSet::new());
    for (n, (topic, qos)) in published {
        if *qos != QoS::AtMostOnce {
            if other.len() >= 120 {
                continue;
            }
            other.insert(*n);
            if zero.len() + other.len() > 120 {
                zero.sort_unstable();
                zero.remove(0);
            }
            continue;
        }
        if other.len() >= 120 {
            continue;
        }
        zero.push((importance(*topic), *n));
        if zero.len() > 20 || zero.len() + other.len() > 120 {
            zero.sort_unstable();
            // The new one itself where all others are more important.
            zero.remove(0);
        }
    }
    other.extend(zero.into_iter().map(|(_, n)| n));
    other
}

#[test]
fn a_burst_of_500_comes_bounded_in_order_over_several_wakes() {
    for seed in 0..20 {
        let mut burst = Burst::new(seed, Some(25), 0);
        burst.publish();
        let kept = kept(&burst.published);
        let mut wakes = 0;
        let mut sent = 0;
        while sent < kept.len() {
            let (finished, publications) = burst.wake();
            assert!(finished && publications <= 25, "SEED={seed}");
            sent += usize::try_from(publications).unwrap();
            wakes += 1;
            assert!(wakes <= 10, "SEED={seed}: {} of {}", sent, kept.len());
        }
        assert_eq!(burst.wake(), (true, 0), "SEED={seed}");
        burst.check(&kept, true);
        // The most important of all came first.
        let high = burst.taken.iter().take_while(|n| burst.published[n].0 == 0);
        let all = kept.iter().filter(|n| burst.published[n].0 == 0).count();
        assert_eq!(high.count(), all, "SEED={seed}");
        assert_eq!(burst.script.engine.deliveries_held(), 0, "SEED={seed}");
    }
}

#[test]
fn a_burst_over_a_bad_link_is_in_order_and_never_replayed() {
    for seed in 0..100 {
        let budget = (seed % 2 == 0).then_some(10);
        let mut burst = Burst::new(seed, budget, 15 + seed % 3 * 10);
        burst.publish();
        let kept = kept(&burst.published);
        let mut wakes = 0;
        loop {
            let (finished, publications) = burst.wake();
            if let Some(budget) = budget {
                // A PINGRESP that was lost makes a wake of the next ping.
                assert!(publications <= 4 * budget, "SEED={seed}");
            }
            if finished && publications == 0 {
                break;
            }
            wakes += 1;
            assert!(wakes <= 1000, "SEED={seed}");
        }
        burst.check(&kept, false);
        assert_eq!(burst.script.engine.deliveries_held(), 0, "SEED={seed}");
        let dropped = burst.script.drops();
        let given_up = dropped
            .iter()
            .filter(|reason| **reason == DropReason::Unacknowledged)
            .count();
        let strict = |n: &&u64| burst.published[n].1 != QoS::AtMostOnce;
        let owed = kept.iter().filter(strict).count();
        let got = burst.taken.iter().filter(strict).count();
        assert!(
            got + given_up >= owed,
            "SEED={seed}: {got} and {given_up} of {owed}"
        );
    }
}
