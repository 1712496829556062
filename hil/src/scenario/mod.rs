//! What can be run.

mod lossy_serial;

use std::time::Duration;

use anyhow::Result;

use crate::judge::{Recording, Verdict, judge};
use crate::rig::Rig;

pub use lossy_serial::LossySerial;

/// A scenario: what is done with the nodes of a rig, and what must come of it.
pub trait Scenario {
    /// Returns what it is called on the command line.
    fn name(&self) -> &'static str;

    /// Returns what it does and promises, in a sentence.
    fn about(&self) -> &'static str;

    /// Plays it on a rig and returns what was seen.
    ///
    /// # Errors
    /// Where a part does not start or ends before its time; a promise that is not kept is no
    /// error, but the judge's to find.
    fn play(
        &self,
        rig: &mut dyn Rig,
        setup: &Setup,
        progress: &mut Progress<'_>,
    ) -> Result<Recording>;
}

/// How a scenario is played.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// How many nodes.
    pub nodes: u8,
    /// How many readings each node takes.
    pub readings: u32,
    /// What every random choice is drawn from.
    pub seed: u64,
}

/// Is told now and then how far the scenario is: the time since its start and a line of text.
/// An error of it ends the scenario.
pub type Progress<'a> = dyn FnMut(Duration, &str) -> Result<()> + 'a;

/// Every scenario.
#[must_use]
pub fn all() -> Vec<Box<dyn Scenario>> {
    vec![Box::new(LossySerial)]
}

/// Plays a scenario and judges it.
///
/// # Errors
/// As [`Scenario::play`].
pub fn run(
    scenario: &dyn Scenario,
    rig: &mut dyn Rig,
    setup: &Setup,
    progress: &mut Progress<'_>,
) -> Result<(Recording, Verdict)> {
    let recording = scenario.play(rig, setup, progress)?;
    let verdict = judge(&recording);
    Ok((recording, verdict))
}
