//! What a connected node may publish, and how it is told what it may not (D-40, D-42, D-43).

use std::sync::Arc;

use shared::time::Instant;
use shared::wire::{Publish, QoS, ReturnCode};

use super::engine::Engine;
use super::output::DropReason;
use super::policy::Quota;
use super::slots::SessionKey;

/// Why a publication is refused, and what its node is told.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    code: ReturnCode,
    /// What is counted; nothing for what the node can mend by itself.
    reason: Option<DropReason>,
}

impl Refused {
    pub(super) const UNKNOWN_ID: Self = Self {
        code: ReturnCode::InvalidTopicId,
        reason: None,
    };
    pub(super) const NOT_A_NAME: Self = Self {
        code: ReturnCode::NotSupported,
        reason: None,
    };

    const fn congestion(reason: DropReason) -> Self {
        Self {
            code: ReturnCode::Congestion,
            reason: Some(reason),
        }
    }

    const fn for_good(reason: DropReason) -> Self {
        Self {
            code: ReturnCode::NotSupported,
            reason: Some(reason),
        }
    }
}

impl Engine {
    /// Returns what is to be published where nothing stands against it, and counts it towards the
    /// node's quota.
    pub(super) fn permitted<'p>(
        &mut self,
        now: Instant,
        key: SessionKey,
        qos: QoS,
        named: (Arc<str>, &'p [u8]),
    ) -> Result<(Arc<str>, &'p [u8]), Refused> {
        let is_out = qos > QoS::AtMostOnce && self.upstream_out(now);
        let Some(session) = self.slots.get_mut(key) else {
            return Err(Refused::UNKNOWN_ID);
        };
        let (topic, payload) = &named;
        let rule = &session.rule;
        // D-43
        if !rule.may_publish(&session.client_id, topic) {
            return Err(Refused::for_good(DropReason::NotAuthorised));
        }
        if qos > rule.qos_max {
            return Err(Refused::for_good(DropReason::QosCeiling));
        }
        if is_out {
            // D-36, D-42
            return Err(Refused::congestion(DropReason::UpstreamFull));
        }
        if qos > QoS::AtMostOnce && session.uplinks.len() >= self.settings.publish_window {
            // D-40
            return Err(Refused::congestion(DropReason::Window));
        }
        if rule.quota != Quota::UNLIMITED {
            // D-42
            let octets = topic.len() + payload.len();
            session
                .meter
                .charge(now, &rule.quota, octets)
                .map_err(Refused::congestion)?;
        }
        Ok(named)
    }

    pub(super) fn refuse(&mut self, key: SessionKey, refused: Refused, publish: &Publish<'_>) {
        if let Some(reason) = refused.reason {
            self.refused(key, reason, publish.payload.len());
        }
        self.answer_publish(key, publish.topic, publish.msg_id, refused.code);
    }

    /// Refuses a publication at QoS 0, at a bounded rate (A.19 row 14), or at QoS −1, in silence.
    pub(super) fn refuse_unacknowledged(
        &mut self,
        now: Instant,
        key: SessionKey,
        refused: Refused,
        publish: &Publish<'_>,
    ) {
        let Some(session) = self.slots.get_mut(key) else {
            return;
        };
        let is_silent = publish.qos == QoS::MinusOne;
        if !is_silent && session.told.may_tell(now, refused.code) {
            return self.refuse(key, refused, publish);
        }
        self.out.stats.replies_withheld += u64::from(!is_silent);
        if let Some(reason) = refused.reason {
            self.refused(key, reason, publish.payload.len());
        }
    }

    /// Counts something of a node that was not served.
    pub(super) fn refused(&mut self, key: SessionKey, reason: DropReason, octets: usize) {
        let session = self.slots.get(key);
        let binding = session.and_then(|session| session.binding);
        let client_id = session.map(|session| Arc::clone(&session.client_id));
        self.out
            .dropped(binding, client_id.as_ref(), reason, octets);
    }
}
