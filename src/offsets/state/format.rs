//! The bytes of the records of the state topic: compact JSON, one object each in key and value.
//!
//! **The very bytes of a key are part of the format**: compaction compares them. A key that says
//! the same in other bytes is not ours; a deletion written so would be undone once compaction
//! removed it and kept the record it was meant for. Of values only the meaning counts, and members
//! that are not known are passed over. Names of members are those of Kafka's messages.
//!
//! ```text
//! {"v":1,"kind":"owner","topic":"orders","partition":0}   {"v":1,"generation":7,"instance":…,"sinceMs":…}
//! ```

use std::{fmt::Write, sync::Arc};

use serde_json::Value;

use super::{
    ANCHOR_SLOTS, Anchor, Claim, Entry, Gap, GapCause, Kind, Lineage, Owner, Place, RecordIdentity,
    Reset, StateKey, StateRecord, Unusable, VERSION,
    json::{Members, ensure, parse},
};
use crate::offsets::{
    exact_map::{CHUNKS_MAX, ChunkKey, MapChunk, MapVersion, Point, Run, TopicIds},
    source_offsets::StoredRecord,
};

/// Writes a record.
///
/// [`decode`] reads back what keeps to the bounds that the fields' own docs give.
#[must_use]
pub fn encode(record: &StateRecord) -> StoredRecord {
    StoredRecord {
        key: encode_key(&record.key()),
        value: Some(encode_entry(&record.entry).into_bytes()),
        ordered_by: Some(order(&record.place)),
    }
}

/// Writes the deletion of a key.
#[must_use]
pub fn encode_deletion(key: &StateKey) -> StoredRecord {
    StoredRecord {
        key: encode_key(key),
        value: None,
        ordered_by: Some(order(&key.place)),
    }
}

/// All that is known of a source partition is in one partition of the state topic, however many it
/// has: who reads an owner has read every anchor written before.
fn order(place: &Place) -> Vec<u8> {
    format!("{}-{}", place.topic, place.partition).into_bytes()
}

/// Reads a record; `None` in place of an entry is the deletion of its key.
///
/// # Errors
///
/// [`Unusable`] says why the bytes mean nothing here.
pub fn decode(key: &[u8], value: Option<&[u8]>) -> Result<(StateKey, Option<Entry>), Unusable> {
    let state_key = decode_key(Members::of(&parse(key)?))?;
    if encode_key(&state_key) != key {
        return Err(Unusable::Foreign);
    }
    let entry = match value {
        Some(value) => Some(decode_entry(state_key.kind, Members::of(&parse(value)?))?),
        None => None,
    };
    Ok((state_key, entry))
}

/// The one place where keys are written.
fn encode_key(key: &StateKey) -> Vec<u8> {
    let Place { topic, partition } = &key.place;
    let kind = match key.kind {
        Kind::Claim { .. } => "claim",
        Kind::Owner => "owner",
        Kind::Reset => "reset",
        Kind::Anchor { .. } => "anchor",
        Kind::Gap { .. } => "gap",
        Kind::Map(_) => "map",
    };
    let topic = Value::from(&**topic);
    let mut text =
        format!(r#"{{"v":{VERSION},"kind":"{kind}","topic":{topic},"partition":{partition}"#);
    let written = match key.kind {
        Kind::Claim { producer_id } => write!(text, r#","producerId":{producer_id}"#),
        Kind::Owner | Kind::Reset => Ok(()),
        Kind::Anchor { slot } => write!(text, r#","slot":{slot}"#),
        Kind::Gap { from_offset } => write!(text, r#","fromOffset":{from_offset}"#),
        Kind::Map(ChunkKey { version, chunk }) => write!(
            text,
            r#","generation":{},"cutCount":{},"chunk":{chunk}"#,
            version.generation, version.cut_count
        ),
    };
    written.expect("a string takes all that is written");
    text.push('}');
    text.into_bytes()
}

fn decode_key(members: Members<'_>) -> Result<StateKey, Unusable> {
    let kind = match members.text("kind")? {
        "claim" => Kind::Claim {
            producer_id: members.number("producerId", 0)?,
        },
        "owner" => Kind::Owner,
        "reset" => Kind::Reset,
        "anchor" => Kind::Anchor {
            slot: members.number("slot", 0)?,
        },
        "gap" => Kind::Gap {
            from_offset: members.number("fromOffset", 0)?,
        },
        "map" => Kind::Map(ChunkKey {
            version: MapVersion {
                generation: members.count("generation")?,
                cut_count: members.count("cutCount")?,
            },
            chunk: members.number("chunk", 0)?,
        }),
        _ => return Err(Unusable::Foreign),
    };
    ensure(match kind {
        Kind::Anchor { slot } => slot < ANCHOR_SLOTS,
        Kind::Map(key) => key.chunk < CHUNKS_MAX,
        Kind::Claim { .. } | Kind::Owner | Kind::Reset | Kind::Gap { .. } => true,
    })?;
    let place = Place {
        topic: Arc::from(members.text("topic")?),
        partition: members.number("partition", 0)?,
    };
    Ok(StateKey { place, kind })
}

fn encode_entry(entry: &Entry) -> String {
    match entry {
        Entry::Claim(Claim { number, .. }) => format!(r#"{{"v":{VERSION},"number":{number}}}"#),
        Entry::Owner(owner) => format!(
            r#"{{"v":{VERSION},"generation":{},"instance":"{}","sinceMs":{}}}"#,
            owner.generation, owner.instance, owner.since_ms
        ),
        Entry::Reset(reset) => format!(
            r#"{{"v":{VERSION},"generation":{},"sourceOffset":{},"sourceTopicId":"{}","sinceMs":{}}}"#,
            reset.generation, reset.source_offset, reset.source_topic_id, reset.since_ms
        ),
        Entry::Anchor(anchor) => encode_anchor(anchor),
        Entry::Gap(gap) => format!(
            r#"{{"v":{VERSION},"toOffset":{},"cause":"{}","sourceTopicId":"{}","noticedMs":{}}}"#,
            gap.to_offset,
            cause_name(gap.cause),
            gap.source_topic_id,
            gap.noticed_ms
        ),
        Entry::Map(chunk) => encode_chunk(chunk),
    }
}

fn decode_entry(kind: Kind, members: Members<'_>) -> Result<Entry, Unusable> {
    Ok(match kind {
        Kind::Claim { producer_id } => Entry::Claim(Claim {
            number: members.number("number", 0)?,
            producer_id,
        }),
        Kind::Owner => Entry::Owner(Owner {
            generation: members.count("generation")?,
            instance: members.id("instance")?,
            since_ms: members.number("sinceMs", i64::MIN)?,
        }),
        Kind::Reset => Entry::Reset(Reset {
            generation: members.count("generation")?,
            source_offset: members.number("sourceOffset", 0)?,
            source_topic_id: members.id("sourceTopicId")?,
            since_ms: members.number("sinceMs", i64::MIN)?,
        }),
        Kind::Anchor { slot } => {
            let anchor = decode_anchor(members)?;
            ensure(anchor.slot() == slot)?;
            Entry::Anchor(anchor)
        }
        Kind::Gap { from_offset } => {
            let gap = Gap {
                from_offset,
                to_offset: members.number("toOffset", 0)?,
                cause: cause_of(members.text("cause")?)?,
                source_topic_id: members.id("sourceTopicId")?,
                noticed_ms: members.number("noticedMs", i64::MIN)?,
            };
            ensure(gap.from_offset < gap.to_offset)?;
            Entry::Gap(gap)
        }
        Kind::Map(key) => {
            let chunk = decode_chunk(key, members)?;
            ensure(chunk.is_valid())?;
            Entry::Map(chunk)
        }
    })
}

fn encode_anchor(anchor: &Anchor) -> String {
    let Lineage { producer_id, epoch } = anchor.lineage;
    let previous = anchor.previous.map_or_else(
        || String::from("null"),
        |record| {
            format!(
                r#"{{"producerId":{},"producerEpoch":{},"sequence":{},"leaderEpoch":{}}}"#,
                record.producer_id, record.producer_epoch, record.sequence, record.leader_epoch
            )
        },
    );
    let lineage = format!(r#""producerId":{producer_id},"producerEpoch":{epoch}"#);
    format!(
        concat!(
            r#"{{"v":{},"counter":{},"generation":{},{},"nextSequence":{},"#,
            r#""sourceOffset":{},"sourceEpoch":{},"sourceTopicId":"{}","#,
            r#""targetOffset":{},"targetTopicId":"{}","previous":{},"mapping":{},"#,
            r#""carriedEpoch":{},"cutCount":{},"sourceLeaderEpoch":{}}}"#,
        ),
        VERSION,
        anchor.counter,
        anchor.generation,
        lineage,
        anchor.next_sequence,
        anchor.source_offset,
        anchor.source_epoch,
        anchor.source_topic_id,
        anchor.target_offset,
        anchor.target_topic_id,
        previous,
        anchor.mapping,
        anchor.carried_epoch,
        anchor.cut_count,
        anchor.source_leader_epoch,
    )
}

fn decode_anchor(members: Members<'_>) -> Result<Anchor, Unusable> {
    let lineage = Lineage {
        producer_id: members.number("producerId", -1)?,
        epoch: members.number("producerEpoch", -1)?,
    };
    ensure(lineage.is_sequenced() == (lineage.epoch >= 0))?;
    // Anchors of the first builds name neither of the last epochs, nor a cut.
    let epoch = |name| match members.get(name) {
        Ok(_) => members.number(name, -1),
        Err(_) => Ok(-1),
    };
    Ok(Anchor {
        counter: members.count("counter")?,
        generation: members.count("generation")?,
        lineage,
        next_sequence: members.number("nextSequence", 0)?,
        source_offset: members.number("sourceOffset", 0)?,
        source_epoch: members.number("sourceEpoch", -1)?,
        source_topic_id: members.id("sourceTopicId")?,
        target_offset: members.number("targetOffset", 0)?,
        target_topic_id: members.id("targetTopicId")?,
        previous: match members.get("previous")? {
            Value::Null => None,
            Value::Object(previous) => Some(decode_identity(Members::of(previous))?),
            _ => return Err(Unusable::Foreign),
        },
        mapping: members.number("mapping", 0)?,
        source_leader_epoch: epoch("sourceLeaderEpoch")?,
        carried_epoch: epoch("carriedEpoch")?,
        cut_count: match members.get("cutCount") {
            Ok(_) => members.count("cutCount")?,
            Err(_) => 0,
        },
    })
}

fn decode_identity(members: Members<'_>) -> Result<RecordIdentity, Unusable> {
    Ok(RecordIdentity {
        producer_id: members.number("producerId", -1)?,
        producer_epoch: members.number("producerEpoch", -1)?,
        sequence: members.number("sequence", -1)?,
        leader_epoch: members.number("leaderEpoch", -1)?,
    })
}

/// A run is an array: source offsets from and to, target offsets from and to, records.
fn encode_chunk(chunk: &MapChunk) -> String {
    let run = |run: &Run| {
        format!(
            "[{},{},{},{},{}]",
            run.source_first, run.source_next, run.target_first, run.target_next, run.count
        )
    };
    let runs: Vec<String> = chunk.runs.iter().map(run).collect();
    format!(
        concat!(
            r#"{{"v":{},"level":{},"sourceTopicId":"{}","targetTopicId":"{}","#,
            r#""afterSourceOffset":{},"afterTargetOffset":{},"runs":[{}]}}"#,
        ),
        VERSION,
        chunk.level,
        chunk.topics.source,
        chunk.topics.target,
        chunk.follows.source_offset,
        chunk.follows.target_offset,
        runs.join(","),
    )
}

fn decode_chunk(key: ChunkKey, members: Members<'_>) -> Result<MapChunk, Unusable> {
    let runs = members.get("runs")?.as_array().ok_or(Unusable::Foreign)?;
    Ok(MapChunk {
        chunk: key.chunk,
        version: key.version,
        topics: TopicIds {
            source: members.id("sourceTopicId")?,
            target: members.id("targetTopicId")?,
        },
        level: members.number("level", 0)?,
        follows: Point {
            source_offset: members.number("afterSourceOffset", 0)?,
            target_offset: members.number("afterTargetOffset", 0)?,
        },
        runs: runs.iter().map(decode_run).collect::<Result<_, _>>()?,
    })
}

fn decode_run(run: &Value) -> Result<Run, Unusable> {
    let numbers = run.as_array().ok_or(Unusable::Foreign)?.iter();
    let numbers: Option<Vec<i64>> = numbers.map(Value::as_i64).collect();
    let &[source_first, source_next, target_first, target_next, count] =
        numbers.as_deref().unwrap_or_default()
    else {
        return Err(Unusable::Foreign);
    };
    Ok(Run {
        source_first,
        source_next,
        target_first,
        target_next,
        count,
    })
}

fn cause_name(cause: GapCause) -> &'static str {
    match cause {
        GapCause::Deleted => "deleted",
        GapCause::Truncated => "truncated",
        GapCause::Recreated => "recreated",
        GapCause::Skipped => "skipped",
    }
}

fn cause_of(name: &str) -> Result<GapCause, Unusable> {
    let causes = [
        GapCause::Deleted,
        GapCause::Truncated,
        GapCause::Recreated,
        GapCause::Skipped,
    ];
    let named = causes.into_iter().find(|cause| cause_name(*cause) == name);
    named.ok_or(Unusable::Foreign)
}
