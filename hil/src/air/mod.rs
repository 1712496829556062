//! The simulated radio that nodes share, with one gateway at its other end.
//!
//! Every byte that a node's serial line or the gateway's gives is cut into frames, each frame
//! goes through a [`FaultLink`](shared::fault::FaultLink) of its own direction, and what comes
//! out is written to the other end as it is, flipped bits included. A frame of the gateway
//! reaches every node, as on a radio; each node hears it with losses of its own.
//!
//! * [`Air`] is the model, without input, output or clock.
//! * [`Medium`] runs it between real lines.
//! * [`Tally`] is what was seen, per node.

mod medium;
mod model;
mod splitter;
mod tally;

pub use medium::{GATEWAY_QUEUE_FRAMES, Medium};
pub use model::{Air, Destination, FRAME_LEN_MAX, Source};
pub use splitter::FrameSplitter;
pub use tally::Tally;
