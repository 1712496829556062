//! Nodes that must be heard now and then: their silence is published, without a ping.
//!
//! On `<status_prefix>/node/<client id>/status`, retained, at QoS 1, as JSON:
//!
//! ```text
//! {"status":"heard"}                          the node is heard, for the first time or again
//! {"status":"silent","last_heard_s":3720}     it is not; seconds since it was last heard
//! {"status":"silent"}                         it is not, and never was since the gateway's start
//! ```
//!
//! In the client id `/`, `+`, `#`, `%` and control characters are percent-encoded, so that it is
//! one level of the topic and no other node's. A node is watched from when it is first heard, and
//! one that a rule names without wildcards from the gateway's start on. The watch outlives the
//! session, up to the silence that the broker has taken.

use std::sync::Arc;

use shared::time::{Duration, Instant};
use shared::wire::QoS;

use super::engine::Engine;
use super::output::{DropReason, Notice};
use super::port::{LinkId, Publication, PublicationId, Refusal};
use super::slots::{SessionKey, TimerOwner};
use super::watches::{Status, Watch, WatchKey, status_topic};

impl Engine {
    /// Goes by the rules as the settings now have them: watches the nodes that they name, and
    /// no longer those of which they ask nothing.
    pub(super) fn arrange_watches(&mut self, now: Instant) {
        for key in self.watches.keys() {
            self.arrange_watch(now, key);
        }
        let rules = self.settings.admission.rules.clone();
        for rule in rules {
            let Some(client_id) = rule.nodes.single() else {
                continue;
            };
            // An earlier rule may hold for the same node.
            let holds = self.settings.admission.rule(client_id);
            let Some(every) = holds.and_then(|rule| rule.expect_every) else {
                continue;
            };
            let link = match *rule.links {
                [link] => Some(link),
                _ => None,
            };
            self.name_watch(now, client_id, every, link);
        }
    }

    fn arrange_watch(&mut self, now: Instant, key: WatchKey) {
        let Some(watch) = self.watches.get_mut(key) else {
            return;
        };
        watch.named = false;
        let rule = self.settings.admission.rule(&watch.client_id);
        match rule.and_then(|rule| rule.expect_every) {
            Some(every) if every == watch.every => {}
            Some(every) => {
                watch.every = every;
                self.restart_watch(now, key);
            }
            None => self.drop_watch(key),
        }
    }

    fn name_watch(&mut self, now: Instant, client_id: &str, every: Duration, link: Option<LinkId>) {
        let known = self.watches.by_client_id.get(client_id).copied();
        let key = known.unwrap_or_else(|| {
            let mut watch = Watch::new(client_id.into(), every, now);
            watch.link = link;
            self.watches.insert(watch)
        });
        if let Some(watch) = self.watches.get_mut(key) {
            watch.named = true;
        }
        if known.is_none() {
            self.restart_watch(now, key);
        }
    }

    fn drop_watch(&mut self, key: WatchKey) {
        if let Some(mut watch) = self.watches.remove(key) {
            self.timers.disarm(&mut watch.timer, TimerOwner::Watch(key));
        }
    }

    /// Notes that a node was heard that may be a watched one.
    pub(super) fn watch_heard(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get(key) else {
            return;
        };
        let Some(every) = session.rule.expect_every else {
            return;
        };
        let link = session.binding.map(|binding| binding.link);
        let client_id = Arc::clone(&session.client_id);
        let Some(key) = self.watch_of(now, &client_id, every) else {
            let reason = DropReason::WatchesFull;
            return self.out.dropped(None, Some(&client_id), reason, 0);
        };
        let Some(watch) = self.watches.get_mut(key) else {
            return;
        };
        watch.heard_at = Some(now);
        watch.link = link.or(watch.link);
        let changed = watch.status.replace(Status::Heard) != Some(Status::Heard);
        let unsaid = !watch.said && watch.saying.is_none();
        if changed {
            self.out.notice(Notice::Expected {
                client_id,
                silent: None,
            });
        }
        if changed || unsaid {
            self.say_status(now, key);
        }
        self.restart_watch(now, key);
    }

    /// Returns a node's watch, a new one where it has none; `None` where there is no room.
    fn watch_of(
        &mut self,
        now: Instant,
        client_id: &Arc<str>,
        every: Duration,
    ) -> Option<WatchKey> {
        if let Some(key) = self.watches.by_client_id.get(client_id) {
            return Some(*key);
        }
        let has_room = self.watches.watches.len() < self.settings.sessions_max;
        has_room.then(|| {
            self.watches
                .insert(Watch::new(Arc::clone(client_id), every, now))
        })
    }

    /// Gives a node its full time from now on.
    fn restart_watch(&mut self, now: Instant, key: WatchKey) {
        let Some(watch) = self.watches.get_mut(key) else {
            return;
        };
        let link = self.settings.link(watch.link.unwrap_or(LinkId(0)));
        watch.deadline = now + link.tolerated(watch.every);
        let at = watch.deadline;
        self.timers
            .arm(&mut watch.timer, at, TimerOwner::Watch(key));
    }

    /// Starts the time anew of every node that could not be heard while a link was out.
    pub(super) fn resume_watches(&mut self, now: Instant, link: LinkId) {
        for key in self.watches.keys() {
            let watch = self.watches.get_mut(key);
            if watch.is_some_and(|watch| watch.link.is_none_or(|at| at == link)) {
                self.restart_watch(now, key);
            }
        }
    }

    /// Starts every node's time anew: the engine itself was late.
    pub(super) fn forgive_watches(&mut self, now: Instant) {
        for key in self.watches.keys() {
            self.restart_watch(now, key);
        }
    }

    pub(super) fn watch_timeout(&mut self, now: Instant, key: WatchKey) {
        let Some(watch) = self.watches.get_mut(key) else {
            return;
        };
        watch.timer = None;
        if watch.status == Some(Status::Silent) {
            // The broker had no room for it the last time.
            if !watch.said && watch.saying.is_none() {
                self.say_status(now, key);
            }
            return;
        }
        let (link, deadline) = (watch.link, watch.deadline);
        let is_out = match link {
            Some(link) => !self.links.carries(link),
            None => !self.links.any_carries(),
        };
        if is_out {
            return;
        }
        let Some(watch) = self.watches.get_mut(key) else {
            return;
        };
        if deadline > now {
            return self
                .timers
                .arm(&mut watch.timer, deadline, TimerOwner::Watch(key));
        }
        watch.status = Some(Status::Silent);
        let silent = watch.heard_at.map(|at| now.since(at));
        let client_id = Arc::clone(&watch.client_id);
        self.out.notice(Notice::Expected {
            client_id,
            silent: Some(silent),
        });
        self.say_status(now, key);
    }

    fn say_status(&mut self, now: Instant, key: WatchKey) {
        let Some(watch) = self.watches.get_mut(key) else {
            return;
        };
        let publication = Publication {
            topic: status_topic(&self.settings.status_prefix, &watch.client_id),
            payload: watch.payload(now),
            qos: QoS::AtLeastOnce,
            retain: true,
        };
        let id = self.out.publish(publication, None);
        watch.saying = Some(id);
        watch.saying_at = now;
        watch.said = false;
        self.watches.saying.insert(id, key);
    }

    /// Handles the broker's answer to a status; returns whether it was for one.
    pub(super) fn status_answered(
        &mut self,
        now: Instant,
        id: PublicationId,
        result: Result<(), Refusal>,
    ) -> bool {
        let Some(key) = self.watches.saying.remove(&id) else {
            return false;
        };
        let Some(watch) = self.current_saying(key, id) else {
            return true;
        };
        match result {
            Err(Refusal::Busy) => {
                let at = now + watch.every.max(AGAIN_MIN);
                self.say_again_at(key, at);
            }
            // Refused for good, it will be so the next time.
            Ok(()) | Err(Refusal::Denied(_)) => {
                watch.said = true;
                if watch.status == Some(Status::Silent) && !watch.named {
                    self.drop_watch(key);
                }
            }
        }
        true
    }

    /// Handles a status that the upstream had no room for; returns whether it was one.
    pub(super) fn status_not_taken(&mut self, id: PublicationId) -> bool {
        let Some(key) = self.watches.saying.remove(&id) else {
            return false;
        };
        if let Some(watch) = self.current_saying(key, id) {
            let at = watch.saying_at + watch.every.max(AGAIN_MIN);
            self.say_again_at(key, at);
        }
        true
    }

    /// Returns the watch whose last publication this is; that is no longer on its way.
    fn current_saying(&mut self, key: WatchKey, id: PublicationId) -> Option<&mut Watch> {
        let watch = self.watches.get_mut(key)?;
        (watch.saying == Some(id)).then(|| {
            watch.saying = None;
            watch
        })
    }

    /// Has a silence published again; a node that is heard says so itself.
    fn say_again_at(&mut self, key: WatchKey, at: Instant) {
        let Some(watch) = self.watches.get_mut(key) else {
            return;
        };
        if watch.status == Some(Status::Silent) {
            self.timers
                .arm(&mut watch.timer, at, TimerOwner::Watch(key));
        }
    }
}

/// The shortest time after which a status is published again that the broker did not take.
const AGAIN_MIN: Duration = Duration::from_secs(10);
