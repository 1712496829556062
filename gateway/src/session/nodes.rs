//! What the engine knows of the nodes, for those who watch them.

use super::engine::Engine;
use super::policy::Priority;
use super::port::Binding;
use super::state::{Session, State};

/// What there is to say of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeStatus<'e> {
    /// The node's name.
    pub client_id: &'e str,
    /// Whether it listens.
    pub state: NodeState,
    /// Where it is heard, while it is connected.
    pub binding: Option<Binding>,
    /// How many publications wait for it, the one under way included.
    pub mailbox_len: usize,
    /// Their octets, topic names and payloads together.
    pub mailbox_bytes: usize,
    /// Its priority, by its rule.
    pub priority: Priority,
}

/// Whether a node listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NodeState {
    /// It is connected and listens.
    Active,
    /// It sleeps.
    Asleep,
    /// It sleeps, and listens just now.
    Awake,
    /// It is not connected; its session is kept.
    Gone,
}

impl Engine {
    /// Returns what there is to say of each node that has a session, in a stable order. It costs
    /// nothing before it is asked, and little then.
    pub fn sessions(&self) -> impl Iterator<Item = NodeStatus<'_>> {
        self.slots
            .iter()
            .map(|(_, session)| NodeStatus::of(session))
    }
}

impl<'e> NodeStatus<'e> {
    fn of(session: &'e Session) -> Self {
        let under_way = session.in_flight.as_ref().map(|flight| flight.letter.len());
        Self {
            client_id: &session.client_id,
            state: match session.state {
                State::Active => NodeState::Active,
                State::Asleep { .. } => NodeState::Asleep,
                State::Awake { .. } => NodeState::Awake,
                State::Gone => NodeState::Gone,
            },
            binding: session.binding,
            mailbox_len: session.mailbox.len() + usize::from(under_way.is_some()),
            mailbox_bytes: session.mailbox.bytes() + under_way.unwrap_or(0),
            priority: session.rule.priority,
        }
    }
}
