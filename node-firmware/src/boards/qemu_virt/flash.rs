//! Memory that stands for the flash of a real board.
//!
//! Three sectors of 4 KiB from [`FLASH_BASE`] on, as [`app::flash::FlashStorage`] lays them
//! out: settings, and twice the state. QEMU puts the settings there:
//!
//! ```text
//! -device loader,file=settings.bin,addr=0x80400000,force-raw=on
//! ```
//!
//! The state survives a reset of the machine, but not the end of QEMU.

use core::ptr;

use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

/// Where the emulated flash begins.
pub const FLASH_BASE: usize = 0x8040_0000;

/// The emulated flash; there is one.
#[derive(Debug)]
pub struct MemoryFlash(());

/// Why the emulated flash does nothing: only for accesses outside of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutOfBounds;

impl MemoryFlash {
    /// Takes the memory.
    ///
    /// # Safety
    /// To be called once: two owners would write the same memory.
    #[must_use]
    pub const unsafe fn init() -> Self {
        Self(())
    }

    fn address(&self, offset: u32, len: usize) -> Result<*mut u8, OutOfBounds> {
        let offset = offset as usize;
        let end = offset.checked_add(len).ok_or(OutOfBounds)?;
        if end > FLASH_LEN {
            return Err(OutOfBounds);
        }
        Ok(ptr::without_provenance_mut(FLASH_BASE + offset))
    }
}

impl NorFlashError for OutOfBounds {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}

impl ErrorType for MemoryFlash {
    type Error = OutOfBounds;
}

impl ReadNorFlash for MemoryFlash {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), OutOfBounds> {
        let mut from = self.address(offset, bytes.len())?;
        for place in bytes {
            // SAFETY: inside the emulated flash, as checked; the linker script keeps the
            // program out of it. Volatile, because QEMU wrote it and not this program.
            unsafe {
                *place = ptr::read_volatile(from);
                from = from.add(1);
            }
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        FLASH_LEN
    }
}

impl NorFlash for MemoryFlash {
    const WRITE_SIZE: usize = 1;
    const ERASE_SIZE: usize = SECTOR_LEN;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), OutOfBounds> {
        let len = to.checked_sub(from).ok_or(OutOfBounds)? as usize;
        let at = self.address(from, len)?;
        // SAFETY: as for reading, and `&mut self` is the only owner.
        unsafe { ptr::write_bytes(at, 0xFF, len) };
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), OutOfBounds> {
        let at = self.address(offset, bytes.len())?;
        // SAFETY: as for erasing; `bytes` is memory of the program and does not overlap.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), at, bytes.len()) };
        Ok(())
    }
}

const SECTOR_LEN: usize = 4096;
const FLASH_LEN: usize = 3 * SECTOR_LEN;
