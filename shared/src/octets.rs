//! A short string of octets kept in place.

/// Up to `N` octets, `N` below 256, without a meaning of their own.
///
/// Shorter ones come before longer ones, those of one length in the order of their octets.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Octets<const N: usize> {
    len: u8,
    /// Zero behind the first `len`, so that equal strings are equal here.
    kept: [u8; N],
}

impl<const N: usize> Octets<N> {
    /// No octets.
    pub(crate) const EMPTY: Self = Self {
        len: 0,
        kept: [0; N],
    };

    /// Keeps `octets`, or returns `None` where there are more than `N`.
    pub(crate) fn new(octets: &[u8]) -> Option<Self> {
        const { assert!(N < 256, "the length is one octet") };
        let mut kept = [0; N];
        kept.get_mut(..octets.len())?.copy_from_slice(octets);
        Some(Self {
            len: u8::try_from(octets.len()).ok()?,
            kept,
        })
    }

    pub(crate) const fn len(&self) -> u8 {
        self.len
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        self.kept.get(..usize::from(self.len)).unwrap_or(&[])
    }
}

impl<const N: usize> core::fmt::Display for Octets<N> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.as_bytes()
            .iter()
            .try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}
