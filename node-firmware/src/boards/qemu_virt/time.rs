//! The time driver: `mtime` counts, `mtimecmp` wakes.

use core::cell::RefCell;
use core::ptr;
use core::task::Waker;

use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;
use riscv::interrupt::Interrupt;

struct Clint {
    queue: Mutex<RefCell<Queue>>,
}

embassy_time_driver::time_driver_impl!(static CLINT: Clint = Clint {
    queue: Mutex::new(RefCell::new(Queue::new())),
});

impl Driver for Clint {
    fn now(&self) -> u64 {
        mtime() / MTIME_PER_TICK
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            let changed = self.queue.borrow(cs).borrow_mut().schedule_wake(at, waker);
            if changed {
                self.arm(cs);
            }
        });
    }
}

impl Clint {
    /// Wakes what is due and sets the alarm for what comes next.
    fn arm(&self, cs: CriticalSection<'_>) {
        let next = self
            .queue
            .borrow(cs)
            .borrow_mut()
            .next_expiration(self.now());
        // A time that has passed meanwhile raises the interrupt at once: nothing is missed.
        alarm_at(next.saturating_mul(MTIME_PER_TICK));
        // SAFETY: a single hart, and the handler takes the same critical section.
        unsafe { riscv::register::mie::set_mtimer() };
    }
}

#[riscv_rt::core_interrupt(Interrupt::MachineTimer)]
fn machine_timer() {
    critical_section::with(|cs| CLINT.arm(cs));
}

fn mtime() -> u64 {
    loop {
        // SAFETY: the CLINT is always mapped on this machine, and reading it changes nothing.
        let (high, low, again) = unsafe {
            (
                ptr::read_volatile(MTIME.add(1)),
                ptr::read_volatile(MTIME),
                ptr::read_volatile(MTIME.add(1)),
            )
        };
        if high == again {
            return (u64::from(high) << 32) | u64::from(low);
        }
    }
}

fn alarm_at(mtime: u64) {
    let low = (mtime & u64::from(u32::MAX)) as u32;
    let high = (mtime >> 32) as u32;
    // SAFETY: only this function writes the alarm, inside a critical section. The high word goes
    // to its maximum first, so that no half-written value can be in the past.
    unsafe {
        ptr::write_volatile(MTIMECMP.add(1), u32::MAX);
        ptr::write_volatile(MTIMECMP, low);
        ptr::write_volatile(MTIMECMP.add(1), high);
    }
}

/// QEMU's `virt` machine counts at 10 MHz.
const MTIME_HZ: u64 = 10_000_000;
const MTIME_PER_TICK: u64 = MTIME_HZ / TICK_HZ;
const MTIME: *const u32 = 0x0200_bff8 as *const u32;
const MTIMECMP: *mut u32 = 0x0200_4000 as *mut u32;
