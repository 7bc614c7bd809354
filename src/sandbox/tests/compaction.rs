//! What compaction leaves alone, and when tombstones go, in virtual time.
//!
//! What it makes of batches is a probe of the conformance suite.

use kmirror_protocol::records::{Attributes, BatchHeader, Header, decompress, records};

use super::*;

const DAY_MS: i64 = 86_400_000;

const COMPACTED: (&str, &str) = ("cleanup.policy", "compact");

/// A batch of one record.
fn keyed(key: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Compression::None);
    let record = NewRecord {
        timestamp: START.0,
        key: Some(key),
        value,
        headers: &[Header {
            key: b"h",
            value: Some(b"1"),
        }],
    };
    builder.push(&record).unwrap();
    builder.build().unwrap().to_vec()
}

impl Sandbox {
    /// A compacted topic of two replicas: offsets 0 to 2 hold a, b and a again, each in a batch
    /// of its own, and offset 3 the newest batch.
    fn compacted(configs: &[(&str, &str)]) -> Self {
        let mut sandbox = Self::new(2);
        sandbox.create_topic(2, configs);
        for key in [b"a", b"b", b"a", b"z"] {
            let (code, _) = sandbox.produce(0, &keyed(key, Some(b"v")));
            assert_eq!(code, ErrorCode::NONE);
        }
        sandbox
    }

    fn compact(&mut self) {
        self.cluster.compact("t", self.now).unwrap();
    }

    /// The headers of the batches on a broker.
    fn headers(&self, broker_id: i32) -> Vec<BatchHeader> {
        let partition = self.cluster.partition("t", 0).unwrap();
        let batches = partition.replica(broker_id).unwrap().log.batches();
        batches.map(|batch| batch.header).collect()
    }

    /// Base offset and number of records of each batch on a broker.
    fn counts(&self, broker_id: i32) -> Vec<(i64, i32)> {
        let headers = self.headers(broker_id).into_iter();
        headers
            .map(|header| (header.base_offset, header.record_count))
            .collect()
    }
}

#[test]
fn every_replica_is_compacted_and_a_second_time_changes_nothing() {
    let mut sandbox = Sandbox::compacted(&[COMPACTED]);
    sandbox.compact();
    let first = sandbox.headers(0);
    assert_eq!(sandbox.counts(0), [(1, 1), (2, 1), (3, 1)]);
    assert_eq!(sandbox.headers(1), first);
    sandbox.compact();
    assert_eq!(sandbox.headers(0), first);
    assert_eq!(sandbox.cluster.log_range("t", 0), Some(0..4));
}

#[test]
fn a_topic_that_only_deletes_is_left_alone() {
    let mut sandbox = Sandbox::compacted(&[]);
    sandbox.compact();
    assert_eq!(sandbox.counts(0), [(0, 1), (1, 1), (2, 1), (3, 1)]);
    let missing = sandbox.cluster.compact("none", START);
    assert_eq!(missing, Err(ErrorCode::UNKNOWN_TOPIC_OR_PARTITION));
}

#[test]
fn what_is_not_committed_is_neither_cleaned_nor_counted() {
    let mut sandbox = Sandbox::compacted(&[COMPACTED]);
    sandbox.cluster.hold_back("t", 0, 1).unwrap();
    for key in [b"b", b"b", b"y"] {
        sandbox.produce(0, &keyed(key, Some(b"v")));
    }
    sandbox.compact();
    let expected = [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1)];
    assert_eq!(sandbox.counts(0), expected);
    assert_eq!(sandbox.counts(1), [(1, 1), (2, 1), (3, 1)]);
    sandbox.cluster.catch_up("t", 0, 1).unwrap();
    sandbox.compact();
    for broker_id in 0..2 {
        // The last batch that is cleaned would stay even without records.
        assert_eq!(sandbox.counts(broker_id), [(2, 1), (3, 1), (5, 1), (6, 1)]);
    }
}

#[test]
fn a_tombstone_stays_for_a_while_after_its_first_cleaning() {
    let mut sandbox = Sandbox::compacted(&[COMPACTED]);
    sandbox.produce(0, &keyed(b"a", None));
    sandbox.produce(0, &keyed(b"y", Some(b"v")));
    sandbox.now = START.plus_ms(7);
    sandbox.compact();
    assert_eq!(sandbox.counts(0), [(1, 1), (3, 1), (4, 1), (5, 1)]);
    let tombstone = sandbox.headers(0)[2];
    assert_eq!(tombstone.attributes.0, Attributes::DELETE_HORIZON);
    assert_eq!(tombstone.base_timestamp, START.0 + 7 + DAY_MS);
    assert_eq!(tombstone.max_timestamp, START.0);

    for (age_ms, expected) in [(DAY_MS - 1, 1), (DAY_MS, 0)] {
        sandbox.now = START.plus_ms(7 + age_ms);
        sandbox.compact();
        // It was the last that is cleaned, so an empty batch tells its offset.
        assert_eq!(sandbox.counts(0)[2], (4, expected), "{age_ms}");
    }
    sandbox.produce(0, &keyed(b"x", Some(b"v")));
    sandbox.compact();
    assert_eq!(sandbox.counts(0), [(1, 1), (3, 1), (5, 1), (6, 1)]);
}

#[test]
fn records_keep_their_time_and_headers_when_their_batch_is_rebuilt() {
    let stamped = ("message.timestamp.type", "LogAppendTime");
    for codec in Compression::ALL {
        let mut sandbox = Sandbox::new(1);
        sandbox.create_topic(1, &[COMPACTED, stamped]);
        let mut builder = BatchBuilder::new(codec);
        for key in [b"a", b"b", b"a"] {
            let record = NewRecord {
                timestamp: 5,
                key: Some(key),
                value: Some(b"v"),
                headers: &[Header {
                    key: b"h",
                    value: None,
                }],
            };
            builder.push(&record).unwrap();
        }
        let blob = builder.build().unwrap().to_vec();
        assert_eq!(sandbox.produce(0, &blob), (ErrorCode::NONE, 0), "{codec}");
        sandbox.produce(0, &keyed(b"z", Some(b"v")));
        sandbox.now = START.plus_ms(100);
        sandbox.compact();

        let partition = sandbox.cluster.partition("t", 0).unwrap();
        let batch = partition.log().unwrap().batches().next().unwrap();
        let header = &batch.header;
        assert!(header.verify_crc(batch.payload()), "{codec}");
        assert!(header.attributes.is_log_append_time(), "{codec}");
        assert_eq!((header.record_count, header.last_offset_delta), (2, 2));
        let payload = decompress(codec, batch.payload(), 1 << 20).unwrap();
        for (record, offset) in records(&payload, 2).zip([1, 2]) {
            let record = record.unwrap();
            assert_eq!(record.offset(header), offset, "{codec}");
            assert_eq!(record.timestamp(header), START.0, "{codec}");
            let headers = record.headers.iter().map(|it| (it.key, it.value));
            let headers: Vec<(&[u8], Option<&[u8]>)> = headers.collect();
            assert_eq!(headers, [(b"h".as_slice(), None)], "{codec}");
        }
    }
}
