//! What is told of a group, and what is committed for it on the target.

use std::{collections::BTreeMap, sync::Arc};

use super::{CommittedOffset, GroupState};
use crate::offsets::{mirror_records::Checkpoint, source_offsets::StoredRecord};

/// A group, a topic on the target and a partition.
pub(super) type Place = (String, String, i32);

/// The checkpoints that have been published last.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<Place, (i64, i64)>);

impl Told {
    /// What the checkpoints topic has, oldest record first; what is no checkpoint is passed over.
    pub(super) fn read(records: &[StoredRecord]) -> Self {
        let mut told = Self::default();
        for record in records {
            let value = record.value.as_deref();
            let read = value.and_then(|value| Checkpoint::decode(&record.key, value));
            if let Some(checkpoint) = read {
                told.insert(&checkpoint);
            }
        }
        told
    }

    pub(super) fn insert(&mut self, checkpoint: &Checkpoint) {
        let offsets = (checkpoint.upstream_offset, checkpoint.downstream_offset);
        self.0.insert(place_of(checkpoint), offsets);
    }

    /// Whether a checkpoint is to be published: the first of its place, one after the group has gone
    /// back, or one that takes readers further. So a place is never taken back by a translation that
    /// has become coarser (`MirrorCheckpointTask.checkpointIsMoreRecent`).
    pub(super) fn is_news(&self, checkpoint: &Checkpoint) -> bool {
        let told = self.0.get(&place_of(checkpoint));
        told.is_none_or(|(upstream, downstream)| {
            checkpoint.upstream_offset < *upstream || checkpoint.downstream_offset > *downstream
        })
    }
}

/// What a checkpoint is about.
pub(super) fn place_of(checkpoint: &Checkpoint) -> Place {
    let Checkpoint {
        group,
        topic,
        partition,
        ..
    } = checkpoint;
    (group.clone(), topic.clone(), *partition)
}

/// What of a group's checkpoints is committed on the target, where the group is in this state and
/// has committed `present` itself. Nothing ever goes back, and a group that somebody uses is left
/// alone (`MirrorCheckpointTask.syncGroupOffset`, without its commits on a look that failed).
pub(super) fn to_commit(
    state: GroupState,
    checkpoints: &[Checkpoint],
    present: &[CommittedOffset],
) -> Vec<CommittedOffset> {
    if state == GroupState::InUse {
        return Vec::new();
    }
    let present: BTreeMap<(&str, i32), i64> = present
        .iter()
        .map(|it| ((&*it.topic, it.partition), it.offset))
        .collect();
    let is_ahead = |checkpoint: &&Checkpoint| {
        let place = (checkpoint.topic.as_str(), checkpoint.partition);
        let offset = present.get(&place).copied().unwrap_or(-1);
        offset < checkpoint.downstream_offset
    };
    let wanted = checkpoints.iter().filter(is_ahead);
    let commits = wanted.map(|checkpoint| CommittedOffset {
        topic: Arc::from(checkpoint.topic.as_str()),
        partition: checkpoint.partition,
        offset: checkpoint.downstream_offset,
        metadata: checkpoint.metadata.clone(),
    });
    commits.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint(upstream_offset: i64, downstream_offset: i64) -> Checkpoint {
        Checkpoint {
            group: "g".into(),
            topic: "A.t".into(),
            partition: 1,
            upstream_offset,
            downstream_offset,
            metadata: "m".into(),
        }
    }

    fn at(partition: i32, offset: i64) -> CommittedOffset {
        CommittedOffset {
            topic: "A.t".into(),
            partition,
            offset,
            metadata: "m".into(),
        }
    }

    #[test]
    fn a_checkpoint_is_news_when_it_is_further_or_the_group_went_back() {
        let written = checkpoint(250, 201).encode().unwrap();
        let rubbish = StoredRecord {
            key: b"?".to_vec(),
            ..written.clone()
        };
        let deleted = StoredRecord {
            value: None,
            ..written.clone()
        };
        let told = Told::read(&[rubbish, written, deleted]);
        let cases = [
            ("the same", (250, 201), false),
            ("a coarser translation", (250, 176), false),
            ("further, and coarser", (370, 176), false),
            ("further", (400, 376), true),
            ("exact now", (250, 202), true),
            ("went back", (100, 90), true),
        ];
        for (what, (upstream, downstream), expected) in cases {
            let is_news = told.is_news(&checkpoint(upstream, downstream));
            assert_eq!(is_news, expected, "{what}");
        }
        assert!(Told::default().is_news(&checkpoint(0, 0)));
    }

    #[test]
    fn no_group_is_taken_back_and_none_in_use_is_touched() {
        let wanted = [checkpoint(100, 101)];
        let (empty, absent) = (GroupState::Empty, GroupState::Absent);
        let cases = [
            ("behind", empty, vec![at(1, 100)], true),
            ("there", empty, vec![at(1, 101)], false),
            ("beyond", empty, vec![at(1, 102)], false),
            ("nothing there", empty, vec![at(0, 500)], true),
            ("no offset", empty, vec![at(1, -1)], true),
            ("new", absent, vec![], true),
            ("in use", GroupState::InUse, vec![], false),
        ];
        for (what, state, present, is_written) in cases {
            let commits = to_commit(state, &wanted, &present);
            let expected = is_written.then(|| at(1, 101));
            assert_eq!(commits, Vec::from_iter(expected), "{what}");
        }
    }
}
