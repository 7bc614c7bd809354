//! Builds a new batch of the records that are wanted, when the source's batch cannot pass.
//!
//! The new batch keeps the codec, the order, and every record's key, value, headers and visible
//! timestamp; offsets count up without holes. This is the expensive way, used where a broker would
//! refuse the batch as it is or a reader would see something else.

use bytes::Bytes;
use kmirror_protocol::records::{BatchBuilder, BatchHeader, LegacyError, decompress, records};

use super::limits;

/// Why a batch could not be rebuilt, in the words of the codec.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RebuildError(String);

impl std::fmt::Display for RebuildError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<LegacyError> for RebuildError {
    fn from(error: LegacyError) -> Self {
        text(&error)
    }
}

/// Builds a batch of the records at `next_offset` and above; `None` when there are none.
///
/// The timestamps are those that a consumer of the source sees: for a batch with the append-time
/// flag, the time at which the source appended it (`MirrorSourceTask.convertRecord` does the same).
///
/// # Errors
///
/// [`RebuildError`] when the batch is damaged, cannot be decompressed within
/// [`limits::DECOMPRESSED_BYTES_MAX`], or cannot be written. A batch whose checksum is wrong is
/// never rebuilt: a new checksum would make the damage look sound.
pub(super) fn rebuild(
    header: &BatchHeader,
    payload: &[u8],
    next_offset: i64,
) -> Result<Option<(BatchHeader, Bytes)>, RebuildError> {
    if !header.verify_crc(payload) {
        return Err(RebuildError(String::from("its checksum is wrong")));
    }
    let codec = header.attributes.compression().map_err(|err| text(&err))?;
    let plain =
        decompress(codec, payload, limits::DECOMPRESSED_BYTES_MAX).map_err(|err| text(&err))?;
    let mut builder = BatchBuilder::new(codec);
    for record in records(&plain, header.record_count) {
        let record = record.map_err(|err| text(&err))?;
        if record.offset(header) >= next_offset {
            builder
                .copy(&record, record.timestamp(header))
                .map_err(|err| text(&err))?;
        }
    }
    if builder.record_count() == 0 {
        return Ok(None);
    }
    let built = builder.build().map_err(|err| text(&err))?;
    Ok(Some((built.header, built.payload)))
}

fn text(error: &dyn std::fmt::Display) -> RebuildError {
    RebuildError(error.to_string())
}

#[cfg(test)]
mod tests {
    use kmirror_protocol::records::{Compression, Header, NewRecord};

    use super::*;

    fn batch(codec: Compression, flags: Option<i64>) -> (BatchHeader, Bytes) {
        let headers = [
            Header {
                key: b"h",
                value: None,
            },
            Header {
                key: b"h",
                value: Some(b""),
            },
        ];
        let mut builder = BatchBuilder::new(codec).appended_at(100, 7);
        if let Some(timestamp) = flags {
            builder = builder.log_append_time(timestamp);
        }
        for (delta, key) in [(0, "a"), (2, "b"), (5, "c")] {
            let record = NewRecord {
                timestamp: 1_000 + i64::from(delta),
                key: Some(key.as_bytes()),
                value: (delta != 2).then_some(b"".as_slice()),
                headers: &headers,
            };
            builder.push_at(delta, &record).unwrap();
        }
        let built = builder.build().unwrap();
        (built.header, built.payload)
    }

    fn seen(header: &BatchHeader, payload: &[u8]) -> Vec<(i32, i64, String, bool, usize)> {
        let codec = header.attributes.compression().unwrap();
        let plain = decompress(codec, payload, 1 << 20).unwrap();
        records(&plain, header.record_count)
            .map(|record| {
                let record = record.unwrap();
                let key = String::from_utf8(record.key.unwrap().to_vec()).unwrap();
                let headers = record.headers.iter().count();
                (
                    record.offset_delta,
                    record.timestamp(header),
                    key,
                    record.value.is_some(),
                    headers,
                )
            })
            .collect()
    }

    #[test]
    fn holes_close_and_every_record_stays_what_it_was() {
        for codec in [
            Compression::None,
            Compression::Gzip,
            Compression::Snappy,
            Compression::Lz4,
            Compression::Zstd,
        ] {
            let (header, payload) = batch(codec, None);
            let (header, payload) = rebuild(&header, &payload, 100).unwrap().unwrap();
            assert_eq!(header.attributes.compression().unwrap(), codec);
            assert_eq!((header.last_offset_delta, header.record_count), (2, 3));
            assert!(header.verify_crc(&payload));
            let expected = [
                (0, 1_000, String::from("a"), true, 2),
                (1, 1_002, String::from("b"), false, 2),
                (2, 1_005, String::from("c"), true, 2),
            ];
            assert_eq!(seen(&header, &payload), expected);
        }
    }

    #[test]
    fn records_below_the_position_are_left_out() {
        let (header, payload) = batch(Compression::Lz4, None);
        let keys = |next_offset| {
            let rebuilt = rebuild(&header, &payload, next_offset).unwrap();
            rebuilt.map(|(header, payload)| {
                seen(&header, &payload)
                    .into_iter()
                    .map(|record| record.2)
                    .collect::<String>()
            })
        };
        assert_eq!(keys(101).as_deref(), Some("bc"));
        assert_eq!(keys(105).as_deref(), Some("c"));
        assert_eq!(keys(106), None);
    }

    #[test]
    fn append_time_becomes_the_records_own_time() {
        let (header, payload) = batch(Compression::None, Some(5_000));
        let (header, payload) = rebuild(&header, &payload, 0).unwrap().unwrap();
        assert!(!header.attributes.is_log_append_time());
        assert!(
            seen(&header, &payload)
                .iter()
                .all(|record| record.1 == 5_000)
        );
        assert_eq!(header.max_timestamp, 5_000);
    }

    #[test]
    fn damage_is_never_laundered() {
        let (header, payload) = batch(Compression::None, None);
        let mut damaged = payload.to_vec();
        damaged[3] ^= 1;
        assert!(rebuild(&header, &damaged, 0).is_err());
    }
}
