use proptest::{collection::vec, option, prelude::*};
use serde_json::{Value, json};

use super::*;
use crate::offsets::{
    exact_map::{ExactMap, Point, Run, TopicIds},
    fuzzing,
    source_offsets::StoredRecord,
};

fn place(topic: &str, partition: i32) -> Place {
    Place {
        topic: Arc::from(topic),
        partition,
    }
}

/// The examples of every kind, and the very bytes that stand for them.
const GOLDEN: [[&str; 2]; 5] = [
    [
        r#"{"v":1,"kind":"claim","topic":"orders","partition":3,"producerId":4001}"#,
        r#"{"v":1,"number":1}"#,
    ],
    [
        r#"{"v":1,"kind":"owner","topic":"orders","partition":3}"#,
        r#"{"v":1,"generation":7,"instance":"MDEyMzQ1Njc4OWFiY2RlZg","sinceMs":1700000000000}"#,
    ],
    [
        r#"{"v":1,"kind":"anchor","topic":"orders","partition":3,"slot":3}"#,
        concat!(
            r#"{"v":1,"counter":24,"generation":7,"producerId":4001,"producerEpoch":2,"#,
            r#""nextSequence":120,"sourceOffset":1120,"sourceEpoch":5,"#,
            r#""sourceTopicId":"c291cmNlLXRvcGljLWlkLg","targetOffset":640,"#,
            r#""targetTopicId":"dGFyZ2V0LXRvcGljLWlkLg","previous":{"producerId":4001,"#,
            r#""producerEpoch":2,"sequence":119,"leaderEpoch":9},"mapping":4000000007,"#,
            r#""carriedEpoch":3,"cutCount":1,"sourceLeaderEpoch":-1}"#,
        ),
    ],
    [
        r#"{"v":1,"kind":"gap","topic":"orders","partition":3,"fromOffset":300}"#,
        concat!(
            r#"{"v":1,"toOffset":450,"cause":"deleted","#,
            r#""sourceTopicId":"AAAAAAAAAAAAAAAAAAAAAA","noticedMs":1700000000000}"#,
        ),
    ],
    [
        r#"{"v":1,"kind":"map","topic":"orders","partition":3,"generation":7,"cutCount":1,"chunk":5}"#,
        concat!(
            r#"{"v":1,"level":0,"sourceTopicId":"c291cmNlLXRvcGljLWlkLg","#,
            r#""targetTopicId":"dGFyZ2V0LXRvcGljLWlkLg","afterSourceOffset":90,"#,
            r#""afterTargetOffset":80,"runs":[[90,1000,81,991,910],[1001,1011,991,994,3]]}"#,
        ),
    ],
];

fn examples() -> Vec<StateRecord> {
    let place = place("orders", 3);
    let entries = fuzzing::examples().into_iter();
    let records = entries.map(|entry| StateRecord {
        place: place.clone(),
        entry,
    });
    records.collect()
}

#[test]
fn records_of_every_kind_are_these_very_bytes() {
    assert_eq!(examples().len(), GOLDEN.len());
    for (record, [key, value]) in examples().into_iter().zip(GOLDEN) {
        let expected = StoredRecord {
            key: key.into(),
            value: Some(value.into()),
            ordered_by: Some(b"orders-3".to_vec()),
        };
        let written = encode(&record);
        assert_eq!(String::from_utf8(written.key.clone()).unwrap(), key);
        let text = written.value.clone().unwrap();
        assert_eq!(String::from_utf8(text).unwrap(), value);
        assert_eq!(written, expected);
        let read = decode(key.as_bytes(), Some(value.as_bytes()));
        assert_eq!(read, Ok((record.key(), Some(record.entry))));
    }
}

#[test]
fn an_anchor_at_the_start_of_a_log_has_no_record_before_it() {
    let mut record = examples().remove(2);
    let Entry::Anchor(anchor) = &mut record.entry else {
        panic!("{record:?}");
    };
    anchor.previous = None;
    let written = encode(&record);
    let value = String::from_utf8(written.value.clone().unwrap()).unwrap();
    assert!(value.contains(r#""previous":null,"mapping""#), "{value}");
    let read = decode(&written.key, written.value.as_deref());
    assert_eq!(read, Ok((record.key(), Some(record.entry))));
}

#[test]
fn a_key_without_a_value_is_a_deletion() {
    for (record, [key, _]) in examples().into_iter().zip(GOLDEN) {
        let deletion = encode_deletion(&record.key());
        assert_eq!(deletion.key, key.as_bytes());
        assert_eq!(deletion.value, None);
        assert_eq!(decode(key.as_bytes(), None), Ok((record.key(), None)));
    }
}

#[test]
fn keys_in_other_bytes_or_of_no_sense_are_foreign() {
    let cases = [
        "",
        "null",
        "[]",
        "1",
        "\u{0}",
        "orders",
        // As another version of an old format might be.
        r#"["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"t"}]"#,
        "{}",
        r#"{"v":0,"kind":"owner","topic":"t","partition":0}"#,
        r#"{"v":-1,"kind":"owner","topic":"t","partition":0}"#,
        r#"{"v":"1","kind":"owner","topic":"t","partition":0}"#,
        r#"{"v":1.0,"kind":"owner","topic":"t","partition":0}"#,
        r#"{"v":99999999999999999999,"kind":"owner","topic":"t","partition":0}"#,
        r#"{"kind":"owner","topic":"t","partition":0}"#,
        // The same meaning in other bytes.
        r#"{"v": 1,"kind":"owner","topic":"t","partition":0}"#,
        r#"{"kind":"owner","v":1,"topic":"t","partition":0}"#,
        r#"{"v":1,"kind":"owner","topic":"\u0074","partition":0}"#,
        r#"{"v":1,"kind":"owner","topic":"t","partition":0,"note":"x"}"#,
        r#"{"v":1,"kind":"owner","topic":"t","partition":0,"partition":0}"#,
        "{\"v\":1,\"kind\":\"owner\",\"topic\":\"t\",\"partition\":0}\n",
        // Members.
        r#"{"v":1,"kind":"king","topic":"t","partition":0}"#,
        r#"{"v":1,"topic":"t","partition":0}"#,
        r#"{"v":1,"kind":"owner","partition":0}"#,
        r#"{"v":1,"kind":"owner","topic":7,"partition":0}"#,
        r#"{"v":1,"kind":"owner","topic":"t"}"#,
        r#"{"v":1,"kind":"owner","topic":"t","partition":"0"}"#,
        r#"{"v":1,"kind":"owner","topic":"t","partition":-1}"#,
        r#"{"v":1,"kind":"owner","topic":"t","partition":2147483648}"#,
        r#"{"v":1,"kind":"claim","topic":"t","partition":0}"#,
        r#"{"v":1,"kind":"claim","topic":"t","partition":0,"producerId":-1}"#,
        r#"{"v":1,"kind":"claim","topic":"t","partition":0,"producerId":9223372036854775808}"#,
        r#"{"v":1,"kind":"anchor","topic":"t","partition":0,"slot":8}"#,
        r#"{"v":1,"kind":"anchor","topic":"t","partition":0,"slot":-1}"#,
        r#"{"v":1,"kind":"anchor","topic":"t","partition":0,"slot":256}"#,
        r#"{"v":1,"kind":"gap","topic":"t","partition":0,"fromOffset":-1}"#,
        r#"{"v":1,"kind":"map","topic":"t","partition":0,"generation":0,"cutCount":0,"chunk":16}"#,
        r#"{"v":1,"kind":"map","topic":"t","partition":0,"generation":0,"cutCount":-1,"chunk":0}"#,
        r#"{"v":1,"kind":"map","topic":"t","partition":0,"cutCount":0,"chunk":0}"#,
    ];
    for key in cases {
        for value in [None, Some(GOLDEN[1][1])] {
            let read = decode(key.as_bytes(), value.map(str::as_bytes));
            assert_eq!(read, Err(Unusable::Foreign), "{key}");
        }
    }
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn values_with_a_member_that_is_wrong_or_missing_are_foreign() {
    let wrong = [
        (
            0,
            "number",
            [json!(-1), json!(4_294_967_296_i64), json!(1.5)],
        ),
        (1, "generation", [json!(-1), json!("7"), json!(null)]),
        (
            1,
            "instance",
            [json!(""), json!("AAAAAAAAAAAAAAAAAAAAAB"), json!(0)],
        ),
        (1, "sinceMs", [json!(1e300), json!("now"), json!(u64::MAX)]),
        // A counter of another slot.
        (2, "counter", [json!(-1), json!(25), json!(16)]),
        (2, "generation", [json!(-1), json!(true), json!([7])]),
        (2, "producerId", [json!(-1), json!(u64::MAX), json!("1")]),
        (2, "producerEpoch", [json!(-1), json!(32_768), json!({})]),
        (
            2,
            "nextSequence",
            [json!(-1), json!(2_147_483_648_i64), json!(null)],
        ),
        (2, "sourceOffset", [json!(-1), json!(u64::MAX), json!(null)]),
        (
            2,
            "sourceEpoch",
            [json!(-2), json!(2_147_483_648_i64), json!(null)],
        ),
        (2, "sourceTopicId", [json!("x"), json!(null), json!(0)]),
        (2, "targetOffset", [json!(-1), json!(u64::MAX), json!(null)]),
        (2, "targetTopicId", [json!("x"), json!(null), json!(0)]),
        (2, "previous", [json!({}), json!(0), json!([])]),
        (
            2,
            "mapping",
            [json!(-1), json!(4_294_967_296_i64), json!(null)],
        ),
        (
            2,
            "carriedEpoch",
            [json!(-2), json!(2_147_483_648_i64), json!(null)],
        ),
        (2, "cutCount", [json!(-1), json!("0"), json!(null)]),
        (
            2,
            "sourceLeaderEpoch",
            [json!(-2), json!(2_147_483_648_i64), json!(null)],
        ),
        (3, "toOffset", [json!(300), json!(299), json!(-1)]),
        (3, "cause", [json!("other"), json!("Deleted"), json!(null)]),
        (3, "sourceTopicId", [json!("x"), json!(null), json!(0)]),
        (3, "noticedMs", [json!(null), json!("now"), json!(u64::MAX)]),
        (4, "level", [json!(-1), json!(256), json!(null)]),
        (4, "sourceTopicId", [json!("x"), json!(null), json!(0)]),
        (4, "targetTopicId", [json!("x"), json!(null), json!(0)]),
        // Behind the first run.
        (4, "afterSourceOffset", [json!(-1), json!(91), json!(null)]),
        (4, "afterTargetOffset", [json!(-1), json!(82), json!(null)]),
        (
            4,
            "runs",
            [
                json!([]),
                json!([[90, 91, 81, 82]]),
                json!([90, 91, 81, 82, 1]),
            ],
        ),
    ];
    let mut members_seen = 0;
    for (example, member, values) in wrong {
        let [key, value] = GOLDEN[example];
        let refused = |value: &Value| {
            let value = value.to_string();
            let read = decode(key.as_bytes(), Some(value.as_bytes()));
            assert_eq!(read, Err(Unusable::Foreign), "{key} {value}");
        };
        let mut value: Value = serde_json::from_str(value).unwrap();
        for wrong in values {
            value[member] = wrong;
            refused(&value);
        }
        value.as_object_mut().unwrap().remove(member).unwrap();
        if example == 2 && matches!(member, "carriedEpoch" | "cutCount" | "sourceLeaderEpoch") {
            assert!(decode(key.as_bytes(), Some(value.to_string().as_bytes())).is_ok());
        } else {
            refused(&value);
        }
        members_seen += 1;
    }
    let members = |[_, value]: [&str; 2]| {
        let value: Value = serde_json::from_str(value).unwrap();
        value.as_object().unwrap().len() - 1
    };
    assert_eq!(members_seen, GOLDEN.map(members).iter().sum::<usize>());
}

#[test]
fn chunks_of_runs_that_cannot_be_are_foreign() {
    let [key, value] = GOLDEN[4];
    let read = |runs: &str| {
        let mut value: Value = serde_json::from_str(value).unwrap();
        value["runs"] = serde_json::from_str(runs).unwrap();
        decode(key.as_bytes(), Some(value.to_string().as_bytes()))
    };
    let many = |count: i64| {
        let run = |at: i64| format!("[{},{},{},{},1]", 100 + at, 101 + at, 100 + at, 101 + at);
        format!("[{}]", (0..count).map(run).collect::<Vec<_>>().join(","))
    };
    let right = [
        "[[90,91,80,81,1]]",
        "[[90,91,80,81,0]]",
        "[[90,91,80,80,0]]",
        &many(32),
    ];
    for runs in right {
        assert!(read(runs).is_ok(), "{runs}");
    }
    let wrong = [
        "[[90,90,80,81,0]]",
        "[[91,90,80,81,0]]",
        "[[90,91,80,80,1]]",
        "[[90,91,81,80,0]]",
        "[[90,91,80,89,2]]",
        "[[90,99,80,81,2]]",
        "[[90,91,80,81,-1]]",
        "[[90,91,80,81,1.0]]",
        "[[90,91,80,81,1,1]]",
        "[[-9223372036854775808,9223372036854775807,80,81,1]]",
        "[[90,92,80,82,2],[91,93,82,84,2]]",
        "[[90,92,80,82,2],[92,94,81,83,2]]",
        "[[95,96,85,86,1],[90,91,80,81,1]]",
        &many(33),
    ];
    for runs in wrong {
        assert_eq!(read(runs), Err(Unusable::Foreign), "{runs}");
    }
}

#[test]
fn a_stored_chunk_is_small() {
    let run = |at: i64| Run {
        source_first: i64::MAX - 40 + at,
        source_next: i64::MAX - 39 + at,
        target_first: i64::MAX - 40 + at,
        target_next: i64::MAX - 39 + at,
        count: 1,
    };
    let chunk = MapChunk {
        chunk: 15,
        version: MapVersion {
            generation: u64::MAX,
            cut_count: u64::MAX,
        },
        topics: TopicIds::default(),
        level: u8::MAX,
        follows: Point {
            source_offset: i64::MAX - 40,
            target_offset: i64::MAX - 40,
        },
        runs: (0..32).map(run).collect(),
    };
    assert!(chunk.is_valid());
    let record = StateRecord {
        place: place("orders", 3),
        entry: Entry::Map(chunk),
    };
    let size = encode(&record).value.unwrap().len();
    assert!(size < 3800, "{size}");
}

/// What a million records at offsets from 0 on cost in the state topic, in bytes of keys and values:
/// batches of so many offsets and records, and an anchor after so many records (8 MiB of 1 KiB).
fn map_bytes(batch_offsets: i64, batch_records: i32, hole: i64) -> usize {
    let at = Point::default();
    let mut map = ExactMap::new(TopicIds::default(), 1, at);
    let (mut source, mut target, mut bytes, mut unstored) = (0, 0, 0, 0);
    while target < 1_000_000 {
        map.acknowledged(source, source + batch_offsets, target, batch_records);
        source += batch_offsets + hole;
        target += i64::from(batch_records);
        unstored += batch_records;
        if unstored >= 8_192 {
            unstored = 0;
            let (chunks, obsolete) = map.changes();
            assert_eq!(obsolete.len(), 0);
            bytes += chunks.into_iter().map(stored_bytes).sum::<usize>();
        }
    }
    bytes
}

fn stored_bytes(chunk: MapChunk) -> usize {
    let written = encode(&StateRecord {
        place: place("orders", 3),
        entry: Entry::Map(chunk),
    });
    written.key.len() + written.value.unwrap().len()
}

#[test]
fn a_map_costs_little_in_the_state_topic() {
    let cases = [
        ("without holes", map_bytes(500, 500, 0), 32_000),
        (
            "transactions of a hundred records",
            map_bytes(100, 100, 1),
            760_000,
        ),
        (
            "half of the records compacted away",
            map_bytes(500, 250, 0),
            410_000,
        ),
    ];
    for (case, bytes, max) in cases {
        assert!(bytes <= max, "{case}: {bytes} bytes for a million records");
    }
}

#[test]
fn the_record_before_an_anchor_may_be_of_no_producer() {
    let [key, value] = GOLDEN[2];
    let mut value: Value = serde_json::from_str(value).unwrap();
    for member in ["producerId", "producerEpoch", "sequence", "leaderEpoch"] {
        value["previous"][member] = json!(-1);
        assert!(decode(key.as_bytes(), Some(value.to_string().as_bytes())).is_ok());
        value["previous"][member] = json!(-2);
        let read = decode(key.as_bytes(), Some(value.to_string().as_bytes()));
        assert_eq!(read, Err(Unusable::Foreign), "{member}");
        value["previous"][member] = json!(-1);
    }
}

#[test]
fn values_may_say_more_than_is_known_here_and_in_any_order() {
    for (record, [key, value]) in examples().into_iter().zip(GOLDEN) {
        let members = value.strip_prefix(r#"{"v":1,"#).unwrap();
        let members = members.strip_suffix('}').unwrap();
        let more = format!(r#"{{ "note": [1, {{}}], {members}, "v": 1 }}"#);
        let read = decode(key.as_bytes(), Some(more.as_bytes()));
        assert_eq!(read, Ok((record.key(), Some(record.entry))), "{more}");
    }
}

#[test]
fn a_newer_format_is_told_from_rubbish() {
    let [owner, value] = GOLDEN[1];
    let cases = [
        (r#"{"v":2}"#, Some(value), Unusable::Newer(2)),
        (
            r#"{"kind":[],"v":18446744073709551615}"#,
            None,
            Unusable::Newer(u64::MAX),
        ),
        (owner, Some(r#"{"v":3}"#), Unusable::Newer(3)),
        (
            owner,
            Some(r#"{"v":3,"generation":"x"}"#),
            Unusable::Newer(3),
        ),
        (owner, Some(r#"{"v":0}"#), Unusable::Foreign),
        (owner, Some(""), Unusable::Foreign),
        (owner, Some("null"), Unusable::Foreign),
        (owner, Some(r#"[{"v":3}]"#), Unusable::Foreign),
        (r#"{"v":0}"#, Some(r#"{"v":3}"#), Unusable::Foreign),
        (r#"{"v":2"#, None, Unusable::Foreign),
        (r#"[{"v":2}]"#, None, Unusable::Foreign),
    ];
    for (key, value, expected) in cases {
        let read = decode(key.as_bytes(), value.map(str::as_bytes));
        assert_eq!(read, Err(expected), "{key} {value:?}");
    }
}

#[test]
fn values_nested_without_end_are_foreign() {
    let deep = "[".repeat(100_000);
    for text in [deep.clone(), format!(r#"{{"v":1,"x":{deep}"#)] {
        assert_eq!(decode(text.as_bytes(), None), Err(Unusable::Foreign));
        let read = decode(GOLDEN[1][0].as_bytes(), Some(text.as_bytes()));
        assert_eq!(read, Err(Unusable::Foreign));
    }
}

prop_compose! {
    fn anchors()(
        counter: u64,
        generation: u64,
        lineage in lineages(),
        next_sequence in 0..=i32::MAX,
        offsets in (0..=i64::MAX, 0..=i64::MAX),
        source_epochs in (-1..=i32::MAX, -1..=i32::MAX),
        ids: [[u8; 16]; 2],
        previous in option::of(identities()),
        mapping: u32,
        carried_epoch in -1..=i32::MAX,
        cut_count: u64,
    ) -> Anchor {
        Anchor {
            counter,
            generation,
            lineage,
            next_sequence,
            source_offset: offsets.0,
            source_epoch: source_epochs.0,
            source_leader_epoch: source_epochs.1,
            source_topic_id: Uuid(ids[0]),
            target_offset: offsets.1,
            target_topic_id: Uuid(ids[1]),
            previous,
            mapping,
            carried_epoch,
            cut_count,
        }
    }
}

prop_compose! {
    fn lineages()(producer_id in 0..=i64::MAX, epoch in 0..=i16::MAX) -> Lineage {
        Lineage { producer_id, epoch }
    }
}

prop_compose! {
    fn identities()(
        producer_id in -1..=i64::MAX,
        producer_epoch in -1..=i16::MAX,
        sequence in -1..=i32::MAX,
        leader_epoch in -1..=i32::MAX,
    ) -> RecordIdentity {
        RecordIdentity { producer_id, producer_epoch, sequence, leader_epoch }
    }
}

prop_compose! {
    fn gaps()(
        from_offset in 0..i64::MAX,
        len in 1..=i64::MAX,
        cause in prop_oneof![
            Just(GapCause::Deleted),
            Just(GapCause::Truncated),
            Just(GapCause::Recreated),
            Just(GapCause::Skipped),
        ],
        id: [u8; 16],
        noticed_ms: i64,
    ) -> Gap {
        Gap {
            from_offset,
            to_offset: from_offset.saturating_add(len),
            cause,
            source_topic_id: Uuid(id),
            noticed_ms,
        }
    }
}

prop_compose! {
    /// Runs at distances from one another, each of as many records as fit or fewer.
    fn chunks()(
        chunk in 0..16_u8,
        version: (u64, u64),
        ids: [[u8; 16]; 2],
        level: u8,
        start in (0..1_i64 << 60, 0..1_i64 << 60),
        runs in vec([0..1_i64 << 40, 1..1_i64 << 40, 0..1_i64 << 40, 1..1_i64 << 40], 1..=32),
        counts: [u32; 32],
    ) -> MapChunk {
        let follows = Point { source_offset: start.0, target_offset: start.1 };
        let mut end = follows;
        let run = |([source_hole, source_len, target_hole, target_len], count): ([i64; 4], u32)| {
            let run = Run {
                source_first: end.source_offset + source_hole,
                source_next: end.source_offset + source_hole + source_len,
                target_first: end.target_offset + target_hole,
                target_next: end.target_offset + target_hole + target_len,
                count: i64::from(count).min(source_len).min(target_len),
            };
            end = run.end();
            run
        };
        MapChunk {
            chunk,
            version: MapVersion { generation: version.0, cut_count: version.1 },
            topics: TopicIds { source: Uuid(ids[0]), target: Uuid(ids[1]) },
            level,
            follows,
            runs: runs.into_iter().zip(counts).map(run).collect(),
        }
    }
}

fn entries() -> impl Strategy<Value = Entry> {
    let claims = (any::<u32>(), 0..=i64::MAX).prop_map(|(number, producer_id)| {
        Entry::Claim(Claim {
            number,
            producer_id,
        })
    });
    let owners = any::<(u64, [u8; 16], i64)>().prop_map(|(generation, instance, since_ms)| {
        Entry::Owner(Owner {
            generation,
            instance: Uuid(instance),
            since_ms,
        })
    });
    let resets = any::<(u64, [u8; 16], i64)>();
    let resets = (resets, 0..=i64::MAX).prop_map(|((generation, id, since_ms), source_offset)| {
        Entry::Reset(Reset {
            generation,
            source_offset,
            source_topic_id: Uuid(id),
            since_ms,
        })
    });
    prop_oneof![
        claims,
        owners,
        resets,
        anchors().prop_map(Entry::Anchor),
        gaps().prop_map(Entry::Gap),
        chunks().prop_map(Entry::Map),
    ]
}

fn records() -> impl Strategy<Value = StateRecord> {
    let topics = prop_oneof!["[a-zA-Z0-9._-]{1,249}", any::<String>()];
    (topics, 0..=i32::MAX, entries()).prop_map(|(topic, partition, entry)| StateRecord {
        place: place(&topic, partition),
        entry,
    })
}

/// A change to one byte or to the length of a text.
fn damage(bytes: &mut Vec<u8>, (at, how, byte): (prop::sample::Index, u8, u8)) {
    if bytes.is_empty() {
        return bytes.push(byte);
    }
    let at = at.index(bytes.len());
    match how % 4 {
        0 => bytes[at] = byte,
        1 => bytes.insert(at, byte),
        2 => drop(bytes.remove(at)),
        _ => bytes.truncate(at),
    }
}

proptest! {
    #[test]
    fn every_record_survives_being_written_and_read(record in records()) {
        let written = encode(&record);
        let read = decode(&written.key, written.value.as_deref());
        prop_assert_eq!(read, Ok((record.key(), Some(record.entry))));
    }

    #[test]
    fn equal_keys_are_equal_bytes_and_no_others(a in records(), b in records()) {
        let (first, second) = (encode(&a), encode(&b));
        prop_assert_eq!(first.key == second.key, a.key() == b.key());
    }

    #[test]
    fn any_bytes_are_a_record_or_refused(bytes in vec(any::<u8>(), 0..300)) {
        fuzzing::anchor(&bytes);
    }

    #[test]
    fn damaged_records_are_records_or_refused(
        record in records(),
        damages in vec(any::<(prop::sample::Index, u8, u8)>(), 1..4),
    ) {
        let written = encode(&record);
        let mut bytes = [written.key, written.value.unwrap()].join(&b'\n');
        for one in damages {
            damage(&mut bytes, one);
        }
        fuzzing::anchor(&bytes);
    }
}
