//! Source offsets as MirrorMaker 2 keeps them in `mm2-offsets.<source>.internal`.
//!
//! Key and value are compact JSON. **The order of the key's members is part of the format**:
//! Kafka Connect looks keys up by their raw bytes. The stored offset is that of the *last*
//! replicated record, so copying resumes one after it. Source: Connect's `OffsetStorageWriter`
//! and MM2's `MirrorUtils.wrapPartition`.

use std::collections::BTreeMap;

use serde_json::Value;

/// The connector that MirrorMaker 2 runs for records, in dedicated mode.
pub const SOURCE_CONNECTOR: &str = "MirrorSourceConnector";

/// One stored record of the offsets topic, as bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// The record's key.
    pub key: Vec<u8>,
    /// The record's value; `None` deletes the key.
    pub value: Option<Vec<u8>>,
    /// What chooses the partition in place of the key, so that records of several keys stay in
    /// order; `None` after reading.
    pub ordered_by: Option<Vec<u8>>,
}

/// Writes the position of one source partition: everything below `next_offset` is on the target.
///
/// Returns `None` while nothing is: the format has no way to say "before offset 0".
#[must_use]
pub fn encode(
    source_alias: &str,
    topic: &str,
    partition: i32,
    next_offset: i64,
) -> Option<StoredRecord> {
    let last_offset = next_offset.checked_sub(1).filter(|last| *last >= 0)?;
    let value = format!(r#"{{"offset":{last_offset}}}"#);
    Some(StoredRecord {
        value: Some(value.into_bytes()),
        ..encode_deletion(source_alias, topic, partition)
    })
}

/// Writes that one source partition has no position.
#[must_use]
pub fn encode_deletion(source_alias: &str, topic: &str, partition: i32) -> StoredRecord {
    let key = format!(
        r#"["{SOURCE_CONNECTOR}",{{"cluster":{},"partition":{partition},"topic":{}}}]"#,
        Value::from(source_alias),
        Value::from(topic),
    );
    StoredRecord {
        key: key.into_bytes(),
        value: None,
        ordered_by: None,
    }
}

/// The positions of `source_alias` among `records`, oldest record first: (topic, partition) to
/// the next offset to copy.
///
/// Records of other connectors, other clusters, or of no sense are passed over, as MM2 does; a
/// null value or offset removes an earlier position.
#[must_use]
pub fn decode_all(source_alias: &str, records: &[StoredRecord]) -> BTreeMap<(String, i32), i64> {
    let mut positions = BTreeMap::new();
    for record in records {
        let Some(partition) = decode_key(source_alias, &record.key) else {
            continue;
        };
        match record.value.as_deref().map(decode_value) {
            Some(Some(next_offset)) => {
                positions.insert(partition, next_offset);
            }
            Some(None) | None => {
                positions.remove(&partition);
            }
        }
    }
    positions
}

fn decode_key(source_alias: &str, key: &[u8]) -> Option<(String, i32)> {
    let key: Value = serde_json::from_slice(key).ok()?;
    let [connector, partition] = key.as_array()?.as_slice() else {
        return None;
    };
    if connector.as_str()? != SOURCE_CONNECTOR
        || partition.get("cluster")?.as_str()? != source_alias
    {
        return None;
    }
    let topic = partition.get("topic")?.as_str()?.to_owned();
    let number = i32::try_from(partition.get("partition")?.as_i64()?).ok()?;
    Some((topic, number))
}

fn decode_value(value: &[u8]) -> Option<i64> {
    let value: Value = serde_json::from_slice(value).ok()?;
    let last_offset = value.get("offset")?.as_i64()?;
    last_offset.checked_add(1).filter(|next| *next > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(key: &str, value: Option<&str>) -> StoredRecord {
        StoredRecord {
            key: key.into(),
            value: value.map(Into::into),
            ordered_by: None,
        }
    }

    #[test]
    fn writes_the_very_bytes_that_mirror_maker_writes() {
        let expected = record(
            r#"["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"orders"}]"#,
            Some(r#"{"offset":1234}"#),
        );
        assert_eq!(encode("A", "orders", 0, 1235), Some(expected));
        assert_eq!(encode("A", "orders", 0, 0), None);
    }

    #[test]
    fn reads_positions_and_passes_over_everything_else() {
        let key = |partition: &str| {
            format!(
                r#"["MirrorSourceConnector",{{"cluster":"A","partition":{partition},"topic":"t"}}]"#
            )
        };
        let records = [
            record(&key("0"), Some(r#"{"offset":4}"#)),
            record(&key("0"), Some(r#"{"offset":9}"#)),
            record(&key("1"), Some(r#"{"offset":7}"#)),
            record(&key("1"), None),
            record(&key("2"), Some(r#"{"offset":null}"#)),
            record(&key("3"), Some("rubbish")),
            record(&key("\"4\""), Some(r#"{"offset":1}"#)),
            record(&key("99999999999"), Some(r#"{"offset":1}"#)),
            record(&key("5").replace("\"A\"", "\"B\""), Some(r#"{"offset":1}"#)),
            record("not json", Some(r#"{"offset":1}"#)),
            record("[]", Some(r#"{"offset":1}"#)),
            record(&key("6"), Some(r#"{"offset":-1}"#)),
        ];
        let positions = decode_all("A", &records);
        assert_eq!(
            positions.into_iter().collect::<Vec<_>>(),
            [((String::from("t"), 0), 10)]
        );
    }

    #[test]
    fn a_position_survives_being_written_and_read() {
        let stored = encode("us \"west\"", "t\u{e9}", 3, 77).unwrap();
        let positions = decode_all("us \"west\"", &[stored]);
        assert_eq!(positions.get(&(String::from("t\u{e9}"), 3)), Some(&77));
    }
}
