//! What a node keeps over a loss of power.

use serde::{Deserialize, Serialize};

use crate::ports::Storage;
use crate::record::Kind;

/// What a node keeps over a loss of power; postcard, as [`Kind::State`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// No reading has been given this number or a higher one.
    pub sequence_reserved: u32,
    /// How often the node has started.
    pub boots: u32,
    /// The reporting interval that a command set, in seconds.
    pub interval_s: Option<u32>,
    /// The id of the command that was carried out last, 0 before the first.
    pub command_id: u32,
}

impl State {
    /// Reads the state, or the one of a new node where none is stored.
    ///
    /// # Errors
    /// What the storage reports.
    pub async fn load<S: Storage>(storage: &mut S) -> Result<Self, S::Error> {
        let mut buf = [0; STATE_LEN_MAX];
        let len = storage.load(Kind::State, &mut buf).await?.unwrap_or(0);
        let stored = buf.get(..len).and_then(|b| postcard::from_bytes(b).ok());
        Ok(stored.unwrap_or_default())
    }

    /// Writes the state.
    ///
    /// # Errors
    /// What the storage reports.
    pub async fn save<S: Storage>(&self, storage: &mut S) -> Result<(), S::Error> {
        let mut buf = [0; STATE_LEN_MAX];
        match postcard::to_slice(self, &mut buf) {
            Ok(payload) => storage.save(Kind::State, payload).await,
            // Four varints and a tag take 21 octets at most.
            Err(_) => unreachable!("the buffer takes the longest state"),
        }
    }
}

/// Numbers the readings, across restarts and without a write for each.
///
/// Numbers are reserved in blocks: a restart skips what is left of a block, and no number is
/// ever given twice.
#[derive(Clone, Copy, Debug)]
pub struct Sequence {
    next: u32,
    reserved: u32,
}

impl Sequence {
    /// Goes on behind everything that was ever reserved.
    #[must_use]
    pub const fn after(state: &State) -> Self {
        Self {
            next: state.sequence_reserved,
            reserved: state.sequence_reserved,
        }
    }

    /// Returns the next number, and whether a block could be reserved where that was due.
    ///
    /// A node whose storage fails goes on numbering, and tries to reserve again with the next
    /// number: what repeats after a restart does less harm than what is never reported.
    pub async fn next<S: Storage>(
        &mut self,
        state: &mut State,
        storage: &mut S,
    ) -> (u32, Result<(), S::Error>) {
        let number = self.next;
        self.next = number.wrapping_add(1);
        if number < self.reserved {
            return (number, Ok(()));
        }
        let wanted = State {
            sequence_reserved: number.wrapping_add(SEQUENCE_BLOCK),
            ..*state
        };
        let saved = wanted.save(storage).await;
        if saved.is_ok() {
            *state = wanted;
            self.reserved = wanted.sequence_reserved;
        }
        (number, saved)
    }
}

/// Numbers reserved by one write: at a reading a minute, 100,000 erasures of two sectors last
/// for 97 years.
pub const SEQUENCE_BLOCK: u32 = 256;

/// The longest state: four varints of five octets and a tag.
const STATE_LEN_MAX: usize = 24;
