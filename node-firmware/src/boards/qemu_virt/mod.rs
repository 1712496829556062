//! QEMU's riscv32 `virt` machine: the node in an emulated CPU.
//!
//! | part | where |
//! |---|---|
//! | radio line | the 16550 serial port at 0x1000_0000, the machine's first `-serial` |
//! | settings and state | memory at 0x8040_0000, see [`flash`] |
//! | clock | `mtime` of the CLINT, 10 MHz |
//! | power-off | the test device at 0x10_0000; the exit code tells why, see [`power`] |

pub mod flash;
pub mod power;
mod time;
pub mod uart;
