//! Every message table against the `kafka-protocol` crate and against hostile bytes.
//!
//! Values come from the tables' own generators under fixed seeds, so a failure repeats.

mod support;

use std::{fs, path::Path};

use kafka_protocol::messages as oracle;
use kmirror_protocol::{
    ApiKey, ErrorCode, Request, Version, api,
    frame::{PREFIX_LEN, decode_response, encode_response},
    generate::Source,
    messages::{
        ApiVersionsRequest, ApiVersionsResponse, FetchRequest, FetchResponse, MetadataRequest,
        MetadataResponse, ProduceRequest,
        fetch::FetchResponsePartition,
        metadata::{MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic},
        produce::{ProduceRequestPartition, ProduceRequestTopic},
    },
    wire::{Array, Encode, Records, Why, Writer},
};
use support::{Table, decode, encode, oracle_encode, tables};

/// Calls `check` with random messages of every table and version.
fn for_each_message(per_version: u64, mut check: impl FnMut(&Table, Version, &[u8])) {
    for table in tables() {
        for version in table.each_version() {
            for seed in 0..per_version {
                let mut source = Source::new(seed);
                let bytes = (table.generate)(&mut source, version);
                check(&table, version, &bytes);
            }
        }
    }
}

/// The same for the versions that the oracle knows.
fn for_each_oracle_message(per_version: u64, mut check: impl FnMut(&Table, Version, &[u8])) {
    for_each_message(per_version, |table, version, bytes| {
        if table.oracle_versions.contains(&version.number) {
            check(table, version, bytes);
        }
    });
}

#[test]
fn every_api_file_is_in_the_list_that_the_tests_walk() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/messages");
    let listed: Vec<_> = api::IMPLEMENTED.iter().map(|api| api.key.name()).collect();
    let mut declared = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let text = fs::read_to_string(entry.unwrap().path()).unwrap();
        for declaration in text.split("\napi! { ").skip(1) {
            let name = declaration.split(' ').next().unwrap();
            assert!(listed.contains(&name), "for_each_api! lacks {name}");
            declared += 1;
        }
    }
    assert_eq!(declared, listed.len());
    let keys: Vec<_> = api::IMPLEMENTED
        .iter()
        .map(|api| api.key.number())
        .collect();
    assert!(keys.is_sorted(), "for_each_api! goes by key: {keys:?}");
}

#[test]
fn keys_versions_and_headers_are_those_of_kafka_protocol() {
    for table in tables() {
        let name = table.name;
        assert_eq!(table.key.number(), table.oracle_key, "{name}");
        let beyond = table.versions.clone();
        let beyond: Vec<_> = beyond
            .filter(|number| !table.oracle_versions.contains(number))
            .collect();
        // What the oracle lacks is held against Kafka's own schemas only.
        let expected: &[i16] = match name {
            "OffsetCommitRequest" | "OffsetFetchRequest" => &[10],
            _ => &[],
        };
        assert_eq!(beyond, expected, "{name}");
        for version in table.each_oracle_version() {
            let header = match (name.ends_with("Request"), table.key) {
                (true, _) => 1 + i16::from(version.flexible),
                (false, ApiKey::ApiVersions) => 0,
                (false, _) => i16::from(version.flexible),
            };
            let expected = (table.oracle_header)(version.number);
            assert_eq!(header, expected, "{name} v{}", version.number);
        }
    }
}

#[test]
fn every_message_is_the_same_bytes_to_kafka_protocol() {
    for_each_oracle_message(40, |table, version, bytes| {
        let what = (table.name, version.number);
        let theirs = (table.oracle)(bytes, version.number, version.number);
        assert_eq!(theirs.as_deref(), Ok(bytes), "{what:?}");
        let ours = (table.recode)(bytes, version, version);
        assert_eq!(ours.as_deref(), Ok(bytes), "{what:?}");
    });
}

#[test]
fn every_field_of_kafkas_is_there_by_its_name() {
    // In Kafka's schemas, but in no version that this crate implements.
    let left_out = [
        ("AddPartitionsToTxnRequest", "transactions"),
        ("AddPartitionsToTxnResponse", "error_code"),
        ("AddPartitionsToTxnResponse", "results_by_transaction"),
        ("FetchRequest", "high_watermark"),
        ("InitProducerIdRequest", "enable_2_pc"),
        ("InitProducerIdRequest", "keep_prepared_txn"),
        ("InitProducerIdResponse", "ongoing_txn_producer_epoch"),
        ("InitProducerIdResponse", "ongoing_txn_producer_id"),
    ];
    for_each_oracle_message(10, |table, version, bytes| {
        let (ours, theirs) = (table.debug)(bytes, version);
        // Tags that the oracle knows are fields; the rest would be listed here.
        let unknown = theirs.matches("unknown_tagged_fields: {");
        let none = theirs.matches("unknown_tagged_fields: {}");
        let what = (table.name, version.number);
        assert_eq!(unknown.count(), none.count(), "{what:?}: {theirs}");
        let mut expected = field_names(&theirs);
        expected.retain(|name| {
            *name != "unknown_tagged_fields" && !left_out.contains(&(table.name, name))
        });
        assert_eq!(field_names(&ours), expected, "{what:?}");
    });
}

/// The names of all fields in a debug print, sorted, as often as they occur.
fn field_names(debug: &str) -> Vec<&str> {
    let mut names: Vec<_> = debug
        .split(": ")
        .filter_map(|before| before.rsplit([' ', '{']).next())
        // The oracle writes a field named by a keyword with a line before it.
        .map(|name| name.trim_start_matches('_'))
        .filter(|name| name.starts_with(|first: char| first.is_ascii_lowercase()))
        .collect();
    names.sort_unstable();
    names
}

#[test]
fn fields_that_a_version_lacks_read_as_kafkas_defaults() {
    for table in tables() {
        for from in table.each_oracle_version() {
            let mut compared = 0;
            for to in table.each_oracle_version() {
                for seed in 0..10 {
                    let bytes = (table.generate)(&mut Source::new(seed), from);
                    // The oracle refuses to encode what the version it encodes cannot say.
                    if let Ok(theirs) = (table.oracle)(&bytes, from.number, to.number) {
                        let ours = (table.recode)(&bytes, from, to);
                        let what = (table.name, from.number, to.number, seed);
                        assert_eq!(ours.as_deref(), Ok(&*theirs), "{what:?}");
                        compared += 1;
                    }
                }
            }
            assert!(compared >= 10, "{} v{}", table.name, from.number);
        }
    }
}

#[test]
fn a_message_that_ends_early_or_late_is_refused() {
    for_each_message(6, |table, version, bytes| {
        let what = (table.name, version.number);
        // Long messages are cut at both ends only: every cut of every one would take minutes.
        let cuts = (0..bytes.len()).filter(|cut| *cut < 600 || bytes.len() - cut < 100);
        for cut in cuts {
            let err = (table.recode)(&bytes[..cut], version, version);
            assert!(err.is_err(), "{what:?} accepts {cut} of {}", bytes.len());
        }
        let longer = [bytes, &[0]].concat();
        let err = (table.recode)(&longer, version, version).unwrap_err();
        assert_eq!(err.why, Why::TrailingBytes, "{what:?}");
    });
}

#[test]
fn unknown_tagged_fields_are_passed_over() {
    let mut checked = 0;
    for_each_oracle_message(6, |table, version, bytes| {
        if version.flexible {
            let longer = (table.with_unknown_tag)(bytes, version.number);
            assert!(longer.len() > bytes.len());
            let known = (table.recode)(&longer, version, version);
            assert_eq!(known.as_deref(), Ok(bytes), "{}", table.name);
            checked += 1;
        }
    });
    assert!(checked > 0);
}

#[test]
fn unknown_tagged_fields_of_nested_structs_are_passed_over() {
    let unknown = || (7, bytes::Bytes::from_static(b"?"));
    let partition = oracle::fetch_response::PartitionData::default()
        .with_partition_index(3)
        .with_unknown_tagged_fields([unknown()].into());
    let topic = oracle::fetch_response::FetchableTopicResponse::default()
        .with_partitions(vec![partition.clone(), partition])
        .with_unknown_tagged_fields([unknown()].into());
    let response = oracle::FetchResponse::default().with_responses(vec![topic]);
    let bytes = oracle_encode(&response, 16).unwrap();
    let ours: FetchResponse<'_> = decode(&bytes, FetchRequest::version(16)).unwrap();
    let partitions = ours.responses.iter().flat_map(|topic| topic.partitions);
    let indexes: Vec<_> = partitions.map(|it| it.partition_index).collect();
    assert_eq!(indexes, [3, 3]);
}

#[test]
fn a_tagged_field_that_is_longer_than_its_value_is_refused() {
    // Kafka reads the value and goes on behind it, whatever length was given.
    let version = ApiVersionsRequest::version(3);
    for (len, expected) in [(8, Ok(())), (9, Err(Why::TrailingBytes))] {
        // No error, no APIs, no throttling; tag 1, which is the epoch of the features.
        let mut bytes = vec![0, 0, 1, 0, 0, 0, 0, 1, 1, len];
        bytes.resize(bytes.len() + usize::from(len), 0);
        let read = decode::<ApiVersionsResponse<'_>>(&bytes, version).map(drop);
        assert_eq!(read.map_err(|err| err.why), expected);
    }
}

#[test]
fn null_and_empty_stay_apart() {
    for number in MetadataRequest::VERSIONS {
        let version = MetadataRequest::version(number);
        for topics in [None, Some(Array::default())] {
            let request = MetadataRequest {
                topics,
                ..Default::default()
            };
            let bytes = encode(&request, version);
            assert_eq!(decode(&bytes, version), Ok(request));
        }
        for rack in [None, Some("")] {
            let broker = MetadataResponseBroker {
                rack,
                ..Default::default()
            };
            let bytes = encode(&broker, version);
            assert_eq!(decode(&bytes, version), Ok(broker));
        }
    }
    for number in FetchRequest::VERSIONS {
        let version = FetchRequest::version(number);
        for records in [None, Some(Records::Slice(b""))] {
            let partition = FetchResponsePartition {
                records,
                ..Default::default()
            };
            let bytes = encode(&partition, version);
            assert_eq!(decode(&bytes, version), Ok(partition));
        }
    }
}

#[test]
fn null_where_a_value_must_be_is_refused() {
    let cases: [(&str, i16, &[u8]); 4] = [
        (
            "MetadataResponse.brokers",
            3,
            &[0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff],
        ),
        ("MetadataResponse.brokers", 9, &[0, 0, 0, 0, 0]),
        (
            "MetadataResponseBroker.host",
            3,
            &[
                0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0, 0, 0,
            ],
        ),
        (
            "MetadataResponseBroker.host",
            9,
            &[0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0],
        ),
    ];
    for (what, number, bytes) in cases {
        let version = MetadataRequest::version(number);
        let err = decode::<MetadataResponse<'_>>(bytes, version).unwrap_err();
        assert_eq!(
            (err.what, err.why),
            (what, Why::UnexpectedNull),
            "v{number}"
        );
    }
}

#[test]
fn the_response_header_of_api_versions_has_no_tagged_fields() {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UNSUPPORTED_VERSION,
        ..Default::default()
    };
    for number in ApiVersionsRequest::VERSIONS {
        let frame = encode_response::<ApiVersionsRequest<'_>>(&response, number, 7)
            .unwrap()
            .concat();
        let body = &frame[PREFIX_LEN..];
        assert_eq!(body[..6], [0, 0, 0, 7, 0, 35], "v{number}");
        let decoded = decode_response::<ApiVersionsRequest<'_>>(body, number);
        assert_eq!(decoded.as_ref(), Ok(&response), "v{number}");
    }
}

#[test]
fn gathered_records_are_the_bytes_they_refer_to() {
    let payload = bytes::Bytes::from_static(b"a batch of records");
    for number in ProduceRequest::VERSIONS {
        let version = ProduceRequest::version(number);
        let request = |records| ProduceRequest {
            topic_data: [ProduceRequestTopic {
                partition_data: [ProduceRequestPartition {
                    index: 5,
                    records: Some(records),
                }]
                .into(),
                ..Default::default()
            }]
            .into(),
            ..Default::default()
        };
        let mut writer = Writer::new();
        request(Records::Gathered(vec![payload.clone()])).write(&mut writer, version);
        let pieces = writer.finish().unwrap();
        assert!(
            pieces
                .iter()
                .any(|piece| piece.as_ptr() == payload.as_ptr()),
            "v{number} copies the payload"
        );
        let copied = encode(&request(Records::Slice(&payload)), version);
        assert_eq!(pieces.concat(), copied, "v{number}");
    }
}

#[test]
fn mutated_messages_never_panic() {
    for_each_message(4, |table, version, bytes| {
        let mut source = Source::new(bytes.len() as u64);
        for _ in 0..100 {
            let mut mutated = bytes.to_vec();
            for _ in 0..=source.below(3) {
                mutate(&mut mutated, &mut source);
            }
            // What is accepted can be written again: decoding made a whole value.
            let _ = (table.recode)(&mutated, version, version);
        }
    });
}

/// Overwrites, cuts or doubles a part.
fn mutate(bytes: &mut Vec<u8>, source: &mut Source) {
    if bytes.is_empty() {
        return bytes.push(0xff);
    }
    let at = source.below(bytes.len());
    match source.below(4) {
        0 => bytes[at] = [0x00, 0x01, 0x7f, 0x80, 0xff][source.below(5)],
        1 => bytes[at] ^= 1 << source.below(8),
        2 => bytes.truncate(at),
        _ => bytes.extend_from_within(at..),
    }
}

#[test]
fn decoding_and_walking_a_message_allocates_nothing() {
    for_each_message(3, |table, version, bytes| {
        let heap = allocation_counter::measure(|| (table.walk)(bytes, version).unwrap());
        assert_eq!(heap.count_total, 0, "{} v{}", table.name, version.number);
    });
}

#[test]
fn lying_array_counts_allocate_nothing() {
    let mut accepted = 0;
    for_each_message(1, |table, version, bytes| {
        let mut source = Source::new(1);
        for _ in 0..400 {
            let mut lying = bytes[..source.below(bytes.len().min(60) + 1)].to_vec();
            for _ in 0..2 {
                let count = 1_000 / (1 + source.below(12));
                let count = u32::try_from(count).unwrap();
                let mut claim = Writer::new();
                if version.flexible {
                    claim.unsigned_varint(count);
                } else {
                    claim.bytes(&count.to_be_bytes());
                }
                lying.extend(claim.finish_contiguous().unwrap());
                lying.extend([0; 16].iter().take(source.below(17)));
            }
            lying.extend([0; 1_000]);
            let heap = allocation_counter::measure(|| {
                accepted += u32::from((table.walk)(&lying, version).is_ok());
            });
            let what = (table.name, version.number);
            assert_eq!(heap.count_total, 0, "{what:?}: {lying:?}");
        }
    });
    assert!(
        accepted > 1_000,
        "lies that pass as long messages: {accepted}"
    );
}

#[test]
fn four_million_of_the_smallest_elements_are_decoded_in_linear_time() {
    // Anything but linear would not end.
    const COUNT: u32 = 4_000_000;
    let version = MetadataRequest::version(12);
    let partition = MetadataResponsePartition {
        replica_nodes: (0..COUNT).map(|_| 0).collect(),
        ..Default::default()
    };
    let topic = MetadataResponseTopic {
        partitions: [partition].into(),
        ..Default::default()
    };
    let response = MetadataResponse {
        topics: [topic].into(),
        ..Default::default()
    };
    let bytes = encode(&response, version);
    let read: MetadataResponse<'_> = decode(&bytes, version).unwrap();
    let partitions = read.topics.iter().flat_map(|topic| topic.partitions);
    let replicas: u64 = partitions
        .map(|it| u64::try_from(it.replica_nodes.iter().count()).unwrap())
        .sum();
    assert_eq!(replicas, u64::from(COUNT));
}

#[test]
fn a_nine_byte_metadata_frame_allocates_nothing() {
    // A throttle time, then as many brokers as a compact count can claim.
    let frame = [0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f];
    let heap = allocation_counter::measure(|| {
        let version = MetadataRequest::version(9);
        let err = decode::<MetadataResponse<'_>>(&frame, version).unwrap_err();
        assert_eq!(err.why, Why::Truncated);
        assert_eq!(err.what, "MetadataResponse.brokers");
    });
    assert_eq!(heap.count_total, 0);
}
