use std::vec;
use std::vec::Vec;

use embassy_futures::block_on;
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};

use super::*;

/// A flash that loses its power after so many written octets or erased sectors.
struct Flash {
    octets: Vec<u8>,
    /// Writes and erasures that still happen.
    left: usize,
}

impl Flash {
    fn new() -> Self {
        Self {
            octets: vec![ERASED; 4 * Self::ERASE_SIZE],
            left: usize::MAX,
        }
    }

    fn spend(&mut self) -> Result<(), NorFlashErrorKind> {
        self.left = self.left.checked_sub(1).ok_or(NorFlashErrorKind::Other)?;
        Ok(())
    }
}

impl ErrorType for Flash {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Flash {
    const READ_SIZE: usize = 4;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        assert_eq!(bytes.len() % Self::READ_SIZE, 0);
        let start = offset as usize;
        bytes.copy_from_slice(&self.octets[start..start + bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.octets.len()
    }
}

impl NorFlash for Flash {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        assert_eq!(from as usize % Self::ERASE_SIZE, 0);
        self.spend()?;
        self.octets[from as usize..to as usize].fill(ERASED);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        assert_eq!(bytes.len() % Self::WRITE_SIZE, 0);
        for (index, word) in bytes.chunks(Self::WRITE_SIZE).enumerate() {
            self.spend()?;
            let start = offset as usize + index * Self::WRITE_SIZE;
            for (cell, octet) in self.octets[start..].iter_mut().zip(word) {
                // Writing clears bits and never sets them.
                *cell &= octet;
            }
        }
        Ok(())
    }
}

const BASE: u32 = 4096;

fn load(storage: &mut FlashStorage<Flash>, kind: Kind) -> Option<Vec<u8>> {
    let mut buf = [0; 64];
    let len = block_on(storage.load(kind, &mut buf)).unwrap()?;
    Some(buf[..len].to_vec())
}

#[test]
fn records_read_back_and_leave_each_other_alone() {
    let mut storage = FlashStorage::new(Flash::new(), BASE);
    assert_eq!(load(&mut storage, Kind::Settings), None);
    assert_eq!(load(&mut storage, Kind::State), None);
    block_on(storage.save(Kind::Settings, b"settings")).unwrap();
    for round in 0..10_u8 {
        block_on(storage.save(Kind::State, &[round; 5])).unwrap();
        assert_eq!(load(&mut storage, Kind::State), Some(vec![round; 5]));
        assert_eq!(
            load(&mut storage, Kind::Settings),
            Some(b"settings".to_vec())
        );
    }
}

#[test]
fn power_lost_at_any_point_leaves_the_old_state_or_the_new() {
    // The record of 21 octets is six words, and one erasure comes first.
    for left in 0..8 {
        let mut storage = FlashStorage::new(Flash::new(), BASE);
        block_on(storage.save(Kind::State, b"first")).unwrap();
        block_on(storage.save(Kind::State, b"older")).unwrap();
        let mut flash = storage.into_inner();
        flash.left = left;
        let mut storage = FlashStorage::new(flash, BASE);
        let saved = block_on(storage.save(Kind::State, b"newer"));
        let expected: &[u8] = if saved.is_ok() { b"newer" } else { b"older" };
        assert_eq!(saved.is_ok(), left >= 7, "{left}");
        assert_eq!(load(&mut storage, Kind::State).as_deref(), Some(expected));
    }
}

#[test]
fn a_record_too_long_for_the_reader_is_an_error() {
    let mut storage = FlashStorage::new(Flash::new(), BASE);
    block_on(storage.save(Kind::State, &[1; 20])).unwrap();
    assert_eq!(
        block_on(storage.load(Kind::State, &mut [0; 19])),
        Err(FlashError::TooLong)
    );
    assert_eq!(
        block_on(storage.save(Kind::State, &[0; BUFFER_LEN])),
        Err(FlashError::TooLong)
    );
}
