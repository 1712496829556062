//! SUBSCRIBE and UNSUBSCRIBE, and what they ask of the upstream [MQTT-SN 1.2 §6.9].

use std::sync::Arc;

use shared::time::{Duration, Instant};
use shared::topics::Filter;
use shared::wire::{
    Message, MsgId, QoS, ReturnCode, Subscribe, TopicFilter, TopicId, TopicRef, Unsubscribe,
};

use super::engine::Engine;
use super::output::DropReason;
use super::policy::NodeRule;
use super::port::{Refusal, UpstreamRequest};
use super::slots::SessionKey;
use super::state::{PendingSubscribe, Subscription};
use super::uplink::short_name;

/// The most SUBSCRIBEs of one node that wait for the broker. The standard allows one; a node
/// that gave an earlier one up is not refused for it.
const PENDING_MAX: usize = 4;

/// How a node names what it asks for.
#[derive(Clone, Copy, Debug)]
enum Asked {
    /// By its exact name, and is given an id for it.
    Exact,
    /// By a filter with wildcards.
    Wildcards,
    /// By a pre-defined id or a short name.
    Id(TopicRef),
}

impl Engine {
    pub(super) fn subscribe(&mut self, now: Instant, key: SessionKey, subscribe: &Subscribe<'_>) {
        if self.is_repeated_subscribe(key, subscribe) {
            return;
        }
        let (filter, topic, qos) = match self.permitted_filter(now, key, subscribe) {
            Ok(permitted) => permitted,
            Err(code) => return self.refuse_subscribe(key, subscribe.msg_id, code),
        };
        let wanted = self.tree.ask(&filter, key, qos);
        let expires = now + self.patience(key);
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        session.last_suback = None;
        session.pending_subscribes.push(PendingSubscribe {
            msg_id: subscribe.msg_id,
            filter: Arc::clone(&filter),
            qos,
            topic,
            expires,
        });
        self.wish_retained(now, key, &filter, qos);
        self.subscribing
            .entry(Arc::clone(&filter))
            .or_default()
            .push_back(Some(key));
        self.out.upstream(UpstreamRequest::Subscribe {
            filter,
            qos: wanted,
        });
    }

    /// Returns what a node asks for, as it may have it: the filter, how it names the topic, and
    /// the quality of service; the code of the refusal where it may not.
    fn permitted_filter(
        &mut self,
        now: Instant,
        key: SessionKey,
        subscribe: &Subscribe<'_>,
    ) -> Result<(Arc<str>, Option<TopicRef>, QoS), ReturnCode> {
        let (filter, naming) = self.filter_of(&subscribe.topic)?;
        if subscribe.qos == QoS::MinusOne {
            return Err(ReturnCode::NotSupported);
        }
        let rule = self.slots.get(key).map(|session| Arc::clone(&session.rule));
        let rule = rule.ok_or(ReturnCode::Congestion)?;
        if let Err(reason) = self.may_subscribe(key, &rule, &filter, naming) {
            self.refused(key, reason, filter.len());
            return Err(ReturnCode::NotSupported);
        }
        if self.upstream_out(now) || !self.has_subscription_room(key, &filter) {
            return Err(ReturnCode::Congestion);
        }
        let topic = match naming {
            Asked::Wildcards => None,
            Asked::Id(topic) => Some(topic),
            Asked::Exact => Some(self.give_id(key, &filter)?),
        };
        Ok((filter, topic, subscribe.qos.min(rule.granted_max())))
    }

    /// Checks a filter against the node's rule (D-43), and against what its client stack can be
    /// sent: without REGISTER the only ids it learns are those of SUBACK (A.20).
    fn may_subscribe(
        &self,
        key: SessionKey,
        rule: &NodeRule,
        filter: &str,
        naming: Asked,
    ) -> Result<(), DropReason> {
        let profile = &rule.profile;
        let must_register = match naming {
            Asked::Exact => false,
            Asked::Wildcards => true,
            Asked::Id(_) => !profile.takes_other_ids,
        };
        if must_register && !profile.takes_register {
            return Err(DropReason::Profile);
        }
        let session = self.slots.get(key);
        let allowed = session.is_some_and(|session| rule.may_subscribe(&session.client_id, filter));
        allowed.then_some(()).ok_or(DropReason::NotAuthorised)
    }

    /// Recognises a repetition: answered again, or answered once the broker has (A.10).
    fn is_repeated_subscribe(&mut self, key: SessionKey, subscribe: &Subscribe<'_>) -> bool {
        let Some(session) = self.slots.get(key) else {
            return true;
        };
        let msg_id = subscribe.msg_id;
        if session
            .pending_subscribes
            .iter()
            .any(|pending| pending.msg_id == msg_id)
        {
            self.out.stats.repeats += 1;
            return true;
        }
        match session.last_suback {
            Some(answer) if answer.msg_id == msg_id && subscribe.dup => {
                self.out.stats.repeats += 1;
                self.send(key, &Message::SubAck(answer));
                true
            }
            _ => false,
        }
    }

    /// Returns the filter a node means and how it names the topic; the code of the refusal
    /// where it is none.
    fn filter_of(&self, topic: &TopicFilter<'_>) -> Result<(Arc<str>, Asked), ReturnCode> {
        match *topic {
            TopicFilter::Predefined(id) => {
                // A.19, row 12
                let name = self.settings.predefined.get(&id);
                let name = name.ok_or(ReturnCode::InvalidTopicId)?;
                Ok((Arc::clone(name), Asked::Id(TopicRef::Predefined(id))))
            }
            TopicFilter::Short(name) => {
                // A.5: wildcards make no sense in a short name.
                let filter = short_name(name).ok_or(ReturnCode::NotSupported)?;
                Ok((filter.into(), Asked::Id(TopicRef::Short(name))))
            }
            TopicFilter::Name(name) => {
                let filter = Filter::from_bytes(name).map_err(|_| ReturnCode::NotSupported)?;
                if filter.share_name().is_some() {
                    // One upstream session for all nodes has nothing to share a subscription
                    // with.
                    return Err(ReturnCode::NotSupported);
                }
                let naming = if filter.has_wildcard() {
                    Asked::Wildcards
                } else {
                    Asked::Exact
                };
                Ok((filter.as_str().into(), naming))
            }
        }
    }

    /// Gives an exact name its id, which the answer tells the node [MQTT-SN 1.2 §6.9].
    fn give_id(&mut self, key: SessionKey, name: &str) -> Result<TopicRef, ReturnCode> {
        let topics_max = self.settings.topics_max;
        let session = self.slots.get_mut(key).ok_or(ReturnCode::Congestion)?;
        let id = session.register_topic(name, topics_max);
        id.map(TopicRef::Normal).ok_or(ReturnCode::Congestion)
    }

    fn has_subscription_room(&self, key: SessionKey, filter: &str) -> bool {
        let Some(session) = self.slots.get(key) else {
            return false;
        };
        let known = session.subscription(filter).is_some();
        let count = session.subscriptions.len() + session.pending_subscribes.len();
        session.pending_subscribes.len() < PENDING_MAX
            && (known || count < self.settings.subscriptions_max)
    }

    pub(super) fn refuse_subscribe(&mut self, key: SessionKey, msg_id: MsgId, code: ReturnCode) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let answer = session.answer_subscribe(msg_id, Err(code));
        self.send(key, &Message::SubAck(answer));
    }

    /// Returns how long a node goes on asking.
    pub(super) fn patience(&self, key: SessionKey) -> Duration {
        self.slots.get(key).map_or(Duration::ZERO, |session| {
            let link = session.link(&self.settings);
            link.t_retry.saturating_mul(u64::from(link.n_retry) + 1)
        })
    }

    /// Handles the broker's answer to a subscription. It is for the request that has waited for
    /// longest: a later one may have asked for a higher quality of service.
    pub(super) fn subscribed(&mut self, now: Instant, filter: &str, result: Result<QoS, Refusal>) {
        let Some(waiting) = self.subscribing.get_mut(filter) else {
            return;
        };
        let first = waiting.pop_front().flatten();
        if waiting.is_empty() {
            self.subscribing.remove(filter);
        }
        if let Some(key) = first {
            self.answer_pending(key, filter, result);
            self.pump(now, key);
            self.reschedule(key);
        }
    }

    /// A session no longer waits for the broker's answer to a filter.
    fn stop_waiting(&mut self, key: SessionKey, filter: &str) {
        if let Some(waiting) = self.subscribing.get_mut(filter) {
            for entry in waiting.iter_mut().filter(|entry| **entry == Some(key)) {
                *entry = None;
            }
        }
    }

    fn answer_pending(&mut self, key: SessionKey, filter: &str, result: Result<QoS, Refusal>) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let waiting = |pending: &PendingSubscribe| &*pending.filter == filter;
        let Some(index) = session.pending_subscribes.iter().position(waiting) else {
            return;
        };
        let pending = session.pending_subscribes.remove(index);
        if result.is_ok()
            && let Some(former) = session.former_meaning(&pending)
        {
            self.end_subscription(key, &former);
        }
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let answer = match result {
            Ok(granted) => {
                let qos = granted.min(pending.qos);
                let topic_id = session.add_subscription(&pending, qos);
                session.answer_subscribe(pending.msg_id, Ok((qos, topic_id)))
            }
            Err(refusal) => {
                // A.10, D-43
                let code = match refusal {
                    Refusal::Busy => ReturnCode::Congestion,
                    Refusal::Denied(_) => ReturnCode::NotSupported,
                };
                session.answer_subscribe(pending.msg_id, Err(code))
            }
        };
        match result {
            Ok(_) => {
                self.tree.grant(filter, key, answer.qos);
            }
            Err(_) => {
                // No retained messages will come of it.
                self.forget_wish(key, filter);
                self.retract(key, filter);
            }
        }
        self.send(key, &Message::SubAck(answer));
    }

    /// Takes a filter that was not granted out of the tree, unless an older grant stands or the
    /// node still waits for another answer.
    fn retract(&mut self, key: SessionKey, filter: &str) {
        let session = self.slots.get(key);
        if session.is_some_and(|session| session.asks_for(filter)) {
            return;
        }
        let granted = self
            .slots
            .get(key)
            .and_then(|s| s.subscription(filter))
            .map(|s| s.qos);
        match granted {
            Some(qos) => {
                self.tree.grant(filter, key, qos);
            }
            None => self.leave(key, filter),
        }
    }

    /// Forgets subscriptions that the broker never answered; the node asks again.
    pub(super) fn expire_pending(&mut self, now: Instant, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let expired = session
            .pending_subscribes
            .extract_if(.., |pending| pending.expires <= now)
            .collect();
        self.give_up_pending(key, expired);
    }

    /// Forgets what a node whose connection ends has asked for and was not granted.
    pub(super) fn drop_pending(&mut self, key: SessionKey) {
        if let Some(session) = self.slots.get_mut(key) {
            let pending = std::mem::take(&mut session.pending_subscribes);
            self.give_up_pending(key, pending);
        }
    }

    fn give_up_pending(&mut self, key: SessionKey, pending: Vec<PendingSubscribe>) {
        for PendingSubscribe { filter, .. } in pending {
            // The oldest request goes first, and its answer is the first to come.
            let waiting = self.subscribing.get_mut(&filter).into_iter().flatten();
            if let Some(entry) = waiting.into_iter().find(|entry| **entry == Some(key)) {
                *entry = None;
            }
            self.retract(key, &filter);
        }
    }

    /// Forgets the last request for a filter, which the upstream could not take; the node asks
    /// again.
    pub(super) fn forget_pending(&mut self, filter: &Arc<str>) {
        let Some(waiting) = self.subscribing.get_mut(filter) else {
            return;
        };
        let last = waiting.pop_back().flatten();
        if waiting.is_empty() {
            self.subscribing.remove(filter);
        }
        let Some(key) = last else { return };
        if let Some(session) = self.slots.get_mut(key) {
            let mut pending = session.pending_subscribes.iter();
            if let Some(index) = pending.rposition(|pending| pending.filter == *filter) {
                session.pending_subscribes.remove(index);
            }
        }
        self.retract(key, filter);
    }

    pub(super) fn unsubscribe(&mut self, key: SessionKey, unsubscribe: &Unsubscribe<'_>) {
        // The filter is looked up, not registered: an unknown one is answered just the same.
        let filter: Option<Arc<str>> = match unsubscribe.topic {
            TopicFilter::Name(name) => std::str::from_utf8(name).ok().map(Into::into),
            TopicFilter::Predefined(id) => self.subscribed_as(key, id),
            TopicFilter::Short(name) => short_name(name).map(Into::into),
        };
        if let Some(filter) = filter {
            self.end_subscription(key, &filter);
        }
        self.send(key, &Message::UnsubAck(unsubscribe.msg_id));
    }

    /// Returns what a node has subscribed to by a pre-defined id; what the id means now where it
    /// has not, for the settings may have changed since.
    fn subscribed_as(&self, key: SessionKey, id: TopicId) -> Option<Arc<str>> {
        let session = self.slots.get(key)?;
        let named = session
            .subscriptions
            .iter()
            .find(|subscription| subscription.topic == Some(TopicRef::Predefined(id)));
        let filter = named.map(|subscription| &subscription.filter);
        filter
            .or_else(|| self.settings.predefined.get(&id))
            .cloned()
    }

    /// Ends a subscription, granted or not yet.
    pub(super) fn end_subscription(&mut self, key: SessionKey, filter: &Arc<str>) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        session
            .subscriptions
            .retain(|subscription| subscription.filter != *filter);
        session
            .pending_subscribes
            .retain(|pending| pending.filter != *filter);
        session.last_suback = None;
        self.stop_waiting(key, filter);
        self.forget_wish(key, filter);
        self.leave(key, filter);
    }

    /// Takes a session off a filter; the upstream's subscription goes with the last one.
    fn leave(&mut self, key: SessionKey, filter: &str) {
        if self.tree.remove(filter, key) {
            self.out.upstream(UpstreamRequest::Unsubscribe {
                filter: filter.into(),
            });
        }
    }

    /// Takes a session off all its filters.
    pub(super) fn drop_subscriptions(&mut self, key: SessionKey) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let granted = std::mem::take(&mut session.subscriptions);
        let pending = std::mem::take(&mut session.pending_subscribes);
        self.wishes.retain(|wish| wish.key != key);
        let filters = granted.into_iter().map(|subscription| subscription.filter);
        for filter in filters.chain(pending.into_iter().map(|pending| pending.filter)) {
            self.stop_waiting(key, &filter);
            self.leave(key, &filter);
        }
    }
}

impl super::state::Session {
    fn asks_for(&self, filter: &str) -> bool {
        let mut pending = self.pending_subscribes.iter();
        pending.any(|pending| &*pending.filter == filter)
    }

    /// Returns what a pre-defined id of a new subscription meant in an older one: under one id a
    /// node can be sent one topic only.
    fn former_meaning(&self, pending: &PendingSubscribe) -> Option<Arc<str>> {
        let id = pending
            .topic
            .filter(|topic| matches!(topic, TopicRef::Predefined(_)))?;
        self.subscriptions
            .iter()
            .find(|old| old.topic == Some(id) && old.filter != pending.filter)
            .map(|old| Arc::clone(&old.filter))
    }

    /// Keeps a granted subscription and returns the topic id of its answer (D-15).
    fn add_subscription(&mut self, pending: &PendingSubscribe, qos: QoS) -> TopicId {
        if let Some(TopicRef::Normal(id)) = pending.topic {
            self.confirm_topic(id);
        }
        let PendingSubscribe { filter, topic, .. } = pending.clone();
        self.subscriptions
            .retain(|subscription| subscription.filter != filter);
        self.subscriptions.push(Subscription { filter, qos, topic });
        pending.topic.map_or(TopicId::NONE, TopicRef::topic_id)
    }
}
