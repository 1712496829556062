//! Checked reading and writing; every access that could fail returns an error instead.

use super::WireError;

/// Reads a body from front to back.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) const fn new(body: &'a [u8]) -> Self {
        Self(body)
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        let (first, rest) = self.0.split_first().ok_or(WireError::Body)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn pair(&mut self) -> Result<[u8; 2], WireError> {
        let (first, rest) = self.0.split_first_chunk::<2>().ok_or(WireError::Body)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        Ok(u16::from_be_bytes(self.pair()?))
    }

    /// Takes what is left: the variable last field of a layout.
    pub(super) const fn rest(&mut self) -> &'a [u8] {
        let rest = self.0;
        self.0 = &[];
        rest
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends a layout without a variable last field.
    pub(super) const fn end<T>(self, value: T) -> Result<T, WireError>
    where
        T: Copy,
    {
        if self.0.is_empty() {
            Ok(value)
        } else {
            Err(WireError::Body)
        }
    }
}

/// Writes a message from front to back into a buffer.
pub(super) struct Writer<'b> {
    buf: &'b mut [u8],
    len: usize,
}

impl<'b> Writer<'b> {
    pub(super) const fn new(buf: &'b mut [u8]) -> Self {
        Self { buf, len: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let end = self.len.checked_add(bytes.len()).ok_or(WireError::Buffer)?;
        self.buf
            .get_mut(self.len..end)
            .ok_or(WireError::Buffer)?
            .copy_from_slice(bytes);
        self.len = end;
        Ok(())
    }

    pub(super) fn u8(&mut self, value: u8) -> Result<(), WireError> {
        self.bytes(&[value])
    }

    pub(super) fn u16(&mut self, value: u16) -> Result<(), WireError> {
        self.bytes(&value.to_be_bytes())
    }
}
