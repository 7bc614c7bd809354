//! The offsets that groups have committed, and those that open transactions hold back.
//!
//! Source: Kafka's `OffsetMetadataManager`. Offsets never expire here; they go when they, their
//! group or their topic are deleted. Topics are kept by name: with a topic go its offsets, so a
//! name never stands for two topics.

use std::collections::BTreeMap;

/// Where a group goes on in one partition, as it was committed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::sandbox) struct CommittedOffset {
    pub(in crate::sandbox) offset: i64,
    /// Of the last record that was read; -1 when the client did not say.
    pub(in crate::sandbox) leader_epoch: i32,
    pub(in crate::sandbox) metadata: String,
}

/// What there is to know of a group and a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::sandbox) enum FetchedOffset<'a> {
    /// Nothing was committed.
    Absent,
    /// This was committed.
    Committed(&'a CommittedOffset),
    /// An open transaction may commit another.
    Unstable,
}

/// An offset and when it was committed, counted in commits.
#[derive(Clone, Debug)]
struct Entry {
    committed: CommittedOffset,
    order: u64,
}

/// By group, topic and partition.
type Entries = BTreeMap<String, BTreeMap<String, BTreeMap<i32, Entry>>>;

/// The offsets of all groups.
#[derive(Debug, Default)]
pub(super) struct Offsets {
    committed: Entries,
    /// What each producer's open transaction will commit.
    pending: BTreeMap<i64, Entries>,
    next_order: u64,
}

impl Offsets {
    /// Keeps an offset: at once, or when the transaction of a producer commits.
    pub(super) fn commit(
        &mut self,
        producer_id: Option<i64>,
        group_id: &str,
        (topic, partition): (&str, i32),
        committed: CommittedOffset,
    ) {
        let order = self.next_order;
        self.next_order = order.saturating_add(1);
        let entries = match producer_id {
            Some(producer_id) => self.pending.entry(producer_id).or_default(),
            None => &mut self.committed,
        };
        let group = entries.entry(group_id.to_owned()).or_default();
        let topic = group.entry(topic.to_owned()).or_default();
        topic.insert(partition, Entry { committed, order });
    }

    /// Ends the transaction of a producer; one that has none changes nothing.
    ///
    /// An offset that was committed later, outside the transaction, stays
    /// (`OffsetMetadataManager.replayEndTransactionMarker`).
    pub(super) fn complete_transaction(&mut self, producer_id: i64, is_committed: bool) {
        let pending = self.pending.remove(&producer_id).unwrap_or_default();
        if !is_committed {
            return;
        }
        for (group_id, topics) in pending {
            let group = self.committed.entry(group_id).or_default();
            for (topic, partitions) in topics {
                let known = group.entry(topic).or_default();
                for (partition, entry) in partitions {
                    let newer = known
                        .get(&partition)
                        .is_some_and(|it| it.order > entry.order);
                    if !newer {
                        known.insert(partition, entry);
                    }
                }
            }
        }
    }

    /// What is known of a partition.
    pub(super) fn fetch(
        &self,
        group_id: &str,
        topic: &str,
        partition: i32,
        require_stable: bool,
    ) -> FetchedOffset<'_> {
        if require_stable && self.is_pending(group_id, topic, partition) {
            return FetchedOffset::Unstable;
        }
        match entry(&self.committed, group_id, topic, partition) {
            Some(entry) => FetchedOffset::Committed(&entry.committed),
            None => FetchedOffset::Absent,
        }
    }

    /// The partitions that have committed offsets, by topic.
    pub(super) fn partitions(&self, group_id: &str) -> impl Iterator<Item = (&str, Vec<i32>)> {
        let topics = self.committed.get(group_id).into_iter().flatten();
        topics.map(|(topic, partitions)| (topic.as_str(), partitions.keys().copied().collect()))
    }

    /// Deletes the offsets of one partition, pending ones too.
    pub(super) fn delete(&mut self, group_id: &str, topic: &str, partition: i32) {
        self.retain(|group, of_topic, index| {
            (group, of_topic, index) != (group_id, topic, partition)
        });
    }

    /// Deletes the offsets of a group, pending ones too.
    pub(super) fn delete_group(&mut self, group_id: &str) {
        self.retain(|group, _, _| group != group_id);
    }

    /// Deletes the offsets of a topic, pending ones too.
    pub(super) fn delete_topic(&mut self, topic: &str) {
        self.retain(|_, of_topic, _| of_topic != topic);
    }

    fn is_pending(&self, group_id: &str, topic: &str, partition: i32) -> bool {
        let mut pending = self.pending.values();
        pending.any(|entries| entry(entries, group_id, topic, partition).is_some())
    }

    fn retain(&mut self, is_kept: impl Fn(&str, &str, i32) -> bool) {
        for entries in self.pending.values_mut().chain([&mut self.committed]) {
            entries.retain(|group, topics| {
                topics.retain(|topic, partitions| {
                    partitions.retain(|index, _| is_kept(group, topic, *index));
                    !partitions.is_empty()
                });
                !topics.is_empty()
            });
        }
        self.pending.retain(|_, entries| !entries.is_empty());
    }
}

fn entry<'a>(
    entries: &'a Entries,
    group_id: &str,
    topic: &str,
    partition: i32,
) -> Option<&'a Entry> {
    entries.get(group_id)?.get(topic)?.get(&partition)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(offset: i64) -> CommittedOffset {
        CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: String::new(),
        }
    }

    /// The offset of partition 0 of `t`: committed, and as one who wants stable offsets sees it.
    fn seen(offsets: &Offsets) -> [Option<i64>; 2] {
        [false, true].map(
            |require_stable| match offsets.fetch("g", "t", 0, require_stable) {
                FetchedOffset::Absent => None,
                FetchedOffset::Committed(committed) => Some(committed.offset),
                FetchedOffset::Unstable => Some(-2),
            },
        )
    }

    #[test]
    fn a_transaction_commits_its_offsets_unless_newer_ones_are_there() {
        // Committed before, in, and after the transaction; how it ends; what is seen then.
        let cases = [
            (None, None, true, Some(5)),
            (None, None, false, None),
            (Some(3), None, true, Some(5)),
            (Some(3), None, false, Some(3)),
            (Some(3), Some(4), true, Some(4)),
            (None, Some(4), false, Some(4)),
        ];
        for case in cases {
            let (before, after, is_committed, expected) = case;
            let mut offsets = Offsets::default();
            let plain = |offsets: &mut Offsets, offset: Option<i64>| {
                if let Some(offset) = offset {
                    offsets.commit(None, "g", ("t", 0), at(offset));
                }
            };
            plain(&mut offsets, before);
            offsets.commit(Some(9), "g", ("t", 0), at(5));
            plain(&mut offsets, after);
            assert_eq!(seen(&offsets), [after.or(before), Some(-2)], "{case:?}");
            offsets.complete_transaction(8, true);
            assert_eq!(seen(&offsets)[1], Some(-2), "another producer: {case:?}");
            offsets.complete_transaction(9, is_committed);
            assert_eq!(seen(&offsets), [expected; 2], "{case:?}");
        }
    }

    #[test]
    fn what_is_deleted_is_gone_from_open_transactions_too() {
        let deletions: [fn(&mut Offsets); 3] = [
            |offsets| offsets.delete("g", "t", 0),
            |offsets| offsets.delete_group("g"),
            |offsets| offsets.delete_topic("t"),
        ];
        for delete in deletions {
            let mut offsets = Offsets::default();
            offsets.commit(None, "g", ("t", 0), at(1));
            offsets.commit(Some(9), "g", ("t", 0), at(2));
            offsets.commit(None, "other", ("other", 7), at(3));
            delete(&mut offsets);
            offsets.complete_transaction(9, true);
            assert_eq!(seen(&offsets), [None; 2]);
            let others: Vec<_> = offsets.partitions("other").collect();
            assert_eq!(others, [("other", vec![7])]);
        }
    }
}
