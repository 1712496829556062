//! The boards, one folder each.

#[cfg(feature = "qemu-virt")]
pub mod qemu_virt;
