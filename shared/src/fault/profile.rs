//! What a link does to frames.

use super::{Airtime, ContactWindows, GilbertElliott, Outage, PPM};
use crate::time::Duration;

/// Everything that a link does to the frames of one direction.
///
/// The presets ([`perfect`](Self::perfect) and on, listed in [`PRESETS`](super::PRESETS)) are
/// starting points; the rest is struct update:
///
/// ```
/// use shared::fault::FaultProfile;
/// use shared::time::Duration;
///
/// let line = FaultProfile {
///     delay: Duration::from_millis(40),
///     ..FaultProfile::lossy_20()
/// };
/// ```
///
/// Probabilities are in parts per million of the frames that reach the air; 1,000,000 and
/// more is certainty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FaultProfile {
    /// Frames lost one by one, independent of each other, in ppm.
    pub loss_ppm: u32,
    /// Loss in bursts, in addition; `None` for a channel without a memory.
    pub burst: Option<GilbertElliott>,
    /// The time from the end of transmission to delivery.
    pub delay: Duration,
    /// The most that is added to the delay, evenly from zero on. Jitter alone never lets a
    /// frame overtake another.
    pub jitter: Duration,
    /// Frames that arrive twice, in ppm. The copy is the network's: it takes no airtime here.
    pub duplicate_ppm: u32,
    /// Frames that are held back by [`reorder_hold`](Self::reorder_hold), so that later ones
    /// may overtake them, in ppm.
    pub reorder_ppm: u32,
    /// How long such a frame is held back.
    pub reorder_hold: Duration,
    /// Frames that arrive with flipped bits, in ppm. Links with a checksum below the frame
    /// (UDP, LoRa) lose such frames instead: leave it at 0 there.
    pub corrupt_ppm: u32,
    /// The most bits flipped in such a frame, at random places; 0 counts as 1.
    pub corrupt_bits_max: u8,
    /// When the other end is within reach; `None` for always.
    pub windows: Option<ContactWindows>,
    /// One outage of this direction, the other may go on; `None` for none.
    pub outage: Option<Outage>,
    /// How long frames are on the air.
    pub airtime: Airtime,
    /// The most frames that wait for the line or are on it; further ones are dropped.
    pub queue_frames: u16,
    /// The most octets of those frames; further ones are dropped.
    pub queue_octets: u32,
}

impl FaultProfile {
    /// Returns the share of frames that bursts and single losses take in the long run while
    /// the link is in contact, in ppm.
    #[must_use]
    pub fn mean_loss_ppm(&self) -> u32 {
        let burst = self.burst.map_or(0, |burst| burst.mean_loss_ppm()).min(PPM);
        let single = self.loss_ppm.min(PPM);
        let kept = u64::from(PPM - burst) * u64::from(PPM - single) / u64::from(PPM);
        u32::try_from(u64::from(PPM) - kept).unwrap_or(PPM)
    }
}

impl Default for FaultProfile {
    fn default() -> Self {
        Self::perfect()
    }
}
