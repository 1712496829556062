//! Retained messages over one connection for all nodes: they go to who asked, once (D-16).

use std::sync::Arc;

use shared::time::{Duration, Instant};
use shared::wire::QoS;

use super::engine::Engine;
use super::slots::{SessionKey, TimerOwner};
use super::subscription_tree::RetainedWish;

/// How long after the broker's answer its retained messages are taken for the node's.
const RETAINED_WINDOW: Duration = Duration::from_secs(30);

/// The most retained wishes at once; further subscribers get live messages only.
const WISHES_MAX: usize = 4096;

/// The most topics that one wish remembers as given.
const GIVEN_MAX: usize = 1024;

impl Engine {
    pub(super) fn wish_retained(
        &mut self,
        now: Instant,
        key: SessionKey,
        filter: &Arc<str>,
        qos: QoS,
    ) {
        self.wishes
            .retain(|wish| wish.until > now && !(wish.key == key && wish.filter == *filter));
        if self.wishes.len() >= WISHES_MAX {
            return;
        }
        let until = now + self.patience(key) + RETAINED_WINDOW;
        let (filter, given) = (Arc::clone(filter), Vec::new());
        self.wishes.push(RetainedWish {
            filter,
            key,
            qos,
            until,
            given,
        });
        self.timers
            .arm(&mut self.retained_timer, until, TimerOwner::Retained);
    }

    pub(super) fn retained_timeout(&mut self, now: Instant) {
        self.retained_timer = None;
        self.wishes.retain(|wish| wish.until > now);
        if let Some(until) = self.wishes.iter().map(|wish| wish.until).min() {
            self.timers
                .arm(&mut self.retained_timer, until, TimerOwner::Retained);
        }
    }

    /// Returns who wished for a retained message on `topic` and has not been given it yet.
    pub(super) fn take_wishes(&mut self, now: Instant, topic: &Arc<str>) -> Vec<(SessionKey, QoS)> {
        let mut wishers: Vec<(SessionKey, QoS)> = Vec::new();
        for wish in &mut self.wishes {
            let wanted = wish.until > now
                && wish.given.len() < GIVEN_MAX
                && shared::topics::matches(&wish.filter, topic)
                && !wish.given.contains(topic);
            if wanted {
                wish.given.push(Arc::clone(topic));
                wishers.push((wish.key, wish.qos));
            }
        }
        wishers.sort_unstable_by_key(|(key, qos)| (*key, std::cmp::Reverse(*qos)));
        wishers.dedup_by_key(|(key, _)| *key);
        wishers
    }
}
