//! Switching the machine off, with an exit code of QEMU that tells why.

use core::ptr;

/// Why the machine was switched off, as QEMU's exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// The node did all it was set to do.
    Finished = 0,
    /// The firmware panicked.
    Panic = 1,
    /// There are no settings, or they are not valid.
    Settings = 2,
    /// The storage failed.
    Failed = 3,
    /// The CPU met something that it cannot run.
    Trap = 4,
    /// The node is done, but some of its publications were refused or dropped.
    Incomplete = 5,
}

/// Switches the machine off; QEMU ends with `exit` as its exit code.
pub fn off(exit: Exit) -> ! {
    let value = match exit {
        Exit::Finished => PASS,
        other => (u32::from(other as u8) << 16) | FAIL,
    };
    // SAFETY: the test device is always mapped on this machine.
    unsafe { ptr::write_volatile(TEST_DEVICE, value) };
    loop {
        riscv::asm::wfi();
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(feature = "semihosting")]
    super::console::print(format_args!("{info}\n"));
    let _ = info;
    off(Exit::Panic)
}

#[unsafe(export_name = "ExceptionHandler")]
fn exception(_frame: &riscv_rt::TrapFrame) -> ! {
    off(Exit::Trap)
}

const TEST_DEVICE: *mut u32 = 0x0010_0000 as *mut u32;
const PASS: u32 = 0x5555;
const FAIL: u32 = 0x3333;
