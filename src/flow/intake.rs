//! What becomes of fetched records: batches that the target takes, in source order.
//!
//! One procedure for copying and for proving what has been copied, so that both always mean the
//! same records: markers, aborted and empty batches are left out, old formats are converted, and
//! what no broker would take is built anew ([`decide`], `rebuild`). Pure; it never sends, and
//! never looks into a payload that passes as it is.

use bytes::Bytes;
use kmirror_protocol::{
    Malformed,
    records::{
        BatchHeader, BatchProducer, BuiltBatch, HEADER_LEN, LegacyConverter, LegacyError,
        LegacyMessage, LogEntry, batches, check_outgoing,
    },
};

use super::{
    Counters, FetchedRecords,
    aborted::AbortedFilter,
    batch::{Decision, RebuildReason, decide},
    halt::HaltReason,
    limits,
    rebuild::rebuild,
};

/// A batch that the target takes, once it is given a producer and a sequence.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Its header; base offset, leader epoch and producer are still those of the source.
    pub header: BatchHeader,
    /// What follows the header: the source's bytes, unless the batch was built anew.
    pub payload: Bytes,
    /// Where fetching starts to get this batch again.
    pub first_offset: i64,
    /// The source position once this batch is on the target.
    pub next_offset: i64,
    /// The leader epoch under which the source took it.
    pub source_epoch: i32,
}

impl Prepared {
    /// Bytes on the wire.
    #[must_use]
    pub fn size(&self) -> usize {
        HEADER_LEN + self.payload.len()
    }
}

/// What one answer brought.
#[derive(Debug, Default)]
pub struct Taken {
    /// In source order.
    pub batches: Vec<Prepared>,
    /// Where reading goes on, past everything that was taken or left out.
    pub next_offset: i64,
    /// The leader epoch of the last batch, whatever became of it; -1 when there was none.
    pub last_epoch: i32,
    /// Whether the answer held not even one whole batch although it held bytes.
    pub is_cut: bool,
    /// Why reading stops here; what came before it is in `batches`.
    pub stopped: Option<HaltReason>,
}

/// Takes the records fetched at `next_offset`, and counts what became of each batch.
#[must_use]
pub fn take(next_offset: i64, fetched: FetchedRecords, counters: &mut Counters) -> Taken {
    let FetchedRecords {
        records, aborted, ..
    } = fetched;
    let mut intake = Intake {
        aborted: AbortedFilter::new(aborted),
        old: LegacyConverter::new(limits::CONVERSION),
        counters,
        taken: Taken {
            next_offset,
            last_epoch: -1,
            is_cut: !records.is_empty(),
            ..Taken::default()
        },
    };
    for entry in batches(&records) {
        intake.taken.is_cut = false;
        if let Err(reason) = intake.entry(entry, &records) {
            intake.taken.stopped = Some(reason);
            return intake.taken;
        }
    }
    if let Err(reason) = intake.finish_old() {
        intake.taken.stopped = Some(reason);
    }
    intake.taken
}

struct Intake<'a> {
    aborted: AbortedFilter,
    old: LegacyConverter,
    counters: &'a mut Counters,
    taken: Taken,
}

impl Intake<'_> {
    /// Takes one entry; what came before it in an old format is taken first, whatever becomes of it.
    fn entry(
        &mut self,
        entry: Result<LogEntry<'_>, Malformed>,
        records: &Bytes,
    ) -> Result<(), HaltReason> {
        let batch = match entry {
            Ok(LogEntry::Legacy(message)) => return self.legacy(&message),
            Ok(LogEntry::Batch(batch)) => Ok(batch),
            Err(fault) => Err(fault),
        };
        self.finish_old()?;
        let next_offset = self.taken.next_offset;
        let batch = batch.map_err(|fault| HaltReason::Unreadable {
            offset: next_offset,
            error: fault.to_string(),
        })?;
        let is_aborted = self.aborted.is_aborted(&batch.header, batch.payload);
        let decision = decide(&batch.header, next_offset, is_aborted);
        self.counters.count(decision);
        self.carry_out(decision, &batch.header, &records.slice_ref(batch.payload))
    }

    fn legacy(&mut self, message: &LegacyMessage<'_>) -> Result<(), HaltReason> {
        let pushed = self.old.push(message);
        if pushed.is_err() {
            self.finish_old()?;
        }
        self.converted(pushed)
    }

    fn finish_old(&mut self) -> Result<(), HaltReason> {
        let finished = self.old.finish();
        self.converted(finished)
    }

    /// Takes a batch made of messages of an old format, as if it had been fetched.
    fn converted(
        &mut self,
        converted: Result<Option<BuiltBatch>, LegacyError>,
    ) -> Result<(), HaltReason> {
        let next_offset = self.taken.next_offset;
        let converted = converted.map_err(|error| HaltReason::NotRebuilt {
            offset: next_offset,
            error: error.into(),
        })?;
        let Some(BuiltBatch { header, payload }) = converted else {
            return Ok(());
        };
        let decision = decide(&header, next_offset, false);
        self.counters.count(match decision {
            Decision::Pass => Decision::Rebuild(RebuildReason::OldFormat),
            other => other,
        });
        self.carry_out(decision, &header, &payload)
    }

    fn carry_out(
        &mut self,
        decision: Decision,
        header: &BatchHeader,
        payload: &Bytes,
    ) -> Result<(), HaltReason> {
        let next_offset = self.taken.next_offset;
        match decision {
            Decision::Drop(_) => {}
            Decision::Pass => {
                self.push(header, (*header, payload.clone()))?;
            }
            Decision::Rebuild(_) => {
                let rebuilt = rebuild(header, payload, next_offset).map_err(|error| {
                    HaltReason::NotRebuilt {
                        offset: header.base_offset,
                        error,
                    }
                })?;
                if let Some(rebuilt) = rebuilt {
                    self.push(header, rebuilt)?;
                }
            }
        }
        self.taken.next_offset = next_offset.max(header.next_offset());
        self.taken.last_epoch = header.partition_leader_epoch;
        Ok(())
    }

    /// Adds what is to be sent for a batch of the source, unless a broker would refuse its header.
    fn push(
        &mut self,
        original: &BatchHeader,
        (header, payload): (BatchHeader, Bytes),
    ) -> Result<(), HaltReason> {
        let first_offset = self.taken.next_offset.max(original.base_offset);
        let producer = BatchProducer {
            producer_id: 0,
            producer_epoch: 0,
            base_sequence: 0,
        };
        check_outgoing(&header.readdressed(producer), payload.len()).map_err(|violation| {
            HaltReason::Unreadable {
                offset: first_offset,
                error: violation.to_string(),
            }
        })?;
        self.taken.batches.push(Prepared {
            header,
            payload,
            first_offset,
            next_offset: original.next_offset(),
            source_epoch: original.partition_leader_epoch,
        });
        Ok(())
    }
}
