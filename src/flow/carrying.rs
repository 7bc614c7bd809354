//! Which source records a lineage carries: those of one leader epoch, named by a durable anchor
//! before the first of them is sent (R2, R3, B3).

use std::time::Instant;

use super::{
    Action, Flow, PartitionId, PartitionNotice, RecoveryCause,
    recovery::{
        decide::{self, NewBecause, ProducerState},
        place,
    },
};
use crate::offsets::state::Anchor;

impl Flow {
    /// Lets no record go out under a lineage before a durable anchor names the source epoch that it
    /// carries (R2, B3); see [`super::partition::Partition::wants_to_carry`].
    pub(super) fn schedule_carrying(&mut self, now: Instant, actions: &mut Vec<Action>) {
        if !self.proves() {
            return;
        }
        let touched: Vec<PartitionId> = self.touched.iter().copied().collect();
        for id in touched {
            self.ask_to_carry(now, id, actions);
        }
        let waiting: Vec<PartitionId> = self.carrying.iter().copied().collect();
        for id in waiting {
            let slot = self.slot(id);
            let slot = slot.filter(|slot| slot.partition.wants_to_carry().is_some());
            let carrying = slot.and_then(|slot| slot.carrying);
            match carrying {
                Some((ticket, anchor)) if self.state.has_settled(ticket) => {
                    self.carry(now, id, anchor, actions);
                }
                Some(_) => {}
                None => {
                    self.carrying.remove(&id);
                    if let Some(slot) = self.slot_mut(id) {
                        slot.carrying = None;
                    }
                }
            }
        }
    }

    fn ask_to_carry(&mut self, now: Instant, id: PartitionId, actions: &mut Vec<Action>) {
        let Some(slot) = self.slot(id).filter(|slot| slot.carrying.is_none()) else {
            return;
        };
        let Some(epoch) = slot.partition.wants_to_carry() else {
            return;
        };
        if slot.acknowledged_at.is_some() {
            // The anchor names the leader epoch of the record before it.
            return self.confirm_leaders(now);
        }
        let ids = (slot.source.topic_id, slot.target.topic_id);
        let place = place(&slot.partition.source);
        let anchors: Vec<Anchor> = self.state.anchors(&place).copied().collect();
        let mut opening = None;
        self.with_partition(now, id, actions, |partition| {
            opening = partition.carry(epoch, ids, |lineage| {
                let state = ProducerState::Known {
                    epoch: i32::from(lineage.epoch),
                    last_sequence: -1,
                };
                decide::next_epoch(lineage.producer_id, anchors.iter(), state)
            });
            None
        });
        let Some((anchor, map)) = opening else {
            return;
        };
        let ticket = self.state.put_anchor(&place, anchor, map);
        self.carrying.insert(id);
        if let Some(slot) = self.slot_mut(id) {
            slot.carrying = Some((ticket, anchor));
        }
    }

    fn carry(&mut self, now: Instant, id: PartitionId, anchor: Anchor, actions: &mut Vec<Action>) {
        self.carrying.remove(&id);
        if let Some(slot) = self.slot_mut(id) {
            slot.carrying = None;
        }
        self.with_partition(now, id, actions, |partition| {
            partition
                .carries(anchor)
                .then_some(PartitionNotice::LineageOpened {
                    because: NewBecause::SourceLed,
                    cause: RecoveryCause::SourceMoved,
                    is_sequenced: true,
                    source_offset: anchor.source_offset,
                    unmatched_records: 0,
                })
        });
    }
}
