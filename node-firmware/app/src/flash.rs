//! Records in NOR flash: [`Storage`] for every board.

use embedded_storage::nor_flash::{NorFlash, NorFlashError, NorFlashErrorKind};

use crate::ports::Storage;
use crate::record::{Kind, RECORD_OVERHEAD, Record};

/// Three erasable sectors of a NOR flash: one for the settings, which a host writes, and two
/// for the state, which are written in turn.
///
/// | sector | holds |
/// |---:|---|
/// | 0 | settings |
/// | 1, 2 | state; the whole record with the higher counter counts |
///
/// A new state goes to the sector that does not hold the newest, so a loss of power during the
/// write leaves the one before it.
#[derive(Debug)]
pub struct FlashStorage<F> {
    flash: F,
    base: u32,
}

/// Why a record was not read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FlashError {
    /// The flash reports this.
    Flash(NorFlashErrorKind),
    /// The record is longer than what a node stores.
    TooLong,
}

impl<F: NorFlash> FlashStorage<F> {
    /// Uses the three sectors from `base` on, in octets from the start of the flash and on the
    /// border of a sector.
    pub const fn new(flash: F, base: u32) -> Self {
        Self { flash, base }
    }

    /// Gives the flash back.
    pub fn into_inner(self) -> F {
        self.flash
    }

    fn sector(&self, index: u32) -> u32 {
        self.base + index * sector_len::<F>()
    }

    /// Reads the record of `kind` in a sector, if there is one, and returns its counter and
    /// length.
    fn read(
        &mut self,
        kind: Kind,
        index: u32,
        Buffer(buf): &mut Buffer,
    ) -> Result<Option<(u32, usize)>, FlashError> {
        let at = self.sector(index);
        self.flash.read(at, buf).map_err(flash_error)?;
        let record = Record::parse(kind, buf).ok();
        Ok(record.map(|record| (record.counter, record.payload.len())))
    }

    /// Returns the sector and the counter of the newest state.
    fn newest_state(&mut self, buf: &mut Buffer) -> Result<Option<(u32, u32)>, FlashError> {
        let mut newest = None;
        for index in STATE_SECTORS {
            if let Some((counter, _)) = self.read(Kind::State, index, buf)?
                && newest.is_none_or(|(_, best)| counter > best)
            {
                newest = Some((index, counter));
            }
        }
        Ok(newest)
    }

    fn write(
        &mut self,
        kind: Kind,
        index: u32,
        record: Record<'_>,
        Buffer(buf): &mut Buffer,
    ) -> Result<(), FlashError> {
        buf.fill(ERASED);
        let len = record.emit(kind, buf).map_err(|_| FlashError::TooLong)?;
        let whole = buf
            .get(..len.next_multiple_of(F::WRITE_SIZE))
            .ok_or(FlashError::TooLong)?;
        let at = self.sector(index);
        self.flash
            .erase(at, at + sector_len::<F>())
            .map_err(flash_error)?;
        self.flash.write(at, whole).map_err(flash_error)
    }
}

impl<F: NorFlash> Storage for FlashStorage<F> {
    type Error = FlashError;

    async fn load(&mut self, kind: Kind, out: &mut [u8]) -> Result<Option<usize>, FlashError> {
        let mut buf = Buffer([0; BUFFER_LEN]);
        let index = match kind {
            Kind::Settings => SETTINGS_SECTOR,
            Kind::State => match self.newest_state(&mut buf)? {
                Some((index, _)) => index,
                None => return Ok(None),
            },
        };
        let Some((_, len)) = self.read(kind, index, &mut buf)? else {
            return Ok(None);
        };
        let payload = buf.0.iter().skip(RECORD_OVERHEAD).take(len);
        let place = out.get_mut(..len).ok_or(FlashError::TooLong)?;
        place
            .iter_mut()
            .zip(payload)
            .for_each(|(to, from)| *to = *from);
        Ok(Some(len))
    }

    async fn save(&mut self, kind: Kind, payload: &[u8]) -> Result<(), FlashError> {
        let mut buf = Buffer([0; BUFFER_LEN]);
        let (index, counter) = match kind {
            Kind::Settings => (SETTINGS_SECTOR, 0),
            Kind::State => match self.newest_state(&mut buf)? {
                Some((index, counter)) => (other(index), counter.wrapping_add(1)),
                None => (STATE_SECTORS[0], 0),
            },
        };
        self.write(kind, index, Record { counter, payload }, &mut buf)
    }
}

fn flash_error(error: impl NorFlashError) -> FlashError {
    FlashError::Flash(error.kind())
}

const fn sector_len<F: NorFlash>() -> u32 {
    F::ERASE_SIZE as u32
}

const fn other(state_sector: u32) -> u32 {
    STATE_SECTORS[0] + STATE_SECTORS[1] - state_sector
}

const SETTINGS_SECTOR: u32 = 0;
const STATE_SECTORS: [u32; 2] = [1, 2];
const ERASED: u8 = 0xFF;

/// In whole words: flash drivers copy what is not, through a buffer of a whole sector.
#[repr(align(4))]
struct Buffer([u8; BUFFER_LEN]);

/// The longest record with the settings' length, in whole words.
const BUFFER_LEN: usize = crate::settings::SETTINGS_RECORD_LEN_MAX.next_multiple_of(32);

#[cfg(test)]
mod tests;
