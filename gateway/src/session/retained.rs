//! Retained messages over one connection for all nodes: they go to who asked, once (D-16).

use std::cmp::Reverse;
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

    /// Returns who wished for a retained message on `topic` and has not been given it yet. Of
    /// a copy that the broker sent for `copy_of` alone, those whose best wish is one of them:
    /// the others have a copy of their own. Each wish of a node is fulfilled by what it is given.
    pub(super) fn take_wishes(
        &mut self,
        now: Instant,
        topic: &Arc<str>,
        copy_of: &[Arc<str>],
    ) -> Vec<(SessionKey, QoS)> {
        let wants = |wish: &RetainedWish| {
            wish.until > now
                && wish.given.len() < GIVEN_MAX
                && shared::topics::matches(&wish.filter, topic)
                && !wish.given.contains(topic)
        };
        let mut wishers: Vec<_> = self
            .wishes
            .iter()
            .filter(|wish| wants(wish))
            .map(|wish| (wish.key, Reverse(wish.qos), &wish.filter))
            .collect();
        wishers.sort_unstable();
        wishers.dedup_by_key(|(key, ..)| *key);
        let takers: Vec<_> = wishers
            .into_iter()
            .filter(|(.., filter)| copy_of.is_empty() || copy_of.contains(filter))
            .map(|(key, Reverse(qos), _)| (key, qos))
            .collect();
        for wish in &mut self.wishes {
            let given = takers.binary_search_by_key(&wish.key, |(key, _)| *key);
            if given.is_ok() && wants(wish) {
                wish.given.push(Arc::clone(topic));
            }
        }
        takers
    }

    /// A node has no use for the retained messages of a filter any more.
    pub(super) fn forget_wish(&mut self, key: SessionKey, filter: &str) {
        self.wishes
            .retain(|wish| wish.key != key || &*wish.filter != filter);
    }
}
