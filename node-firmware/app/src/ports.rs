//! What a board gives to the node application.
//!
//! Each trait is one thing the application cannot do by itself. The futures need no particular
//! executor: the application is driven by embassy on the boards and by anything on a host.

use core::fmt::Debug;

use shared::time::{Duration, Instant};

use crate::record::Kind;

/// Sends and receives datagrams.
#[expect(
    async_fn_in_trait,
    reason = "boards run on one thread; where a host needs Send, its own types have it"
)]
pub trait Radio {
    /// Why a datagram could not be sent or received for good.
    type Error: Debug;

    /// Switches the radio on; it was off, or is on already.
    ///
    /// # Errors
    /// What the radio reports; the application tries again at the next wake.
    async fn power_up(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Switches the radio off until the next [`power_up`](Self::power_up). Nothing that was
    /// sent is still under way, and what arrives meanwhile is lost.
    ///
    /// # Errors
    /// What the radio reports; the application sleeps all the same.
    async fn power_down(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// What the radio reports. The datagram counts as lost: the protocol repeats it.
    async fn transmit(&mut self, datagram: &[u8]) -> Result<(), Self::Error>;

    /// Receives one whole datagram into `buf` and returns its length; one that is longer than
    /// `buf` is dropped.
    ///
    /// # Errors
    /// What the radio reports. The application goes on with the next call.
    ///
    /// # Cancellation Safety
    /// Dropping the future loses nothing: a datagram that has arrived in part is completed by
    /// the next call.
    async fn receive(&mut self, buf: &mut [u8]) -> Result<usize, Self::Error>;
}

/// Keeps records over a loss of power.
#[expect(async_fn_in_trait, reason = "as for Radio")]
pub trait Storage {
    /// Why a record could not be read or written.
    type Error: Debug;

    /// Reads the newest record of `kind` into `buf` and returns its length, or `None` where
    /// there is none that is whole.
    ///
    /// # Errors
    /// What the storage reports.
    async fn load(&mut self, kind: Kind, buf: &mut [u8]) -> Result<Option<usize>, Self::Error>;

    /// Writes a record of `kind`. A loss of power during the call leaves the new record or the
    /// one before it, never neither.
    ///
    /// # Errors
    /// What the storage reports.
    async fn save(&mut self, kind: Kind, payload: &[u8]) -> Result<(), Self::Error>;
}

/// Measures.
#[expect(async_fn_in_trait, reason = "as for Radio")]
pub trait Sensor {
    /// Why nothing was measured.
    type Error: Debug;

    /// Takes one measurement.
    ///
    /// # Errors
    /// What the sensor reports; this reading is left out and counted.
    async fn sample(&mut self) -> Result<Sample, Self::Error>;
}

/// One measurement.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The measured value, in thousandths of its unit: millidegrees Celsius on our boards.
    pub value_milli: i32,
    /// The supply voltage, in millivolts; 0 where the board cannot measure it.
    pub battery_mv: u16,
}

/// Sleeps, and drives the one output that a command can switch.
#[expect(async_fn_in_trait, reason = "as for Radio")]
pub trait Power {
    /// Sleeps as deeply as the board can without losing its memory, and returns after `span`.
    /// Called early it costs energy; returning late costs service.
    async fn sleep(&mut self, span: Duration);

    /// Switches the board's LED, where it has one.
    fn switch_led(&mut self, on: bool) {
        let _ = on;
    }
}

/// Tells the time.
#[expect(async_fn_in_trait, reason = "as for Radio")]
pub trait Clock {
    /// Returns the time since the board was powered up. It goes on through every sleep.
    fn now(&self) -> Instant;

    /// Waits, awake, until `deadline`; returns at once where it has passed.
    ///
    /// # Cancellation Safety
    /// Dropping the future ends the wait and nothing else.
    async fn wait_until(&self, deadline: Instant);
}
