//! From messages of an old format to record batches.

use super::{LegacyError, LegacyMessage, LegacyRecords};
use crate::{
    records::{BatchBuilder, BuildError, BuiltBatch, NewRecord, compression::Compression},
    wire::{Malformed, Why},
};

/// The bounds of a conversion, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvertLimits {
    /// The most that one wrapper may unfold to.
    pub output_len_max: usize,
    /// When a batch of messages that were not compressed is large enough: none is begun past it, so
    /// that a batch is larger only by its last record. A wrapper is one batch whatever its size.
    pub batch_len: usize,
}

/// Turns messages, pushed in the order of the log, into record batches.
///
/// A batch is what the log would hold had it been written in the new format: base offset, record
/// offsets and last offset are the source's, holes that compaction left included, and the leader
/// epoch is -1. It is to be treated like any batch that was fetched. One wrapper becomes one batch
/// of its codec; messages that follow each other uncompressed share a batch. Every record keeps its
/// offset, key, value and visible timestamp: an append time becomes the record's own time.
///
/// A message that is refused takes nothing with it: what came before is still handed out. Only when a
/// batch itself cannot be built is it gone, and nothing after it may be used: start over at its base
/// offset.
#[derive(Clone, Debug)]
pub struct LegacyConverter {
    limits: ConvertLimits,
    /// The least offset that may follow.
    next_offset: i64,
    pending: Option<Pending>,
}

impl LegacyConverter {
    /// Starts without messages.
    #[must_use]
    pub const fn new(limits: ConvertLimits) -> Self {
        Self {
            limits,
            next_offset: 0,
            pending: None,
        }
    }

    /// Takes the next message; answers the batch that it does not belong to any more, if there is one.
    ///
    /// # Errors
    ///
    /// [`LegacyError`] when the message is damaged, or its offsets do not ascend or are too far apart
    /// for one batch, and it is left out; or when the batch before it cannot be built.
    pub fn push(&mut self, message: &LegacyMessage<'_>) -> Result<Option<BuiltBatch>, LegacyError> {
        let records = message.records(self.limits.output_len_max)?;
        if first_offset(&records)? < self.next_offset {
            return Err(descending());
        }
        let done = match &mut self.pending {
            Some(pending) if pending.takes(&records, self.limits.batch_len) => {
                pending.append(&records)?;
                None
            }
            _ => {
                let next = Pending::new(&records)?;
                let done = self.finish()?;
                self.pending = Some(next);
                done
            }
        };
        self.next_offset = records.last_offset().saturating_add(1);
        Ok(done)
    }

    /// Hands out the last batch.
    ///
    /// # Errors
    ///
    /// [`LegacyError::Build`].
    pub fn finish(&mut self) -> Result<Option<BuiltBatch>, LegacyError> {
        let done = self.pending.take().map(Pending::build);
        done.transpose().map_err(LegacyError::Build)
    }
}

/// A batch that may still grow.
#[derive(Clone, Debug)]
struct Pending {
    builder: BatchBuilder,
    base_offset: i64,
    last_offset: i64,
    is_wrapper: bool,
}

impl Pending {
    fn new(records: &LegacyRecords<'_>) -> Result<Self, LegacyError> {
        let base_offset = first_offset(records)?;
        let mut pending = Self {
            builder: BatchBuilder::new(records.compression()).appended_at(base_offset, -1),
            base_offset,
            last_offset: base_offset.saturating_sub(1),
            is_wrapper: records.compression() != Compression::None,
        };
        pending.append(records)?;
        Ok(pending)
    }

    /// Whether a message that is not a wrapper may join.
    fn takes(&self, records: &LegacyRecords<'_>, batch_len: usize) -> bool {
        !self.is_wrapper
            && records.compression() == Compression::None
            && self.builder.uncompressed_size() < batch_len
            && self.delta(records.last_offset()).is_ok()
    }

    fn append(&mut self, records: &LegacyRecords<'_>) -> Result<(), LegacyError> {
        for record in records {
            if record.offset <= self.last_offset {
                return Err(descending());
            }
            let delta = self.delta(record.offset)?;
            let new = NewRecord {
                timestamp: record.timestamp,
                key: record.key,
                value: record.value,
                headers: &[],
            };
            let pushed = self.builder.push_at(delta, &new);
            pushed.map_err(LegacyError::Build)?;
            self.last_offset = record.offset;
        }
        self.delta(records.last_offset())?;
        self.last_offset = self.last_offset.max(records.last_offset());
        Ok(())
    }

    fn delta(&self, offset: i64) -> Result<i32, LegacyError> {
        i32::try_from(offset.saturating_sub(self.base_offset))
            .map_err(|_| LegacyError::Build(BuildError::TooManyRecords))
    }

    fn build(self) -> Result<BuiltBatch, BuildError> {
        let last = i32::try_from(self.last_offset.saturating_sub(self.base_offset));
        let last = last.map_err(|_| BuildError::TooManyRecords)?;
        self.builder.last_offset_delta_min(last).build()
    }
}

fn first_offset(records: &LegacyRecords<'_>) -> Result<i64, LegacyError> {
    let first = records.iter().next();
    first.map(|record| record.offset).ok_or_else(descending)
}

fn descending() -> LegacyError {
    Malformed::new(Why::OutOfRange)
        .at("LegacyMessage.offset")
        .into()
}
