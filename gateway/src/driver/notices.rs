//! What the engine notices, written into the log.

use std::fmt;
use std::sync::Arc;

use shared::time::Instant;
use tracing::{debug, info, warn};

use crate::drop_log::{DEFAULT_LINES_PER_S, DEFAULT_SUMMARY_INTERVAL, DropLog};
use crate::session::{Binding, DropReason, Ending, LinkId, Notice, Peer};

/// Writes notices with the links' names; drops at a bounded rate.
#[derive(Debug)]
pub(super) struct Notices {
    links: Vec<String>,
    drops: DropLog,
}

impl Notices {
    pub(super) const fn new(links: Vec<String>) -> Self {
        Self {
            links,
            drops: DropLog::new(DEFAULT_LINES_PER_S, DEFAULT_SUMMARY_INTERVAL),
        }
    }

    pub(super) fn take(&mut self, now: Instant, notice: Notice) {
        match notice {
            Notice::Dropped {
                binding,
                client_id,
                reason,
                octets,
            } => {
                if reason == DropReason::TooLongAgain {
                    return self.drops.count(now, reason.name(), 1);
                }
                let links = self.links.as_slice();
                let place = binding.map(|binding| Place { links, binding });
                self.drops
                    .warn(now, reason.name(), Who { client_id, place }, octets);
            }
            Notice::Connected {
                client_id,
                binding,
                resumed,
            } => {
                info!(node = %client_id, at = %self.place(binding), resumed, "connected");
            }
            Notice::Asleep {
                client_id,
                duration_s,
            } => {
                debug!(node = %client_id, duration_s, "asleep");
            }
            Notice::Moved { client_id, binding } => {
                info!(node = %client_id, at = %self.place(binding), "moved");
            }
            Notice::Unresponsive { client_id } => {
                warn!(node = %client_id, "does not answer; what waits for it is kept");
            }
            Notice::UnknownFixedTopic { client_id, topic } => {
                warn!(node = %client_id, ?topic, "does not know a topic that is fixed by configuration");
            }
            Notice::Unsubscribed { client_id, filter } => {
                warn!(node = %client_id, %filter, "may not be subscribed to any more");
            }
            Notice::Ended { client_id, how } => {
                let how = match how {
                    Ending::Disconnected => "disconnected",
                    Ending::Lost => "lost",
                    Ending::TakenOver => "taken over",
                    Ending::NotAdmitted => "not admitted any more",
                    Ending::Displaced => "gave its place to a node of higher priority",
                    Ending::UpstreamOut => "sent off",
                };
                info!(node = %client_id, "{how}");
            }
            Notice::Expected { client_id, silent } => match silent {
                None => info!(node = %client_id, "is heard"),
                Some(Some(silent)) => warn!(node = %client_id, %silent, "is not heard as expected"),
                Some(None) => warn!(node = %client_id, "is expected and was never heard"),
            },
            Notice::SentOff { nodes } => {
                warn!(
                    nodes,
                    "the upstream has been away for too long; the nodes are sent off"
                );
            }
            Notice::LinkSilent { link, silent } => {
                let link = self.link(link);
                warn!(link, %silent, "nothing is heard; its nodes do not count as lost");
            }
            Notice::LinkHeard { link } => info!(link = self.link(link), "is heard again"),
            Notice::OtherGateway { gw_id, binding } => {
                info!(gw_id, at = %self.place(binding), "another gateway is heard");
            }
            Notice::GatewayIdTaken { gw_id, binding } => {
                warn!(gw_id, at = %self.place(binding), "another gateway has the same id");
            }
            Notice::StandsIn { link, yes: true } => {
                info!(
                    link = self.link(link),
                    "advertises in place of another gateway"
                );
            }
            Notice::StandsIn { link, yes: false } => {
                info!(link = self.link(link), "leaves it to another gateway");
            }
            Notice::Late { late } => {
                warn!(%late, "was served late; nodes have a fresh chance to be heard");
            }
        }
    }

    /// Writes the summaries of drops that are due.
    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.drops.flush(now);
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.drops.poll_timeout()
    }

    fn link(&self, link: LinkId) -> &str {
        let link = usize::from(link.0);
        self.links.get(link).map_or("?", String::as_str)
    }

    const fn place(&self, binding: Binding) -> Place<'_> {
        Place {
            links: self.links.as_slice(),
            binding,
        }
    }
}

/// A binding with the name of its link.
struct Place<'a> {
    links: &'a [String],
    binding: Binding,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let link = usize::from(self.binding.link.0);
        f.write_str(self.links.get(link).map_or("?", String::as_str))?;
        if let Peer::Socket(address) = self.binding.peer {
            write!(f, "/{address}")?;
        }
        self.binding
            .node_id
            .map_or(Ok(()), |node_id| write!(f, "/{node_id}"))
    }
}

/// Whose a drop is, as far as that is known. It is written out only for drops that get a line.
struct Who<'a> {
    client_id: Option<Arc<str>>,
    place: Option<Place<'a>>,
}

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.client_id, &self.place) {
            (Some(client_id), Some(place)) => write!(f, "{client_id} at {place}"),
            (Some(client_id), None) => f.write_str(client_id),
            (None, Some(place)) => place.fmt(f),
            (None, None) => f.write_str("upstream"),
        }
    }
}
