//! Datagrams as slices of large buffers: one allocation for hundreds of them.

use bytes::{Bytes, BytesMut};

/// Copies datagrams into a buffer and gives out slices of it.
///
/// Copying a datagram of a hundred octets is cheaper than keeping a receive slot of a
/// thousand alive for it. A buffer whose slices are all gone is used again.
#[derive(Debug, Default)]
pub(super) struct Pool(BytesMut);

impl Pool {
    pub(super) fn copy(&mut self, datagram: &[u8]) -> Bytes {
        if self.0.capacity() < datagram.len() {
            self.0.reserve(BUFFER_LEN.max(datagram.len()));
        }
        self.0.extend_from_slice(datagram);
        self.0.split().freeze()
    }
}

/// The octets of one buffer.
const BUFFER_LEN: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_keep_what_was_copied_across_buffers() {
        let mut pool = Pool::default();
        let kept: Vec<Bytes> = (0..2000_u32).map(|n| pool.copy(&n.to_be_bytes())).collect();
        for (n, slice) in (0..2000_u32).zip(&kept) {
            assert_eq!(&slice[..], &n.to_be_bytes());
        }
        assert_eq!(pool.copy(&[7; 60_000]), vec![7; 60_000]);
        assert_eq!(pool.copy(&[]), Bytes::new());
    }

    #[test]
    fn a_free_buffer_is_used_again() {
        let mut pool = Pool::default();
        let first = pool.copy(&[1; 1000]).as_ptr();
        let mut seen = 0;
        for _ in 0..1000 {
            seen += usize::from(pool.copy(&[2; 1000]).as_ptr() == first);
        }
        assert!(seen > 10, "{seen}");
    }
}
