//! The boards, and what they have in common.

mod clock;
#[cfg(feature = "esp")]
pub mod esp;
#[cfg(feature = "qemu-virt")]
pub mod qemu_virt;

pub use clock::EmbassyClock;
