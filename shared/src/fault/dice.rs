//! The choices a link makes.

use super::channel::BurstChannel;
use crate::rng::Rng;

/// A generator for each kind of fault, so that they do not shift each other's draws.
#[derive(Debug)]
pub(super) struct Dice {
    pub(super) burst: BurstChannel,
    pub(super) loss: Rng,
    pub(super) jitter: Rng,
    pub(super) duplicate: Rng,
    pub(super) reorder: Rng,
    pub(super) corrupt: Rng,
    bits: Rng,
}

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        Self {
            burst: BurstChannel::new(rng.split()),
            loss: rng.split(),
            jitter: rng.split(),
            duplicate: rng.split(),
            reorder: rng.split(),
            corrupt: rng.split(),
            bits: rng.split(),
        }
    }

    /// Flips 1 to `bits_max` bits of `frame`; returns false where there is none to flip.
    pub(super) fn flip_bits(&mut self, frame: &mut [u8], bits_max: u8) -> bool {
        let bits = u64::try_from(frame.len()).unwrap_or(0).saturating_mul(8);
        if bits == 0 {
            return false;
        }
        let first = self.bits.below(bits);
        flip(frame, first);
        for _ in 0..self.bits.below(u64::from(bits_max.max(1))) {
            // Never the first place again: the frame shall not come out whole.
            let further = 1 + self.bits.below(bits - 1);
            flip(frame, (first + further) % bits);
        }
        true
    }
}

fn flip(frame: &mut [u8], bit: u64) {
    let octet = usize::try_from(bit / 8)
        .ok()
        .and_then(|index| frame.get_mut(index));
    if let Some(octet) = octet {
        *octet ^= 1 << (bit % 8);
    }
}
