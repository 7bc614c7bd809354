//! The target side of a partition: under which identity it writes, and what the answers mean.

use std::time::Instant;

use kmirror_protocol::{
    ErrorCode,
    records::{BatchProducer, sequence_after},
};

use super::{Acknowledged, Newest, Outgoing, Partition, PartitionNotice, Producer, Queued, Run};
use crate::{
    flow::{
        halt::HaltReason,
        intake::Prepared,
        limits,
        recovery::RecoveryCause,
        retry::{Failure, Remedy},
    },
    offsets::state::Lineage,
};

impl Partition {
    /// Whether a producer id must be asked for now.
    #[must_use]
    pub fn wants_producer_id(&self, now: Instant) -> bool {
        self.is_active()
            && !self.proves
            && !self.is_transactional
            && self.producer.is_none()
            && !self.is_asking_for_producer
            && !self.produce_backoff.is_waiting(now)
    }

    /// Notes that a producer id has been asked for.
    pub const fn producer_id_asked(&mut self) {
        self.is_asking_for_producer = true;
    }

    /// Takes a new producer id and epoch, under which nothing has been written yet.
    pub fn producer_id_granted(
        &mut self,
        now: Instant,
        result: Result<(i64, i16), Failure>,
    ) -> Option<PartitionNotice> {
        self.is_asking_for_producer = false;
        match result {
            Ok((id, epoch)) => {
                self.produce_backoff.succeed();
                self.producer = Some(Producer::new(Lineage {
                    producer_id: id,
                    epoch,
                }));
                None
            }
            // Batches without sequence numbers may come twice, which is what this mode allows.
            Err(failure) if failure.remedy() == Remedy::Halt => {
                self.producer = Some(Producer {
                    lineage: Lineage::UNSEQUENCED,
                    next_sequence: 0,
                    is_established: false,
                });
                None
            }
            Err(_) => {
                self.produce_backoff.fail(now, self.seed());
                None
            }
        }
    }

    /// Notes whether a target broker leads the partition.
    pub fn target_found(&mut self, has_target: bool) {
        self.has_target = has_target;
        if self.is_stalled() {
            self.drop_unsent();
        }
    }

    /// The next batch to send, when one may be sent now; it counts as sent.
    ///
    /// No batch goes out further behind the oldest unacknowledged one than a broker remembers, or
    /// that one could not be recognised when it is sent again.
    pub fn next_batch(&mut self, now: Instant) -> Option<Outgoing> {
        if self.is_barred() || self.produce_backoff.is_waiting(now) {
            return None;
        }
        let carried_epoch = self.run.map_or(-1, |run| run.start.anchor.carried_epoch);
        let producer = self.producer.as_mut()?;
        if self.is_resending && self.in_flight > 0 {
            return None;
        }
        self.is_resending = false;
        // Without sequence numbers nothing keeps a later batch out of an earlier one's place.
        let window = if producer.is_established && producer.lineage.is_sequenced() {
            limits::IN_FLIGHT_PER_PARTITION_MAX
        } else {
            1
        };
        let batch = self
            .queue
            .iter_mut()
            .take(window)
            .find(|batch| !batch.is_in_flight && batch.acknowledged_at.is_none())?;
        let is_carried = batch.prepared.source_epoch == carried_epoch;
        let is_sequenced = producer.lineage.is_sequenced();
        if self.proves && is_sequenced && batch.base_sequence.is_none() && !is_carried {
            return None;
        }
        let base_sequence = *batch.base_sequence.get_or_insert_with(|| {
            let base_sequence = producer.next_sequence;
            producer.next_sequence =
                sequence_after(base_sequence, batch.prepared.header.record_count);
            base_sequence
        });
        let lineage = producer.lineage;
        let (header, producer) = (
            &batch.prepared.header,
            BatchProducer {
                producer_id: lineage.producer_id,
                producer_epoch: lineage.epoch,
                base_sequence: if lineage.is_sequenced() {
                    base_sequence
                } else {
                    BatchProducer::NONE.base_sequence
                },
            },
        );
        let header = if self.is_transactional {
            header.readdressed_within_transaction(producer)
        } else {
            header.readdressed(producer)
        };
        batch.is_in_flight = true;
        self.in_flight += 1;
        Some(Outgoing {
            header: header.encode(),
            payload: batch.prepared.payload.clone(),
            base_sequence,
            stint: self.stint,
        })
    }

    /// Takes the target's answer to the batch with that base sequence: its base offset, or why not.
    pub fn produced(
        &mut self,
        now: Instant,
        (base_sequence, stint): (i32, u32),
        result: Result<i64, Failure>,
    ) -> Option<PartitionNotice> {
        // What was sent before a proof has been accounted for by it.
        if stint != self.stint {
            return None;
        }
        let index = self
            .queue
            .iter()
            .position(|batch| batch.is_in_flight && batch.base_sequence == Some(base_sequence))?;
        self.in_flight -= 1;
        let batch = self.queue.get_mut(index)?;
        batch.is_in_flight = false;
        let notice = match result {
            Ok(base_offset) => {
                batch.acknowledged_at = Some(base_offset);
                let resumed = self.check_place(index, base_offset);
                let moved = self.acknowledged(now);
                resumed.or(moved)
            }
            Err(failure) => self.target_failed(now, index, failure),
        };
        if self.in_flight > 0 {
            return notice;
        }
        let settled = self.settle(now);
        notice.or(settled)
    }

    /// Moves the position past every batch that has nothing unacknowledged before it.
    fn acknowledged(&mut self, now: Instant) -> Option<PartitionNotice> {
        self.produce_backoff.succeed();
        self.damaged_fetches = 0;
        if let Some(producer) = &mut self.producer {
            producer.is_established = true;
        }
        while let Some(batch) = self.queue.front()
            && let Some(base_offset) = batch.acknowledged_at
        {
            if self.recovery_cause.is_some() {
                return None;
            }
            // Answers may come in any order, but the log has the batches in theirs.
            let expected_min = self.target_offset_min;
            if base_offset < expected_min {
                if self.is_transactional || self.proves {
                    // Its position will not be stored, and in a transaction it must not become
                    // visible.
                    self.want_recovery(RecoveryCause::BaseOffset {
                        base_offset,
                        expected: expected_min,
                        voids_memory: false,
                    });
                }
                if self.proves {
                    return None;
                }
                return self.halt(
                    now,
                    HaltReason::TargetWentBack {
                        base_offset,
                        expected_min,
                    },
                );
            }
            let count = i64::from(batch.prepared.header.record_count);
            if self.proves {
                self.counters.foreign_records += base_offset.abs_diff(expected_min);
            }
            self.target_offset_min = base_offset.saturating_add(count);
            self.begin_map(base_offset);
            let batch = self.queue.pop_front()?;
            let Prepared {
                first_offset,
                next_offset,
                ..
            } = batch.prepared;
            self.queued_bytes -= batch.size();
            self.copied_offset = Some(next_offset);
            self.copied_epoch = batch.prepared.source_epoch;
            if let (Some(run), Some(producer)) = (&mut self.run, &self.producer) {
                run.acknowledged(&batch, producer.lineage);
            }
            let (header, len) = (&batch.prepared.header, batch.prepared.payload.len());
            self.newest = (header.max_timestamp >= 0).then_some(Newest {
                timestamp_ms: header.max_timestamp,
                acknowledged_at: now,
            });
            if let Some(map) = &mut self.map {
                map.acknowledged(first_offset, next_offset, base_offset, header.record_count);
            }
            self.counters.acknowledged(header, len);
            self.uncommitted.acknowledged(header, len);
        }
        self.skip_copied_without_records();
        None
    }

    /// Checks the base offset of an acknowledgement (R7), at once and for every batch: one behind a
    /// batch that was refused may have been stored in its place by a broker that has forgotten the
    /// producer. Then the log is looked at although the partition is halted over the refusal: once
    /// the target has deleted what is there, nothing tells of the hole any more.
    fn check_place(&mut self, index: usize, base_offset: i64) -> Option<PartitionNotice> {
        if !self.proves {
            return None;
        }
        let mut before = self.queue.iter().take(index);
        let counts = before.clone();
        let counts = counts.map(|batch| i64::from(batch.prepared.header.record_count));
        let expected = self.target_offset_min.saturating_add(counts.sum());
        let is_behind_refused =
            before.any(|batch| !batch.is_in_flight && batch.acknowledged_at.is_none());
        let is_expected = if self.is_shared() {
            base_offset >= expected
        } else {
            base_offset == expected
        };
        if is_expected {
            self.stored_elsewhere = None;
            return None;
        }
        // Once, it is the late batch of a former connection that was taken for this one.
        let is_repeated = base_offset < expected && self.stored_elsewhere == Some(base_offset);
        self.stored_elsewhere = Some(base_offset);
        self.want_recovery(RecoveryCause::BaseOffset {
            base_offset,
            expected,
            voids_memory: is_behind_refused || is_repeated,
        });
        let is_refused = matches!(
            self.halt_reason(),
            Some(HaltReason::TargetRefuses(_) | HaltReason::BatchTooLarge { .. })
        );
        is_refused.then(|| {
            self.halt = None;
            PartitionNotice::Resumed
        })
    }

    fn target_failed(
        &mut self,
        now: Instant,
        index: usize,
        failure: Failure,
    ) -> Option<PartitionNotice> {
        self.is_resending = true;
        let remedy = failure.remedy();
        let is_sequence = matches!(remedy, Remedy::SequenceBroken | Remedy::RestartProducer);
        // Behind a batch whose fate is open, every later one is out of sequence: that says nothing.
        if is_sequence && index > 0 {
            return None;
        }
        let is_sequenced = self.is_sequenced();
        let is_refused = is_sequenced && failure.is_idempotence_refused();
        let is_open = if is_sequenced {
            failure.is_ambiguous()
        } else {
            !failure.is_before_append()
        };
        let breaks_transaction = self.is_transactional && failure.breaks_transaction();
        if breaks_transaction || self.proves && (is_sequence || is_refused || is_open) {
            self.want_recovery(if is_sequence || is_refused {
                RecoveryCause::Refused(failure)
            } else {
                RecoveryCause::Ambiguous(failure)
            });
            return None;
        }
        self.produce_backoff.fail(now, self.seed());
        if self.is_stalled() {
            self.drop_unsent();
        }
        if let Some(batch) = self.queue.get_mut(index) {
            batch.is_doubtful |= !failure.is_before_append();
            batch.is_damaged = failure.is_corrupt_message()
                && !batch.prepared.header.verify_crc(&batch.prepared.payload);
        }
        match remedy {
            Remedy::Retry | Remedy::RefreshMetadata | Remedy::FindLogRange => None,
            Remedy::RestartProducer if self.has_acknowledged() => {
                self.halt(now, HaltReason::TargetDiverged(failure))
            }
            Remedy::RestartProducer => {
                self.is_producer_lost = true;
                None
            }
            Remedy::SequenceBroken => self.halt(now, HaltReason::TargetDiverged(failure)),
            Remedy::Halt => {
                let reason = self.refusal(index, failure);
                self.halt(now, reason)
            }
        }
    }

    /// Whether a batch behind the oldest unacknowledged one is on the target already.
    pub(super) fn has_acknowledged(&self) -> bool {
        self.queue
            .iter()
            .any(|batch| batch.acknowledged_at.is_some())
    }

    /// Draws the consequences that had to wait until every answer was in.
    fn settle(&mut self, now: Instant) -> Option<PartitionNotice> {
        if std::mem::take(&mut self.is_producer_lost) {
            self.producer = None;
            for batch in &mut self.queue {
                batch.base_sequence = None;
            }
            if self.is_stopping {
                self.drop_unsent();
            }
        }
        let index = self.queue.iter().position(|batch| batch.is_damaged)?;
        self.withdraw_from(now, index)
    }

    /// Takes back a batch that no broker takes, and those sent after it, which it kept out of the
    /// log: what is fetched in their place gets their sequence numbers.
    fn withdraw_from(&mut self, now: Instant, index: usize) -> Option<PartitionNotice> {
        let batch = self.queue.get(index)?;
        let offset = batch.prepared.first_offset;
        if let (Some(producer), Some(base_sequence)) = (&mut self.producer, batch.base_sequence) {
            producer.next_sequence = base_sequence;
        }
        while self.queue.len() > index {
            self.drop_last();
        }
        self.damaged_fetches += 1;
        if self.damaged_fetches <= limits::DAMAGED_FETCHES_MAX {
            // The damage may have happened on the way; the next copy may be sound.
            self.fetch_backoff.fail(now, self.seed());
            return None;
        }
        let error = String::from("its checksum is wrong");
        self.halt(now, HaltReason::Unreadable { offset, error })
    }

    fn refusal(&self, index: usize, failure: Failure) -> HaltReason {
        let too_large = matches!(
            failure,
            Failure::Refused(
                ErrorCode::MESSAGE_TOO_LARGE | ErrorCode::RECORD_LIST_TOO_LARGE,
                _
            )
        );
        match self.queue.get(index) {
            Some(batch) if too_large => HaltReason::BatchTooLarge {
                first_offset: batch.prepared.first_offset,
                batch_bytes: batch.size(),
            },
            _ => HaltReason::TargetRefuses(failure),
        }
    }
}

impl Run {
    /// The lineage under which batches go now.
    pub(super) fn lineage(&self) -> Lineage {
        self.acknowledged
            .map_or(self.start.anchor.lineage, |acknowledged| {
                acknowledged.lineage
            })
    }

    /// Notes that a batch is on the target, and all before it.
    fn acknowledged(&mut self, batch: &Queued, lineage: Lineage) {
        let header = &batch.prepared.header;
        let base_sequence = batch.base_sequence.unwrap_or_default();
        self.acknowledged = Some(Acknowledged {
            lineage,
            next_sequence: sequence_after(base_sequence, header.record_count),
        });
        let bytes = u64::try_from(batch.size()).unwrap_or(u64::MAX);
        let so_far = self.unanchored_bytes.unwrap_or(0);
        self.unanchored_bytes = Some(so_far.saturating_add(bytes));
    }
}
