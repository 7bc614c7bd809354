//! How sure a flow makes that each record is on the target once.

/// The guarantee that is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Each record once, for every reader, proven from the target's log; without transactions.
    #[default]
    ExactlyOnce,
    /// Each record at least once; what was not stored as copied is copied again after a crash.
    AtLeastOnce,
    /// Each record once for readers of committed records, in transactions that carry the positions.
    Transactional,
}

/// What happens when the source no longer has records that were not copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnGap {
    /// The gap is recorded and reported, and copying goes on behind it.
    #[default]
    Continue,
    /// The partition halts.
    Halt,
}

/// What happens when a source topic was deleted and created again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRecreated {
    /// Its partitions halt.
    #[default]
    Halt,
    /// What it has now is copied behind what the former one had.
    Append,
}

/// What happens with a remote partition whose records no state explains.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Adopt {
    /// The partition halts and says what there is to choose.
    #[default]
    Ask,
    /// Both logs are compared from their beginning; copying goes on behind what agrees.
    Prove,
    /// The stored position is believed; without one everything that the source has is copied.
    Stored,
    /// Everything that the source has is copied behind what is there.
    Earliest,
    /// Only what comes from now on is copied.
    Latest,
}
