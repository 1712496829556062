//! The configuration read anew: sessions stay, what they may do is looked up again.

use std::sync::Arc;

use shared::time::{Duration, Instant};
use shared::wire::{Disconnect, Message, QoS, ReturnCode};

use super::engine::Engine;
use super::output::{DropReason, Ending, Notice};
use super::policy::NodeRule;
use super::port::Binding;
use super::rate::Buckets;
use super::settings::Settings;
use super::slots::SessionKey;
use super::state::{PendingSubscribe, Session, State, Subscription};

/// What new settings have changed for the nodes, for the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[must_use]
pub struct Reconfigured {
    /// Sessions that go on.
    pub sessions_kept: usize,
    /// Sessions that ended, connected or not, because their nodes are not admitted any more, or
    /// not where they are.
    pub sessions_ended: usize,
    /// Subscriptions that ended because they are not allowed any more.
    pub subscriptions_removed: usize,
    /// Wills that were dropped because their topics are not allowed any more.
    pub wills_removed: usize,
}

impl Engine {
    /// Takes new settings. Every session stays whose node is still admitted where it is, with
    /// everything it has; limits hold for what comes from now on, clocks from the next message.
    ///
    /// A [`super::LinkId`] means the same link as before. What is bound to a link or comes
    /// through a forwarder that the settings no longer have ends, as where the rules no longer
    /// allow the place.
    ///
    /// - A session whose node no rule serves any more ends, and is told so if it listens. One
    ///   that is served, but not where it is, ends its connection; with clean = 0 it waits for
    ///   the node elsewhere. No will is published: the node is well.
    /// - Subscriptions and wills that the rule does not allow any more end; what was delivered
    ///   for them already is still sent. A quality of service above the new ceiling is lowered.
    /// - A subscription by a pre-defined id that means another topic now stays on the topic that
    ///   the node subscribed to, until the node subscribes again.
    pub fn reconfigure(&mut self, now: Instant, settings: Settings) -> Reconfigured {
        self.handle_timeout(now);
        self.settings = settings;
        // The senders at QoS -1 are told apart by the position of their rule.
        self.anonymous = Buckets::default();
        self.none_displaceable = None;
        self.rank_letters_anew();
        self.arrange(now);
        self.admit_handshakes_again(now);
        let mut done = Reconfigured::default();
        for key in self.slots.keys() {
            if self.admit_again(now, key) {
                done.sessions_kept += 1;
                done.subscriptions_removed += self.check_subscriptions(key);
                done.wills_removed += usize::from(self.check_will(key));
                // The node's link, or the node itself, may take less than before (D-41).
                self.check_in_flight(key);
                self.pump(now, key);
            } else {
                done.sessions_ended += 1;
            }
            self.reschedule(key);
        }
        // What is due by the new settings alone is no sign that the engine is late.
        self.meet_deadlines(now);
        done
    }

    fn admit_handshakes_again(&mut self, now: Instant) {
        let mut bindings: Vec<Binding> = self.handshakes.keys().copied().collect();
        bindings.sort_unstable();
        for binding in bindings {
            let Some(handshake) = self.handshakes.get_mut(&binding) else {
                continue;
            };
            let request = &mut handshake.request;
            let rule = self.settings.admission.admit(&request.client_id, &binding);
            if let Some(rule) = rule.filter(|_| self.settings.can_hear(&binding)) {
                request.rule = Arc::clone(rule);
                continue;
            }
            let (client_id, octets) = (Arc::clone(&request.client_id), request.octets);
            self.drop_handshake(binding);
            let reason = DropReason::NotAdmitted;
            self.refuse_connect(now, binding, Some(&client_id), reason, octets);
        }
    }

    /// Looks up the rule of a session again; returns whether its connection goes on.
    fn admit_again(&mut self, now: Instant, key: SessionKey) -> bool {
        let Some(session) = self.slots.get_mut(key) else {
            return false;
        };
        let rule = self.settings.admission.rule(&session.client_id).cloned();
        let Some(rule) = rule else {
            self.expel(now, key);
            return false;
        };
        let served_there = session
            .binding
            .is_none_or(|binding| rule.allows_place(&binding) && self.settings.can_hear(&binding));
        session.take_rule(rule);
        if !served_there {
            self.send_away(key);
            self.end(now, key, Ending::NotAdmitted);
            // What is kept of it must be allowed all the same.
            self.check_subscriptions(key);
            self.check_will(key);
        }
        served_there
    }

    /// Tells a node that listens that it is not served any more.
    fn send_away(&mut self, key: SessionKey) {
        if self.slots.get(key).is_some_and(Session::listens) {
            self.send(key, &Message::Disconnect(Disconnect { duration_s: None }));
        }
    }

    /// Removes the session of a node that is not admitted, and counts what waited for it.
    fn expel(&mut self, now: Instant, key: SessionKey) {
        self.send_away(key);
        if let Some(session) = self.slots.get_mut(key) {
            session.clean = true;
            let letters = session.take_letters();
            for letter in letters {
                self.drop_letter(key, letter, DropReason::NotAdmitted);
            }
        }
        self.end(now, key, Ending::NotAdmitted);
    }

    /// Ends the subscriptions that are not allowed any more; returns how many.
    fn check_subscriptions(&mut self, key: SessionKey) -> usize {
        let Some(session) = self.slots.get(key) else {
            return 0;
        };
        let refused: Vec<PendingSubscribe> = session
            .pending_subscribes
            .iter()
            .filter(|pending| !session.may_subscribe(&pending.filter))
            .cloned()
            .collect();
        let ended: Vec<Subscription> = session
            .subscriptions
            .iter()
            .filter(|subscription| !session.may_subscribe(&subscription.filter))
            .cloned()
            .collect();
        let client_id = Arc::clone(&session.client_id);
        let qos_max = session.rule.granted_max();
        for Subscription { filter, .. } in &ended {
            self.end_subscription(key, filter);
            self.out.notice(Notice::Unsubscribed {
                client_id: Arc::clone(&client_id),
                filter: Arc::clone(filter),
            });
        }
        for PendingSubscribe { msg_id, filter, .. } in &refused {
            self.end_subscription(key, filter);
            self.refused(key, DropReason::NotAuthorised, filter.len());
            self.refuse_subscribe(key, *msg_id, ReturnCode::NotSupported);
        }
        self.lower(key, qos_max);
        ended.len()
    }

    /// Lowers the quality of service of a session's subscriptions. The upstream's stays: it may
    /// be another node's, and costs the nodes nothing.
    fn lower(&mut self, key: SessionKey, qos_max: QoS) {
        let wishes = self.wishes.iter_mut();
        for wish in wishes.filter(|wish| wish.key == key) {
            wish.qos = wish.qos.min(qos_max);
        }
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let asked = session.pending_subscribes.iter_mut();
        for pending in asked.filter(|pending| pending.qos > qos_max) {
            pending.qos = qos_max;
            self.tree.ask(&pending.filter, key, qos_max);
        }
        let granted = session.subscriptions.iter_mut();
        for subscription in granted.filter(|granted| granted.qos > qos_max) {
            subscription.qos = qos_max;
            self.tree.grant(&subscription.filter, key, qos_max);
        }
    }

    /// Drops a will that is not allowed any more; returns whether there was one.
    fn check_will(&mut self, key: SessionKey) -> bool {
        let Some(session) = self.slots.get_mut(key) else {
            return false;
        };
        let Some(will) = &mut session.will else {
            return false;
        };
        let Some(target) = &mut will.target else {
            return false;
        };
        target.qos = target.qos.min(session.rule.qos_max);
        let allowed = session.rule.may_publish(&session.client_id, &target.topic);
        if !allowed {
            let octets = target.topic.len();
            session.will = None;
            self.refused(key, DropReason::NotAuthorised, octets);
        }
        !allowed
    }
}

impl Session {
    fn may_subscribe(&self, filter: &str) -> bool {
        self.rule.may_subscribe(&self.client_id, filter)
    }

    /// Goes by another rule from now on. More grace holds for the silence under way already: a
    /// node that sleeps by the new rule's leave shall not be lost by the old one.
    fn take_rule(&mut self, rule: Arc<NodeRule>) {
        if self.state != State::Gone {
            let (former, grace) = (self.rule.grace.as_millis(), rule.grace.as_millis());
            self.deadline += Duration::from_millis(grace.saturating_sub(former));
        }
        self.rule = rule;
    }
}
