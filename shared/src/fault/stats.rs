//! What happened to frames.

/// What a link did to the frames it was given.
///
/// Every frame is counted once: `sent + duplicated` equals
/// `delivered + missing() + in flight`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FaultStats {
    /// Frames given to the link.
    pub sent: u64,
    /// Frames that came out, copies included.
    pub delivered: u64,
    /// Frames lost one by one.
    pub lost: u64,
    /// Frames lost in bursts.
    pub burst_lost: u64,
    /// Frames lost outside of the contact windows.
    pub out_of_contact: u64,
    /// Frames lost in an outage or a partition.
    pub partitioned: u64,
    /// Frames dropped because the queue was full; they never were on the air.
    pub dropped_full: u64,
    /// Frames dropped because they were longer than the link's MTU.
    pub dropped_oversize: u64,
    /// Copies made.
    pub duplicated: u64,
    /// Frames put on their way with flipped bits.
    pub corrupted: u64,
    /// Frames held back.
    pub reordered: u64,
    /// Octets on the air, lost ones included.
    pub octets_on_air: u64,
    /// Octets that came out, copies included.
    pub octets_delivered: u64,
    /// The time that frames were on the air, in microseconds.
    pub airtime_us: u64,
}

impl FaultStats {
    /// Returns the number of frames that will never come out.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.lost
            .saturating_add(self.burst_lost)
            .saturating_add(self.out_of_contact)
            .saturating_add(self.partitioned)
            .saturating_add(self.dropped_full)
            .saturating_add(self.dropped_oversize)
    }
}
