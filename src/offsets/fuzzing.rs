//! What must hold for any bytes of the state topic; `fuzz/` has a target for it.

use std::sync::Arc;

use kmirror_protocol::wire::Uuid;

use super::{
    exact_map::{ExactMap, MapChunk, MapVersion, Point, Run, TopicIds},
    state::{
        Anchor, Claim, Entry, Gap, GapCause, Lineage, Owner, Place, RecordIdentity, StateRecord,
        decode, encode, encode_deletion,
    },
};

/// Any bytes are a valid record that is written again as an equal one, or refused.
///
/// The key is what comes before the first line feed, which no key of ours has; the rest is the
/// value, and without a line feed there is none.
pub fn anchor(bytes: &[u8]) {
    let mut parts = bytes.splitn(2, |byte| *byte == b'\n');
    let (key, value) = (parts.next().unwrap_or_default(), parts.next());
    let Ok((state_key, entry)) = decode(key, value) else {
        return;
    };
    assert_eq!(entry.is_none(), value.is_none());
    assert_eq!(encode_deletion(&state_key).key, key);
    let Some(entry) = entry else {
        return;
    };
    let record = StateRecord {
        place: state_key.place.clone(),
        entry,
    };
    assert_eq!(record.key(), state_key);
    let written = encode(&record);
    assert_eq!(written.key, key);
    let again = decode(&written.key, written.value.as_deref());
    assert_eq!(again.as_ref(), Ok(&(state_key, Some(record.entry))));
    if let Ok((_, Some(Entry::Map(chunk)))) = again {
        translate_all(&chunk);
    }
}

/// A map of any chunk translates to where the chunk says something is, and never back.
fn translate_all(chunk: &MapChunk) {
    let (Some(first), Some(last)) = (chunk.runs.first(), chunk.runs.last()) else {
        return;
    };
    let since = Some(chunk.version);
    let mut map = ExactMap::restore(chunk.topics, [chunk], since, 1, last.end());
    let ends = chunk.runs.iter().flat_map(|run| {
        let middle = run.source_first.midpoint(run.source_next);
        [run.source_first, middle, run.source_next]
    });
    let mut floor = first.target_first;
    for source_offset in ends {
        let found = map
            .translate(source_offset)
            .expect("the chunk begins below");
        assert!((floor..=last.target_next).contains(&found.target_offset));
        assert!(found.reread_max >= 0);
        floor = found.target_offset;
    }
    map.forget_from(last.target_first);
    assert!(map.changes().0.iter().all(MapChunk::is_valid));
}

/// What the fuzzer begins with: a record of each kind, and a deletion.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let place = Place {
        topic: Arc::from("orders"),
        partition: 0,
    };
    let seed = |entry| {
        let record = StateRecord {
            place: place.clone(),
            entry,
        };
        let written = encode(&record);
        let value = written.value.unwrap_or_default();
        [written.key, value].join(&b'\n')
    };
    let mut seeds: Vec<_> = examples().into_iter().map(seed).collect();
    let deletion = seeds
        .first()
        .and_then(|seed| seed.split(|byte| *byte == b'\n').next());
    seeds.extend(deletion.map(<[u8]>::to_vec));
    seeds
}

/// An entry of each kind.
pub(super) fn examples() -> Vec<Entry> {
    vec![
        Entry::Claim(Claim {
            number: 1,
            producer_id: 4001,
        }),
        Entry::Owner(Owner {
            generation: 7,
            instance: Uuid(*b"0123456789abcdef"),
            since_ms: 1_700_000_000_000,
        }),
        Entry::Anchor(Anchor {
            counter: 24,
            generation: 7,
            lineage: Lineage {
                producer_id: 4001,
                epoch: 2,
            },
            next_sequence: 120,
            source_offset: 1120,
            source_epoch: 5,
            source_leader_epoch: -1,
            source_topic_id: Uuid(*b"source-topic-id."),
            target_offset: 640,
            target_topic_id: Uuid(*b"target-topic-id."),
            previous: Some(RecordIdentity {
                producer_id: 4001,
                producer_epoch: 2,
                sequence: 119,
                leader_epoch: 9,
            }),
            mapping: 4_000_000_007,
            carried_epoch: 3,
            cut_count: 1,
        }),
        Entry::Gap(Gap {
            from_offset: 300,
            to_offset: 450,
            cause: GapCause::Deleted,
            source_topic_id: Uuid::ZERO,
            noticed_ms: 1_700_000_000_000,
        }),
        Entry::Map(example_chunk()),
    ]
}

/// A chunk of two runs.
fn example_chunk() -> MapChunk {
    MapChunk {
        chunk: 5,
        version: MapVersion {
            generation: 7,
            cut_count: 1,
        },
        topics: TopicIds {
            source: Uuid(*b"source-topic-id."),
            target: Uuid(*b"target-topic-id."),
        },
        level: 0,
        follows: Point {
            source_offset: 90,
            target_offset: 80,
        },
        runs: vec![
            Run {
                source_first: 90,
                source_next: 1000,
                target_first: 81,
                target_next: 991,
                count: 910,
            },
            Run {
                source_first: 1001,
                source_next: 1011,
                target_first: 991,
                target_next: 994,
                count: 3,
            },
        ],
    }
}
