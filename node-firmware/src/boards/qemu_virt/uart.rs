//! The 16550 serial port as the radio line.
//!
//! The interrupt empties the port's 16-byte FIFO into a ring. When the ring is full it leaves
//! the bytes where they are, and QEMU holds back its end of the line until there is room again:
//! at any speed nothing is lost.

use core::cell::RefCell;
use core::convert::Infallible;
use core::future::poll_fn;
use core::ptr;
use core::task::Poll;

use critical_section::Mutex;
use embassy_futures::yield_now;
use embassy_sync::waitqueue::AtomicWaker;
use embedded_io_async::{ErrorType, Read, Write};
use riscv::interrupt::Interrupt;

/// The serial port; there is one.
#[derive(Debug)]
pub struct Uart(());

impl Uart {
    /// Sets the port and its interrupt up.
    ///
    /// # Safety
    /// To be called once: two owners would share one ring.
    #[must_use]
    pub unsafe fn init() -> Self {
        write(FIFO_CONTROL, FIFO_ENABLE_AND_CLEAR);
        write(INTERRUPT_ENABLE, RECEIVE_INTERRUPT);
        // SAFETY: the interrupt controller is always mapped on this machine; nothing else uses it.
        unsafe {
            ptr::write_volatile(PLIC_PRIORITY.add(UART_IRQ), 1);
            ptr::write_volatile(PLIC_ENABLE, 1 << UART_IRQ);
            ptr::write_volatile(PLIC_THRESHOLD, 0);
            riscv::register::mie::set_mext();
            riscv::interrupt::enable();
        }
        Self(())
    }
}

impl ErrorType for Uart {
    type Error = Infallible;
}

impl Read for Uart {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, Infallible> {
        if buf.is_empty() {
            return Ok(0);
        }
        poll_fn(|cx| {
            RECEIVED.register(cx.waker());
            match take(buf) {
                0 => Poll::Pending,
                len => Poll::Ready(Ok(len)),
            }
        })
        .await
    }
}

impl Write for Uart {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, Infallible> {
        while read(LINE_STATUS) & TRANSMITTER_EMPTY == 0 {
            yield_now().await;
        }
        let len = buf.len().min(FIFO_LEN);
        for byte in buf.iter().take(len) {
            write(DATA, *byte);
        }
        Ok(len)
    }

    async fn flush(&mut self) -> Result<(), Infallible> {
        while read(LINE_STATUS) & TRANSMITTER_IDLE == 0 {
            yield_now().await;
        }
        Ok(())
    }
}

/// Moves bytes from the ring to `buf`, and lets the interrupt bring more.
fn take(buf: &mut [u8]) -> usize {
    critical_section::with(|cs| {
        let mut ring = RING.borrow(cs).borrow_mut();
        let mut len = 0;
        for slot in buf.iter_mut() {
            let Some(byte) = ring.pop_front() else { break };
            *slot = byte;
            len += 1;
        }
        write(INTERRUPT_ENABLE, RECEIVE_INTERRUPT);
        len
    })
}

#[riscv_rt::core_interrupt(Interrupt::MachineExternal)]
fn machine_external() {
    // SAFETY: claiming and completing belong to the handler alone.
    let irq = unsafe { ptr::read_volatile(PLIC_CLAIM) };
    critical_section::with(|cs| {
        let mut ring = RING.borrow(cs).borrow_mut();
        while read(LINE_STATUS) & DATA_READY != 0 {
            if ring.is_full() {
                write(INTERRUPT_ENABLE, 0);
                break;
            }
            // There is room: checked above.
            let _ = ring.push_back(read(DATA));
        }
    });
    RECEIVED.wake();
    // SAFETY: as above.
    unsafe { ptr::write_volatile(PLIC_CLAIM, irq) };
}

fn read(register: usize) -> u8 {
    // SAFETY: the port is always mapped on this machine.
    unsafe { ptr::read_volatile(UART.add(register)) }
}

fn write(register: usize, value: u8) {
    // SAFETY: as for reading; the registers written here affect the port alone.
    unsafe { ptr::write_volatile(UART.add(register), value) }
}

static RING: Mutex<RefCell<heapless::Deque<u8, RING_LEN>>> =
    Mutex::new(RefCell::new(heapless::Deque::new()));
static RECEIVED: AtomicWaker = AtomicWaker::new();

/// More than one frame of the largest datagram a node takes.
const RING_LEN: usize = 512;

const UART: *mut u8 = 0x1000_0000 as *mut u8;
const UART_IRQ: usize = 10;
const FIFO_LEN: usize = 16;
const DATA: usize = 0;
const INTERRUPT_ENABLE: usize = 1;
const FIFO_CONTROL: usize = 2;
const LINE_STATUS: usize = 5;
const RECEIVE_INTERRUPT: u8 = 1;
const FIFO_ENABLE_AND_CLEAR: u8 = 0b111;
const DATA_READY: u8 = 1;
const TRANSMITTER_EMPTY: u8 = 1 << 5;
const TRANSMITTER_IDLE: u8 = 1 << 6;

const PLIC_PRIORITY: *mut u32 = 0x0c00_0000 as *mut u32;
const PLIC_ENABLE: *mut u32 = 0x0c00_2000 as *mut u32;
const PLIC_THRESHOLD: *mut u32 = 0x0c20_0000 as *mut u32;
const PLIC_CLAIM: *mut u32 = 0x0c20_0004 as *mut u32;
