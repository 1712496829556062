//! A seeded model of a bad link, used unchanged by tests, the simulator and the test rigs.
//!
//! A [`FaultLink`] carries frames one way and does to them what a radio, a serial line or a
//! satellite does, as its [`FaultProfile`] says: it loses them singly or in bursts, delays,
//! repeats, reorders and corrupts them, is out of contact, and takes its time to send. Two of
//! them make a link. It is sans-IO: the driver passes the time in and moves the bytes.
//!
//! The order of what happens to a frame:
//!
//! ```text
//! send -> too long? -> queue full? -> waits for the line -> on the air
//!      -> partition? -> contact window? -> burst? -> single loss?
//!      -> corruption -> delay, jitter, hold-back -> poll_deliver (and once more for a copy)
//! ```
//!
//! Whatever is lost on the air has cost its airtime all the same.
//!
//! The same seed, profile and calls give the same fates. Every kind of fault draws from a
//! generator of its own, so switching one on leaves what the others do as it was.

mod airtime;
mod channel;
mod dice;
mod link;
mod presets;
mod profile;
mod stats;

pub use airtime::{Airtime, LoRa};
pub use channel::{ContactWindows, GilbertElliott, Outage};
pub use link::{Fate, FaultLink};
pub use presets::PRESETS;
pub use profile::FaultProfile;
pub use stats::FaultStats;

/// Certainty, in parts per million.
pub const PPM: u32 = 1_000_000;

#[cfg(test)]
mod tests;
