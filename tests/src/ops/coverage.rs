//! What the operations have met: to know that the deep states are really reached.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;

/// How often what has met what.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    counts: BTreeMap<(&'static str, &'static str), u64>,
    /// Operations played.
    pub operations: u64,
    /// Things the engine had done.
    pub outputs: u64,
}

impl Coverage {
    /// Notes that `what` has met `state`.
    pub(super) fn meet(&mut self, what: &'static str, state: &'static str) {
        *self.counts.entry((what, state)).or_default() += 1;
    }

    /// Returns how often `what` has met `state`.
    #[must_use]
    pub fn met(&self, what: &'static str, state: &'static str) -> u64 {
        self.counts.get(&(what, state)).copied().unwrap_or_default()
    }
}

impl AddAssign<&Self> for Coverage {
    fn add_assign(&mut self, other: &Self) {
        for (key, count) in &other.counts {
            *self.counts.entry(*key).or_default() += count;
        }
        self.operations += other.operations;
        self.outputs += other.outputs;
    }
}

impl fmt::Display for Coverage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} operations, {} outputs",
            self.operations, self.outputs
        )?;
        for ((what, state), count) in &self.counts {
            writeln!(f, "{what:>16} {state:<14} {count}")?;
        }
        Ok(())
    }
}
