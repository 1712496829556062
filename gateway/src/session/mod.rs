//! The gateway's protocol machine: one engine for all nodes, without any input or output.

mod port;

pub use port::{
    Binding, DeliveryId, LinkId, Peer, Publication, PublicationId, Refusal, UpstreamEvent,
    UpstreamRequest,
};
