//! What the engine hands back: datagrams, upstream requests, and notices for the log.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use shared::time::Duration;
use shared::wire::{FORWARD_OVERHEAD, Forward, Message, NodeId, TopicRef, WireError};

use super::policy::Priority;
use super::port::{Binding, DeliveryId, LinkId, Publication, PublicationId, UpstreamRequest};
use super::slots::SessionKey;

/// One thing to do for the driver.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub enum Output {
    /// Send a datagram to a node; encapsulated already where the binding has a node id.
    Transmit {
        /// Where to.
        binding: Binding,
        /// The datagram.
        datagram: Bytes,
        /// Whether it may overtake what waits for other nodes on a slow link, or must wait.
        priority: Priority,
    },
    /// Send a datagram to everyone on a link.
    Broadcast {
        /// The link.
        link: LinkId,
        /// How far it goes; 0 through the whole network [MQTT-SN 1.2 §5.3.9].
        radius: u8,
        /// The datagram.
        datagram: Bytes,
    },
    /// Hand a request to the upstream.
    Upstream(UpstreamRequest),
    /// Something to write into the log.
    Notice(Notice),
}

/// Something that an operator may want to read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Something was not served.
    Dropped {
        /// Where it came from or was going to, where it has a place.
        binding: Option<Binding>,
        /// Whose it was, where that is known.
        client_id: Option<Arc<str>>,
        /// Why.
        reason: DropReason,
        /// How large, in octets.
        octets: usize,
    },
    /// A node connected.
    Connected {
        /// The node.
        client_id: Arc<str>,
        /// Where it is heard.
        binding: Binding,
        /// Whether it goes on with an earlier session.
        resumed: bool,
    },
    /// A node fell asleep.
    Asleep {
        /// The node.
        client_id: Arc<str>,
        /// For how long, in seconds.
        duration_s: u16,
    },
    /// A node is heard at another place than before.
    Moved {
        /// The node.
        client_id: Arc<str>,
        /// Where it is heard now.
        binding: Binding,
    },
    /// A node does not answer; what waits for it stays (D-18).
    Unresponsive {
        /// The node.
        client_id: Arc<str>,
    },
    /// A node does not know a topic that needs no REGISTER: its firmware and the gateway's
    /// configuration do not agree, and no message can mend that (D-38).
    UnknownFixedTopic {
        /// The node.
        client_id: Arc<str>,
        /// The pre-defined id or the short name.
        topic: TopicRef,
    },
    /// A subscription has ended: the rules of admission, read anew, do not allow it.
    Unsubscribed {
        /// The node.
        client_id: Arc<str>,
        /// The topic filter.
        filter: Arc<str>,
    },
    /// A node's connection has ended.
    Ended {
        /// The node.
        client_id: Arc<str>,
        /// How.
        how: Ending,
    },
    /// A node that must be heard now and then has fallen silent, or is heard.
    Expected {
        /// The node.
        client_id: Arc<str>,
        /// `None` where it is heard; else for how long it is silent, as far as that is known.
        silent: Option<Option<Duration>>,
    },
    /// The upstream has been away for so long that the nodes that listen are sent off (D-36).
    SentOff {
        /// How many there are.
        nodes: usize,
    },
    /// Nothing at all is heard on a link; it counts as dead, and its nodes are not lost.
    LinkSilent {
        /// The link.
        link: LinkId,
        /// For how long.
        silent: Duration,
    },
    /// Something is heard again on a link that counted as dead, or it says that it is up again.
    LinkHeard {
        /// The link.
        link: LinkId,
    },
    /// Another gateway is heard on a link.
    OtherGateway {
        /// Its id.
        gw_id: u8,
        /// Where it is heard.
        binding: Binding,
    },
    /// Another gateway has the id of this one: one of the two is configured wrongly.
    GatewayIdTaken {
        /// The id.
        gw_id: u8,
        /// Where the other one is heard.
        binding: Binding,
    },
    /// A stand-by gateway advertises in another's place, or no longer.
    StandsIn {
        /// The link.
        link: LinkId,
        /// Whether it does.
        yes: bool,
    },
    /// The engine was served late: its process was stopped, or has too much to do. Every node has
    /// its full time again.
    Late {
        /// By how much.
        late: Duration,
    },
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// The node said so; its will is not published.
    Disconnected,
    /// The node fell silent, or its place was taken by another node; its will is published.
    Lost,
    /// The node connected from elsewhere; its will is not published (D-29).
    TakenOver,
    /// The rules of admission, read anew, do not serve it, or not there; its will is not
    /// published.
    NotAdmitted,
    /// Its session, which it had left, made room for a node of higher priority.
    Displaced,
    /// The upstream has been away for too long; its will is not published (D-36).
    UpstreamOut,
}

/// Why something was not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DropReason {
    /// The datagram is not a message (D-01).
    Malformed(WireError),
    /// The message is one that only a gateway sends.
    Unexpected,
    /// The sender has no session here (D-28).
    Stranger,
    /// The peer is not a configured forwarder, or the encapsulation is nested (D-35).
    NotAForwarder,
    /// QoS −1 from a sender or on a topic that is not allowed (D-34).
    QosMinusOneRefused,
    /// QoS −1 beyond the sender's rate (D-34).
    QosMinusOneRate,
    /// QoS 1 or 2 without a message id.
    NoMsgId,
    /// More publications in flight than the window allows (D-40).
    Window,
    /// The upstream is away or its queue is full.
    UpstreamFull,
    /// The upstream refused the publication.
    UpstreamRefused,
    /// The mailbox is full (D-27).
    MailboxFull,
    /// The publication waited longer than the mailbox keeps one.
    MailboxAge,
    /// The publication waited longer than its publisher allowed (MQTT 5 §3.3.2.3.3).
    MailboxExpired,
    /// A newer publication of the topic took the place of one at QoS 0 (D-27).
    MailboxConflated,
    /// The node never acknowledged the publication (D-18).
    Unacknowledged,
    /// The node refused the publication or its topic (D-37, A.18).
    NodeRefused,
    /// The publication does not fit the link or the node (D-41).
    TooLong,
    /// The same of a topic that was told of before in the session: it is counted, not logged.
    TooLongAgain,
    /// The session's topic table is full.
    TopicTableFull,
    /// There are as many sessions as are allowed.
    SessionsFull,
    /// There are as many will handshakes under way as are allowed.
    HandshakesFull,
    /// CONNECT has another protocol id, or a client id or a will that none can have (D-14).
    UnacceptableConnect,
    /// The rules of admission do not serve the node, or not at this place (D-43, D-44).
    NotAdmitted,
    /// The rules of admission do not allow the node the topic (D-43).
    NotAuthorised,
    /// The quality of service is above the node's highest one (D-43).
    QosCeiling,
    /// The node's client stack cannot take the publication, or be told the topic ids of the
    /// subscription (A.20).
    Profile,
    /// More publications in a minute than the node's quota allows (D-42).
    QuotaMessages,
    /// More octets in a day than the node's quota allows (D-42).
    QuotaBytes,
    /// There are as many nodes watched as are allowed.
    WatchesFull,
    /// There are as many other gateways on the link as are kept in mind.
    GatewaysFull,
}

impl DropReason {
    /// Returns a short stable name, for counters and logs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed(error) => match error {
                WireError::Length => "malformed_length",
                WireError::Truncated => "malformed_truncated",
                WireError::Trailing => "malformed_trailing",
                WireError::Type(_) => "malformed_type",
                WireError::Body => "malformed_body",
                WireError::TopicIdType => "malformed_topic_id_type",
                WireError::Inner => "malformed_inner",
                _ => "malformed",
            },
            Self::Unexpected => "unexpected",
            Self::Stranger => "stranger",
            Self::NotAForwarder => "not_a_forwarder",
            Self::QosMinusOneRefused => "qos_minus_one_refused",
            Self::QosMinusOneRate => "qos_minus_one_rate",
            Self::NoMsgId => "no_msg_id",
            Self::Window => "window",
            Self::UpstreamFull => "upstream_full",
            Self::UpstreamRefused => "upstream_refused",
            Self::MailboxFull => "mailbox_full",
            Self::MailboxAge => "mailbox_age",
            Self::MailboxExpired => "mailbox_expired",
            Self::MailboxConflated => "mailbox_conflated",
            Self::Unacknowledged => "unacknowledged",
            Self::NodeRefused => "node_refused",
            Self::TooLong | Self::TooLongAgain => "too_long",
            Self::TopicTableFull => "topic_table_full",
            Self::SessionsFull => "sessions_full",
            Self::HandshakesFull => "handshakes_full",
            Self::UnacceptableConnect => "unacceptable_connect",
            Self::NotAdmitted => "not_admitted",
            Self::NotAuthorised => "not_authorised",
            Self::QosCeiling => "qos_ceiling",
            Self::Profile => "profile",
            Self::QuotaMessages => "quota_messages",
            Self::QuotaBytes => "quota_bytes",
            Self::WatchesFull => "watches_full",
            Self::GatewaysFull => "gateways_full",
        }
    }
}

/// Numbers of the engine's work since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Datagrams handed in.
    pub datagrams_in: u64,
    /// Datagrams handed out.
    pub datagrams_out: u64,
    /// Publications taken from nodes and handed upstream.
    pub publications_up: u64,
    /// Publications put into a mailbox, once for each node.
    pub publications_down: u64,
    /// Messages sent again for want of an answer.
    pub retransmissions: u64,
    /// Repeated messages of nodes that were answered but not served again.
    pub repeats: u64,
    /// Everything that was not served.
    pub dropped: u64,
    /// Downlink publications the broker was answered for while they waited in memory, because
    /// it was kept waiting for too many.
    pub answered_early: u64,
    /// Replies that were withheld for their rate: to strangers (D-28), to CONNECTs that were
    /// refused, and to publications at QoS 0 that were; and to SEARCHGW where the gateway could
    /// not serve or leaves it to another one.
    pub replies_withheld: u64,
    /// How often the engine was served so late that it doubted what it had heard.
    pub late: u64,
}

/// Collects the outputs of one step, and keeps what is on its way upstream.
#[derive(Debug, Default)]
pub(super) struct Outputs {
    queue: VecDeque<Output>,
    scratch: BytesMut,
    last_publication: u64,
    pub(super) uplinks: HashMap<PublicationId, SessionKey>,
    pub(super) deliveries: BTreeMap<DeliveryId, u32>,
    pub(super) stats: Stats,
}

impl Outputs {
    const SCRATCH_LEN: usize = 64 * 1024;

    pub(super) fn poll(&mut self) -> Option<Output> {
        self.queue.pop_front()
    }

    pub(super) fn transmit(&mut self, binding: &Binding, message: &Message<'_>) {
        self.transmit_within(Priority::Normal, binding, 0, message);
    }

    /// Sends a message of a node that goes before others, or after them.
    pub(super) fn transmit_as(
        &mut self,
        priority: Priority,
        binding: &Binding,
        message: &Message<'_>,
    ) {
        self.transmit_within(priority, binding, 0, message);
    }

    /// Sends a message to a place; a forwarder carries it as far as `radius` says (A.16).
    pub(super) fn transmit_within(
        &mut self,
        priority: Priority,
        binding: &Binding,
        radius: u8,
        message: &Message<'_>,
    ) {
        let node_id = binding.node_id.as_ref();
        if let Some(datagram) = self.emit(node_id, radius, message) {
            self.queue.push_back(Output::Transmit {
                binding: *binding,
                datagram,
                priority,
            });
        }
    }

    /// Sends a message to everyone on a link.
    pub(super) fn broadcast(&mut self, link: LinkId, radius: u8, message: &Message<'_>) {
        if let Some(datagram) = self.emit(None, radius, message) {
            self.queue.push_back(Output::Broadcast {
                link,
                radius,
                datagram,
            });
        }
    }

    fn emit(
        &mut self,
        node_id: Option<&NodeId>,
        radius: u8,
        message: &Message<'_>,
    ) -> Option<Bytes> {
        let node_len = node_id.map_or(0, |id| FORWARD_OVERHEAD + id.as_bytes().len());
        let len = node_len + message.encoded_len();
        if self.scratch.capacity() < len {
            self.scratch.reserve(len.max(Self::SCRATCH_LEN));
        }
        self.scratch.resize(len, 0);
        if message.emit(&mut self.scratch[node_len..]).is_err() {
            // Only a message beyond 65,535 octets cannot be emitted, and the MTU check in
            // front of every publication keeps those away.
            debug_assert!(false, "a message must fit the buffer made for it");
            self.scratch.clear();
            return None;
        }
        if let Some(node_id) = node_id {
            let head = Forward {
                radius,
                node_id: node_id.as_bytes(),
                inner: &[],
            };
            let emitted = Message::Forward(head).emit(&mut self.scratch[..node_len]);
            debug_assert_eq!(emitted, Ok(node_len));
        }
        self.stats.datagrams_out += 1;
        Some(self.scratch.split_to(len).freeze())
    }

    pub(super) fn upstream(&mut self, request: UpstreamRequest) {
        self.queue.push_back(Output::Upstream(request));
    }

    pub(super) fn notice(&mut self, notice: Notice) {
        self.queue.push_back(Output::Notice(notice));
    }

    pub(super) fn dropped(
        &mut self,
        binding: Option<Binding>,
        client_id: Option<&Arc<str>>,
        reason: DropReason,
        octets: usize,
    ) {
        self.stats.dropped += 1;
        self.notice(Notice::Dropped {
            binding,
            client_id: client_id.cloned(),
            reason,
            octets,
        });
    }

    /// Publishes, and remembers whose answer it is where there will be one.
    pub(super) fn publish(
        &mut self,
        publication: Publication,
        owner: Option<SessionKey>,
    ) -> PublicationId {
        self.last_publication += 1;
        let id = PublicationId(self.last_publication);
        if let Some(owner) = owner {
            self.uplinks.insert(id, owner);
        }
        self.stats.publications_up += 1;
        self.upstream(UpstreamRequest::Publish { id, publication });
        id
    }

    pub(super) fn take_uplink(&mut self, id: PublicationId) -> Option<SessionKey> {
        self.uplinks.remove(&id)
    }

    /// Notes that `holders` nodes still have to be given the delivery; with none, the broker
    /// has its answer at once. Beyond `unanswered_max` the oldest is answered for instead.
    pub(super) fn hold_delivery(&mut self, id: DeliveryId, holders: u32, unanswered_max: usize) {
        if holders == 0 {
            return self.upstream(UpstreamRequest::Acknowledge(id));
        }
        self.deliveries.insert(id, holders);
        if self.deliveries.len() > unanswered_max
            && let Some((oldest, _)) = self.deliveries.pop_first()
        {
            self.stats.answered_early += 1;
            self.upstream(UpstreamRequest::Acknowledge(oldest));
        }
    }

    /// One node has been given the delivery, or will never be.
    pub(super) fn settle_delivery(&mut self, id: Option<DeliveryId>) {
        let Some(id) = id else { return };
        let Some(holders) = self.deliveries.get_mut(&id) else {
            return;
        };
        *holders -= 1;
        if *holders == 0 {
            self.deliveries.remove(&id);
            self.upstream(UpstreamRequest::Acknowledge(id));
        }
    }

    /// Returns how many uplink publications wait for the broker's answer.
    pub(super) fn uplinks_pending(&self) -> usize {
        self.uplinks.len()
    }

    /// Returns the downlink publications the broker still waits for an answer to.
    pub(super) fn deliveries_held(&self) -> usize {
        self.deliveries.len()
    }
}
