//! The real firmware against the real gateway, over simulated or real links.
//!
//! ```text
//! scenario -- what is done, and what must have come of it
//!    |
//!   rig ----- where: `virtual` (QEMU, simulated air) or `bench` (boards, a real radio)
//!    |            nodes --air--> gateway (release binary) --> mosquitto --> probe
//! recording - what was seen: on the air, at the broker, of the nodes
//!    |
//!  judge ---- pure: recording in, verdict out
//!    |
//!  report --- for people and, as JSON, for machines
//! ```
//!
//! * [`rig`]: the parts and how they are started, watched and ended.
//! * [`air`]: the simulated radio that the virtual rig's nodes share.
//! * [`scenario`]: what can be run.
//! * [`judge`]: what counts as passed.
//! * [`report`]: what is printed.
//! * [`load`]: the load generator's measurements.
//! * [`fairness`]: what nodes that never answer cost the others.

pub mod air;
pub mod cli;
pub mod fairness;
mod interrupt;
pub mod judge;
pub mod load;
pub mod report;
pub mod rig;
pub mod scenario;
