//! Where a scenario runs: what a rig must offer, and the two rigs there are.

mod bench;
mod emulated;
mod firmware;

use std::path::PathBuf;

use anyhow::Result;
use app::Settings;
use shared::wire::NodeId;

use crate::air::Tally;
use crate::judge::NodeEnd;

pub use bench::{BenchPlan, BenchRig, Board, Chip};
pub use emulated::VirtualRig;
pub use firmware::Firmware;

/// Nodes and the radio between them and a gateway.
///
/// 1. [`Self::check`] finds out whether everything is there, before anything is started.
/// 2. [`Self::open`] opens the radio; the gateway is started on what it returns.
/// 3. [`Self::start`] starts the nodes.
/// 4. [`Self::ends`] and [`Self::air`] tell what has become of them.
///
/// Dropping a rig ends what it started.
pub trait Rig {
    /// Returns the rig's name.
    fn name(&self) -> &'static str;

    /// Checks that everything the rig needs for `nodes` nodes is there, and returns what was
    /// found, a line each.
    ///
    /// # Errors
    /// What is missing, and how to get it.
    fn check(&self, nodes: usize) -> Result<Vec<String>>;

    /// Opens the radio for the given nodes and returns the gateway's end of it.
    ///
    /// # Errors
    /// Where the radio cannot be opened.
    fn open(&mut self, nodes: &[NodePlan]) -> Result<SerialLine>;

    /// Gives the nodes their settings and starts them.
    ///
    /// # Errors
    /// Where a node does not start.
    fn start(&mut self) -> Result<()>;

    /// Returns how each node has ended, or that it has not.
    ///
    /// # Errors
    /// The system's error.
    fn ends(&mut self) -> Result<Vec<NodeEnd>>;

    /// Returns what was seen on the air, node by node; `None` where the rig cannot see it.
    fn air(&self) -> Option<Vec<Tally>>;

    /// Returns the frames that the rig itself lost.
    fn rig_lost(&self) -> u64;
}

/// What one node is to be.
#[derive(Clone, Debug)]
pub struct NodePlan {
    /// The node's name on the shared radio.
    pub node_id: NodeId,
    /// The node's settings.
    pub settings: Settings,
}

impl NodePlan {
    /// Returns the node's client id.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.settings.client_id
    }
}

/// A serial line for the gateway to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerialLine {
    /// The device.
    pub path: PathBuf,
    /// Its bit rate.
    pub baud: u32,
}
