//! Text to QEMU's console by semihosting, which needs `-semihosting-config enable=on`.

use core::fmt::{self, Write};

/// Prints; without semihosting in QEMU this ends in [`super::power::Exit::Trap`].
pub(super) fn print(text: fmt::Arguments<'_>) {
    // Printing to the console cannot fail.
    let _ = Console.write_fmt(text);
}

struct Console;

impl Write for Console {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            // SAFETY: SYS_WRITEC reads one byte through the pointer in a1, which outlives the
            // call; the sequence of three instructions is what QEMU looks for.
            unsafe {
                core::arch::asm!(
                    ".option push",
                    ".option norvc",
                    ".balign 16",
                    "slli x0, x0, 0x1f",
                    "ebreak",
                    "srai x0, x0, 7",
                    ".option pop",
                    inout("a0") SYS_WRITEC => _,
                    in("a1") &raw const byte,
                );
            }
        }
        Ok(())
    }
}

const SYS_WRITEC: usize = 3;
