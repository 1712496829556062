//! The gateway's protocol machine: one engine for all nodes, without any input or output.
//!
//! [`Engine`] takes datagrams from the links and events from the upstream and says what to
//! send where. It owns no socket, clock, task or source of randomness, so the gateway, the
//! simulation and the benchmarks run the very same code.
//!
//! It knows the `shared` crate and nothing else of the gateway. Links and upstream are written
//! against its [`port`](Binding) types; only the driver knows them all.
//!
//! Code that implements a rule cites it: `[MQTT-SN 1.2 §n]` is the standard, `D-nn` and `A.n`
//! are this project's decisions where the standard is silent or contradicts itself.

mod address;
mod admission;
mod anonymous;
mod answers;
mod connect;
mod consistency;
mod discovery;
mod downlink;
mod ending;
mod engine;
mod exchange;
mod launch;
mod letter;
mod links;
mod mailbox;
mod nodes;
mod outage;
mod output;
mod permission;
mod policy;
mod port;
mod quota;
mod rate;
mod reconfigure;
mod retained;
mod settings;
mod sleep;
mod slots;
mod state;
mod status;
mod strangers;
mod subscribe;
mod subscription_tree;
mod supervision;
mod topic_table;
mod uplink;
mod watches;
mod will;

#[cfg(test)]
mod tests;

pub use address::{ForwarderRule, NotAPrefix, Prefix};
pub use consistency::Sight;
pub use engine::Engine;
pub use nodes::{NodeState, NodeStatus};
pub use output::{DropReason, Ending, Notice, Output, Stats};
pub use policy::{Admission, NodeRule, Pattern, Priority, Profile, Quota};
pub use port::{
    Binding, Delivery, DeliveryId, LinkEvent, LinkId, Peer, Publication, PublicationId, Refusal,
    UpstreamEvent, UpstreamRequest,
};
pub use reconfigure::Reconfigured;
pub use settings::{
    Discovery, Forwarders, LinkSettings, MailboxLimits, QosMinusOneRule, Senders, Settings,
    Tolerance, WillMode,
};
