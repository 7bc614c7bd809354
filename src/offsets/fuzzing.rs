//! What must hold for any bytes of the state topic; `fuzz/` has a target for it.

use std::sync::Arc;

use kmirror_protocol::wire::Uuid;

use super::state::{
    Anchor, Claim, Entry, Gap, GapCause, Lineage, Owner, Place, RecordIdentity, StateRecord,
    decode, encode, encode_deletion,
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
    assert_eq!(again, Ok((state_key, Some(record.entry))));
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
        }),
        Entry::Gap(Gap {
            from_offset: 300,
            to_offset: 450,
            cause: GapCause::Deleted,
            source_topic_id: Uuid::ZERO,
            noticed_ms: 1_700_000_000_000,
        }),
    ]
}
