//! The partition that holds settings and state.

use esp_bootloader_esp_idf::partitions::{PARTITION_TABLE_MAX_LEN, read_partition_table};
use esp_hal::peripherals::FLASH;
use esp_storage::FlashStorage;
use static_cell::ConstStaticCell;

/// Returns the flash and where in it the node's partition begins, or `None` where the
/// partition table has none that is large enough.
pub(super) fn node_partition(flash: FLASH<'static>) -> Option<(FlashStorage<'static>, u32)> {
    static TABLE: ConstStaticCell<[u8; PARTITION_TABLE_MAX_LEN]> =
        ConstStaticCell::new([0; PARTITION_TABLE_MAX_LEN]);
    let mut flash = FlashStorage::new(flash);
    let table = read_partition_table(&mut flash, TABLE.try_take()?).ok()?;
    let base = table
        .iter()
        .find(|entry| entry.label_as_str() == LABEL && entry.len() >= LEN_MIN)?
        .offset();
    Some((flash, base))
}

/// The name in `partitions.csv`.
const LABEL: &str = "node";

/// Three sectors, as [`app::flash::FlashStorage`] lays them out.
const LEN_MIN: u32 = 3 * FlashStorage::SECTOR_SIZE;
