//! What the machine counts.

use crate::wire::WireError;

/// Counters since the machine was created; they wrap.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientStats {
    /// Datagrams handed to the link.
    pub datagrams_out: u32,
    /// Their octets.
    pub bytes_out: u32,
    /// Datagrams taken from the link, bad ones included.
    pub datagrams_in: u32,
    /// Their octets.
    pub bytes_in: u32,
    /// Repetitions by what was repeated.
    pub retries: RetryStats,
    /// Datagrams that were not messages, by reason.
    pub bad: BadStats,
    /// Messages from others than the current gateway.
    pub foreign: u32,
    /// Messages that make no sense now: late answers, answers to nothing, wrong direction.
    pub unexpected: u32,
    /// Publications from the gateway that had come before and were not delivered again.
    pub duplicates: u32,
    /// Publications not taken because the application had not taken the one before.
    pub receive_busy: u32,
    /// Publications refused because their payload is longer than the client keeps.
    pub receive_too_long: u32,
    /// Publications refused because their topic id is not known.
    pub unknown_topic_ids: u32,
    /// Acknowledgements not sent because too many waited; the gateway repeats its message.
    pub replies_lost: u32,
    /// Events not told because the application did not poll; never a publication.
    pub events_lost: u32,
    /// Names dropped from the topic table to make room for others.
    pub topics_evicted: u32,
    /// Gateways not kept because the list was full.
    pub gateways_dropped: u32,
    /// Messages lost because the buffer given to `poll_transmit` was below the MTU.
    pub buffer_short: u32,
    /// Wakes that ended at a limit, before the gateway had nothing more.
    pub wakes_cut: u32,
    /// Names refused because no subscription asks for them.
    pub names_unwanted: u32,
    /// Requests of this node that reached the gateway late, after what followed them, as far
    /// as their answers tell.
    pub late_requests: u32,
    /// Times the gateway was lost.
    pub gateway_losses: u32,
}

/// Repetitions by what was repeated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetryStats {
    /// SEARCHGW.
    pub search: u32,
    /// CONNECT.
    pub connect: u32,
    /// REGISTER.
    pub register: u32,
    /// PUBLISH and PUBREL.
    pub publish: u32,
    /// SUBSCRIBE and UNSUBSCRIBE.
    pub subscribe: u32,
    /// WILLTOPICUPD and WILLMSGUPD.
    pub will: u32,
    /// PINGREQ, keep-alive and wake.
    pub ping: u32,
    /// DISCONNECT.
    pub disconnect: u32,
}

/// Datagrams that were not messages, by reason (D-01).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BadStats {
    /// [`WireError::Length`].
    pub length: u32,
    /// [`WireError::Truncated`].
    pub truncated: u32,
    /// [`WireError::Trailing`].
    pub trailing: u32,
    /// [`WireError::Type`].
    pub kind: u32,
    /// [`WireError::Body`].
    pub body: u32,
    /// [`WireError::TopicIdType`].
    pub topic_id_type: u32,
    /// [`WireError::Inner`].
    pub inner: u32,
    /// A field that no gateway may send: QoS −1, or message id 0 at QoS 1 and 2.
    pub field: u32,
}

impl BadStats {
    pub(super) const fn count(&mut self, reason: WireError) {
        let counter = match reason {
            WireError::Length => &mut self.length,
            WireError::Truncated => &mut self.truncated,
            WireError::Trailing => &mut self.trailing,
            WireError::Type(_) => &mut self.kind,
            WireError::TopicIdType => &mut self.topic_id_type,
            WireError::Inner => &mut self.inner,
            _ => &mut self.body,
        };
        bump(counter);
    }

    /// Returns their sum.
    #[must_use]
    pub const fn total(&self) -> u32 {
        self.length
            .wrapping_add(self.truncated)
            .wrapping_add(self.trailing)
            .wrapping_add(self.kind)
            .wrapping_add(self.body)
            .wrapping_add(self.topic_id_type)
            .wrapping_add(self.inner)
            .wrapping_add(self.field)
    }
}

/// Adds one to a counter.
pub(super) const fn bump(counter: &mut u32) {
    *counter = counter.wrapping_add(1);
}
