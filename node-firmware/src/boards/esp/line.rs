//! The UART as a noisy line.

use embedded_io_async::{ErrorType, Read, Write};
use esp_hal::Async;
use esp_hal::uart::{IoError, Uart};

/// A UART whose receive errors are what they are on a radio: noise, which the frames' checksum
/// deals with.
pub(super) struct NoisyLine(pub(super) Uart<'static, Async>);

impl ErrorType for NoisyLine {
    type Error = IoError;
}

impl Read for NoisyLine {
    async fn read(&mut self, buf: &mut [u8]) -> Result<usize, IoError> {
        loop {
            // Framing, parity and overflow errors: the bytes in question are gone, the line
            // goes on.
            if let Ok(len) = self.0.read_async(buf).await {
                return Ok(len);
            }
        }
    }
}

impl Write for NoisyLine {
    async fn write(&mut self, buf: &[u8]) -> Result<usize, IoError> {
        self.0.write_async(buf).await.map_err(IoError::Tx)
    }

    async fn flush(&mut self) -> Result<(), IoError> {
        self.0.flush_async().await.map_err(IoError::Tx)
    }
}
