//! A partition whose position is proven: what a proof gives it, what sends it back to one, and the
//! points from which the next one starts.

use kmirror_protocol::wire::Uuid;

use super::{Partition, PartitionNotice, Producer, Run};
use crate::{
    flow::recovery::{RecoveryCause, Start},
    offsets::{
        exact_map::{Changes, ExactMap, Translation},
        state::{Anchor, Claim, Entry, Lineage, Owner, RecordIdentity},
    },
};

impl Partition {
    /// Nothing is fetched or sent before a proof.
    #[must_use]
    pub fn proving(mut self) -> Self {
        self.proves = true;
        self.is_suspended = true;
        self.needs_log_range = false;
        self.fetch_offset = None;
        self
    }

    /// Forgets everything that is under way: only a proof tells what became of it, or it is of a
    /// transaction that will be aborted.
    pub fn suspend(&mut self) {
        self.is_suspended = true;
        self.stint = self.stint.wrapping_add(1);
        self.queue.clear();
        self.queued_bytes = 0;
        self.in_flight = 0;
        self.is_resending = false;
        self.producer = None;
        self.fetch_offset = None;
        self.is_idle = false;
        self.recovery_cause = None;
        // Where it stands is an open question.
        if let Some(run) = &mut self.run {
            run.unanchored_bytes = None;
        }
    }

    /// Goes on at a proven position, with the map of what is below it.
    pub fn start(&mut self, start: Start, map: Option<ExactMap>) {
        self.map = map;
        let anchor = start.anchor;
        self.is_suspended = false;
        self.fetch_offset = Some(anchor.source_offset);
        self.copied_offset = Some(anchor.source_offset);
        self.copied_epoch = anchor.source_epoch;
        self.fetch_epoch = anchor.source_epoch;
        self.producer = Some(Producer {
            lineage: anchor.lineage,
            next_sequence: anchor.next_sequence,
            is_established: start.is_established,
        });
        self.target_offset_min = anchor.target_offset;
        self.fetch_backoff.succeed();
        self.produce_backoff.succeed();
        let was_shared = self.is_shared();
        self.count_proven(&anchor);
        self.counters.foreign_records += start.foreign_records;
        self.run = Some(Run {
            start: Start {
                is_shared: start.is_shared || was_shared,
                ..start
            },
            acknowledged: None,
            anchor_counter: anchor.counter,
            unanchored_bytes: None,
        });
    }

    /// Counts the records of which only the proof told that the target has them.
    fn count_proven(&mut self, anchor: &Anchor) {
        let Some(run) = &self.run else { return };
        let (lineage, sequence) = run.acknowledged.map_or(
            (run.start.anchor.lineage, run.start.anchor.next_sequence),
            |acknowledged| (acknowledged.lineage, acknowledged.next_sequence),
        );
        if lineage != anchor.lineage || !lineage.is_sequenced() {
            return;
        }
        let ahead = (anchor.next_sequence.wrapping_sub(sequence) & i32::MAX).unsigned_abs();
        let behind = (sequence.wrapping_sub(anchor.next_sequence) & i32::MAX).unsigned_abs();
        // Sequence numbers wrap: the shorter way round is the one that was gone.
        let records = &mut self.counters.records;
        *records = if ahead <= behind {
            records.saturating_add(u64::from(ahead))
        } else {
            records.saturating_sub(u64::from(behind))
        };
    }

    /// Takes the partition up again after another process had taken it over.
    pub fn stand_in(&mut self) -> Option<PartitionNotice> {
        self.run = None;
        self.map = None;
        self.halt = None;
        Some(PartitionNotice::Resumed)
    }

    /// The generation under which this process has owned the partition, if it has.
    #[must_use]
    pub fn generation(&self) -> Option<u64> {
        self.run.map(|run| run.start.anchor.generation)
    }

    /// Where a source position is on the target; `None` below all that is known, and with no map.
    #[must_use]
    pub fn translate(&self, source_offset: i64) -> Option<Translation> {
        let told = self.told_offset(source_offset);
        let found = self.map.as_ref()?.translate(told)?;
        Some(Translation {
            reread_max: found.reread_max.saturating_add(source_offset - told),
            ..found
        })
    }

    /// Where what has been copied is on the target; while the position is being proven, what was
    /// known before.
    #[must_use]
    pub const fn map(&self) -> Option<&ExactMap> {
        self.map.as_ref()
    }

    /// Whether its position is proven, so that the map is true.
    #[must_use]
    pub const fn is_proven(&self) -> bool {
        !self.is_suspended
    }

    /// Where the next Fetch would start, or the last one did.
    #[must_use]
    pub fn next_fetch_offset(&self) -> Option<i64> {
        self.fetch_offset.or(self.copied_offset)
    }

    /// Up to where this process knows the target's log; 0 before the first proof.
    #[must_use]
    pub fn known_target_offset(&self) -> i64 {
        self.run.map_or(0, |_| self.target_offset_min)
    }

    /// Whether others write to the remote partition too, as far as has been seen.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.run.is_some_and(|run| run.start.is_shared)
    }

    pub(super) fn want_recovery(&mut self, cause: RecoveryCause) {
        self.recovery_cause.get_or_insert(cause);
    }

    /// Has the position proven again when the source has another leader and no Fetch will tell
    /// whether that one's log is the same: of the batch below, no epoch is known.
    pub(in crate::flow) fn source_led_by(&mut self, leader_epoch: i32) {
        let Some(start) = self.run.map(|run| run.start.anchor) else {
            return;
        };
        let is_at_start = self.fetch_offset == Some(start.source_offset) && self.fetch_epoch < 0;
        let known = start.source_leader_epoch;
        if is_at_start && known >= 0 && leader_epoch >= 0 && known != leader_epoch {
            self.want_recovery(RecoveryCause::SourceMoved);
        }
    }

    /// Why the position has to be proven again, if it has.
    pub fn take_recovery_cause(&mut self) -> Option<RecoveryCause> {
        self.recovery_cause.take()
    }

    /// Record bytes acknowledged since the newest anchor; `None` when nothing was.
    #[must_use]
    pub fn unanchored_bytes(&self) -> Option<u64> {
        self.run?.unanchored_bytes
    }

    /// The point up to which everything is acknowledged, for the ring of anchors (I4), if it has
    /// moved since the last one, and what must be stored of the map before it.
    pub fn take_anchor(&mut self, topic_ids: (Uuid, Uuid)) -> Option<(Anchor, Changes)> {
        let run = self.run.as_mut()?;
        run.unanchored_bytes.take()?;
        run.acknowledged?;
        self.take_anchor_anew(topic_ids)
    }

    /// The point up to which everything is acknowledged, as the next anchor.
    fn next_anchor(&mut self, (source_topic_id, target_topic_id): (Uuid, Uuid)) -> Option<Anchor> {
        let source_offset = self.copied_offset?;
        let version = self.map.as_ref().map(ExactMap::version);
        let run = self.run.as_mut()?;
        run.anchor_counter += 1;
        let start = run.start;
        let source_leader_epoch = if source_offset == start.anchor.source_offset {
            start.anchor.source_leader_epoch
        } else {
            -1
        };
        let still = Anchor {
            counter: run.anchor_counter,
            source_offset,
            source_epoch: self.copied_epoch,
            source_leader_epoch,
            source_topic_id,
            target_topic_id,
            cut_count: version.map_or(start.anchor.cut_count, |version| version.cut_count),
            ..start.anchor
        };
        let Some(acknowledged) = run.acknowledged else {
            return Some(still);
        };
        // The record before this point is our own, and the leader took it under the epoch of the
        // last proof, as it has confirmed since unless the flow stops: if it did not, the anchor will
        // not be believed (R10).
        let is_sequenced = acknowledged.lineage.is_sequenced();
        let last_sequence = acknowledged.next_sequence.wrapping_sub(1) & i32::MAX;
        let previous = RecordIdentity {
            producer_id: acknowledged.lineage.producer_id,
            producer_epoch: acknowledged.lineage.epoch,
            sequence: if is_sequenced { last_sequence } else { -1 },
            leader_epoch: start.target_epoch,
        };
        Some(Anchor {
            lineage: acknowledged.lineage,
            next_sequence: if is_sequenced {
                acknowledged.next_sequence
            } else {
                0
            },
            target_offset: self.target_offset_min,
            previous: Some(previous),
            ..still
        })
    }

    fn map_changes(&mut self) -> Changes {
        let changes = self.map.as_mut().map(ExactMap::changes);
        changes.unwrap_or_default()
    }

    /// The source's leader epoch of the records that come next, when the lineage may not carry them
    /// yet.
    ///
    /// Equal sequence numbers must mean equal records, or the target takes a late batch of a
    /// process that is gone for the one that was sent in its place (B3). Offset and leader epoch
    /// make a source record what it is; the offset alone does not, once the source has lost its
    /// end. So each lineage carries records of one leader epoch, which a durable anchor names
    /// before the first of them is sent. Without sequence numbers there is nothing to mistake.
    #[must_use]
    pub fn wants_to_carry(&self) -> Option<i32> {
        let run = self.run.filter(|_| self.proves && !self.is_suspended)?;
        let first = self.queue.front().filter(|_| !self.is_barred())?;
        let epoch = first.prepared.source_epoch;
        let is_sequenced = self.producer?.lineage.is_sequenced();
        (is_sequenced && first.base_sequence.is_none() && epoch != run.start.anchor.carried_epoch)
            .then_some(epoch)
    }

    /// The anchor from which records of another source epoch are carried, by the same lineage if it
    /// has carried nothing yet, else by one of the epoch that `next_epoch` names; and what must be
    /// stored of the map with it.
    pub fn carry(
        &mut self,
        carried_epoch: i32,
        topic_ids: (Uuid, Uuid),
        next_epoch: impl FnOnce(Lineage) -> Option<i16>,
    ) -> Option<(Anchor, Changes)> {
        let run = self.run?;
        let lineage = run.lineage();
        let is_fresh = run.start.anchor.carried_epoch < 0;
        let epoch = if is_fresh {
            lineage.epoch
        } else if let Some(epoch) = next_epoch(lineage) {
            epoch
        } else {
            self.want_recovery(RecoveryCause::EpochsUsedUp);
            return None;
        };
        let anchor = self.next_anchor(topic_ids)?;
        // It stands for the anchor that may be due: one of the former lineage behind it would make
        // that the newest.
        if let Some(run) = &mut self.run {
            run.unanchored_bytes = None;
        }
        let anchor = Anchor {
            lineage: Lineage { epoch, ..lineage },
            next_sequence: if is_fresh { anchor.next_sequence } else { 0 },
            carried_epoch,
            ..anchor
        };
        Some((anchor, self.map_changes()))
    }

    /// Goes on from an anchor that is durable now; tells whether under another lineage.
    pub fn carries(&mut self, anchor: Anchor) -> bool {
        let Some(run) = &mut self.run else {
            return false;
        };
        let is_other = run.lineage() != anchor.lineage;
        run.start.anchor = anchor;
        run.acknowledged = None;
        if is_other {
            self.producer = Some(Producer {
                lineage: anchor.lineage,
                next_sequence: anchor.next_sequence,
                is_established: false,
            });
        }
        is_other
    }

    /// What a new state topic has to know of this partition: its producer id, its owner, and where
    /// it stands. Nothing when that is not known either.
    ///
    /// The map waits for the next proof: generations begin anew with the topic, so another process
    /// may be storing one under the same version. The anchor names none until then.
    pub fn known_state(&mut self, topic_ids: (Uuid, Uuid), instance: Uuid) -> Vec<Entry> {
        let Some(run) = &mut self.run else {
            return Vec::new();
        };
        let start = run.start;
        let lineage = start.anchor.lineage;
        let claim = lineage.is_sequenced().then_some(Claim {
            number: 0,
            producer_id: lineage.producer_id,
        });
        let owner = Owner {
            generation: start.anchor.generation,
            instance,
            since_ms: 0,
        };
        if let Some(map) = &mut self.map {
            map.store_anew();
        }
        let anchor = self.next_anchor(topic_ids).unwrap_or(start.anchor);
        let unmapped = Anchor {
            cut_count: u64::MAX,
            ..anchor
        };
        let known = claim.map(Entry::Claim).into_iter();
        known
            .chain([Entry::Owner(owner), Entry::Anchor(unmapped)])
            .collect()
    }

    /// The point at which it stands, and what must be stored of the map before it, also when nothing
    /// was acknowledged since the last one. `None` before the first proof.
    pub fn take_anchor_anew(&mut self, topic_ids: (Uuid, Uuid)) -> Option<(Anchor, Changes)> {
        let anchor = self.next_anchor(topic_ids)?;
        Some((anchor, self.map_changes()))
    }
}
