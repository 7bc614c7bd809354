//! The target side of a partition: under which identity it writes, and what the answers mean.

use std::time::Instant;

use kmirror_protocol::{
    ErrorCode,
    records::{BatchProducer, HEADER_LEN, sequence_after},
};

use super::{Outgoing, Partition, PartitionNotice, Producer};
use crate::flow::{
    halt::HaltReason,
    limits,
    retry::{Failure, Remedy},
};

impl Partition {
    /// Whether a producer id must be asked for now.
    #[must_use]
    pub fn wants_producer_id(&self, now: Instant) -> bool {
        self.is_active()
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
                self.producer = Some(Producer {
                    id,
                    epoch,
                    next_sequence: 0,
                    is_established: false,
                });
                None
            }
            Err(failure) => {
                self.produce_backoff.fail(now, self.seed());
                match failure.remedy() {
                    Remedy::Halt => self.halt(now, HaltReason::TargetRefuses(failure)),
                    _ => None,
                }
            }
        }
    }

    /// The next batch to send, when one may be sent now; it counts as sent.
    pub fn next_batch(&mut self, now: Instant) -> Option<Outgoing> {
        let producer = self.producer.as_mut()?;
        if self.halt.is_some() || self.produce_backoff.is_waiting(now) {
            return None;
        }
        if self.is_resending {
            if self.in_flight > 0 {
                return None;
            }
            self.is_resending = false;
        }
        let in_flight_max = if producer.is_established {
            limits::IN_FLIGHT_PER_PARTITION_MAX
        } else {
            1
        };
        if self.in_flight >= in_flight_max {
            return None;
        }
        let batch = self
            .queue
            .iter_mut()
            .find(|batch| !batch.is_in_flight && !batch.is_acknowledged)?;
        let base_sequence = *batch.base_sequence.get_or_insert(producer.next_sequence);
        let producer_fields = BatchProducer {
            producer_id: producer.id,
            producer_epoch: producer.epoch,
            base_sequence,
        };
        let header = batch.header.readdressed(producer_fields);
        if producer.next_sequence == base_sequence {
            producer.next_sequence = sequence_after(base_sequence, header.record_count);
        }
        batch.is_in_flight = true;
        self.in_flight += 1;
        Some(Outgoing {
            header: header.encode(),
            payload: batch.payload.clone(),
            base_sequence,
        })
    }

    /// Takes the target's answer to the batch with that base sequence: its base offset, or why not.
    pub fn produced(
        &mut self,
        now: Instant,
        base_sequence: i32,
        result: Result<i64, Failure>,
    ) -> Option<PartitionNotice> {
        let index = self
            .queue
            .iter()
            .position(|batch| batch.is_in_flight && batch.base_sequence == Some(base_sequence))?;
        self.in_flight -= 1;
        let batch = self.queue.get_mut(index)?;
        batch.is_in_flight = false;
        match result {
            Ok(base_offset) => {
                batch.is_acknowledged = true;
                let count = i64::from(batch.header.record_count);
                self.acknowledged(now, base_offset, count)
            }
            Err(failure) => self.target_failed(now, index, failure),
        }
    }

    fn acknowledged(
        &mut self,
        now: Instant,
        base_offset: i64,
        count: i64,
    ) -> Option<PartitionNotice> {
        self.produce_backoff.succeed();
        if let Some(producer) = &mut self.producer {
            producer.is_established = true;
        }
        while let Some(batch) = self.queue.pop_front_if(|batch| batch.is_acknowledged) {
            self.queued_bytes -= HEADER_LEN + batch.payload.len();
            self.copied_offset = Some(batch.next_offset);
            self.counters
                .acknowledged(&batch.header, batch.payload.len());
        }
        self.skip_copied_without_records();
        // The first answer after a resend may report an older batch: it is below no newer one,
        // because answers to resends come before anything new is sent.
        if base_offset < self.target_offset_min {
            let expected_min = self.target_offset_min;
            return self.halt(
                now,
                HaltReason::TargetWentBack {
                    base_offset,
                    expected_min,
                },
            );
        }
        self.target_offset_min = base_offset + count;
        None
    }

    fn target_failed(
        &mut self,
        now: Instant,
        index: usize,
        failure: Failure,
    ) -> Option<PartitionNotice> {
        let remedy = failure.remedy();
        // Behind a batch that failed, every later one is out of sequence: that says nothing new.
        if self.is_resending && remedy == Remedy::SequenceBroken {
            return None;
        }
        self.is_resending = true;
        match remedy {
            Remedy::Retry | Remedy::RefreshMetadata | Remedy::FindLogRange => {
                self.produce_backoff.fail(now, self.seed());
                None
            }
            Remedy::RestartProducer => {
                self.produce_backoff.fail(now, self.seed());
                self.forget_producer();
                None
            }
            Remedy::SequenceBroken => self.halt(now, HaltReason::TargetDiverged(failure)),
            Remedy::Halt => {
                let reason = self.refusal(index, failure);
                self.halt(now, reason)
            }
        }
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
                first_offset: batch.header.base_offset,
                batch_bytes: HEADER_LEN + batch.payload.len(),
            },
            _ => HaltReason::TargetRefuses(failure),
        }
    }

    fn forget_producer(&mut self) {
        self.producer = None;
        for batch in &mut self.queue {
            batch.base_sequence = None;
        }
    }
}
