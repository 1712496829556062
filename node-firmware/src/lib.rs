//! The node on its boards: each board's peripherals, behind the traits of the node application.
//!
//! What a node does is in [`app`] and runs on a host too; here is only what differs between
//! chips. A binary in `src/bin` names the board, wires its parts together and runs them.

#![no_std]

#[cfg(not(any(feature = "esp32c3", feature = "esp32c6", feature = "qemu-virt")))]
compile_error!("choose a board: --features esp32c3, esp32c6 or qemu-virt");
#[cfg(any(
    all(feature = "esp32c3", feature = "esp32c6"),
    all(feature = "esp", feature = "qemu-virt")
))]
compile_error!("choose one board only: esp32c3, esp32c6 or qemu-virt");

pub mod boards;
