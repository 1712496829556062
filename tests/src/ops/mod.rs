//! Seeded sequences of operations against a real [`Engine`](gateway::session::Engine).
//!
//! An operation is one thing that can happen to the gateway: a node says something, right or
//! wrong, the broker answers or sends, a link changes, time passes, the configuration changes.
//! [`script`] makes a list of them from a seed, with few places, client ids, topics and message
//! ids, so that everything meets everything. [`Rig::run`] plays the list, and a judge checks
//! after every operation what must hold whatever happens; see [`judge`](self). Names of
//! operations are relative (*the right answer to what the engine said last there*), so a list
//! still means something when parts are left out: [`shrink`] leaves out all it can of one that
//! breaks a promise.
//!
//! Nothing here looks at a clock or rolls dice while it plays: the same list lives through the
//! same history.

mod coverage;
mod generate;
mod judge;
mod messages;
mod operation;
mod places;
mod rig;
mod setup;
mod shrink;

pub use coverage::Coverage;
pub use generate::script;
pub use operation::Operation;
pub use rig::{Broken, Rig};
pub use setup::Setup;
pub use shrink::shrink;

/// What a seed's history was: its length and what it met; or what it broke.
///
/// # Errors
/// A promise that was broken, with the shortest list of operations found that breaks one.
pub fn try_seed(seed: u64, operations: usize) -> Result<Coverage, Box<Failure>> {
    let setup = Setup::new(seed);
    let operations = script(seed, operations);
    Rig::run(&setup, &operations).map_err(|first| {
        let fails = |list: &[Operation]| Rig::run(&setup, list).is_err();
        let shortest = shrink(&operations[..=first.at.min(operations.len() - 1)], fails);
        // Shorter lists may break another promise; theirs is the one to tell.
        let broken = Rig::run(&setup, &shortest).err().unwrap_or(first);
        Box::new(Failure {
            seed,
            setup,
            operations: shortest,
            broken,
        })
    })
}

/// A broken promise, and how to break it.
#[derive(Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// The gateway's settings.
    pub setup: Setup,
    /// The operations.
    pub operations: Vec<Operation>,
    /// The promise.
    pub broken: Broken,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "SEED={}", self.seed)?;
        writeln!(f, "{:?}", self.setup)?;
        for (index, operation) in self.operations.iter().enumerate() {
            writeln!(f, "{index:4} {operation}")?;
        }
        for line in Rig::story(&self.setup, &self.operations) {
            writeln!(f, "     {line}")?;
        }
        writeln!(f, "at {}: {}", self.broken.at, self.broken.why)
    }
}
