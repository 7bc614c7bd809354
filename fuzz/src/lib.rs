//! What must hold for any bytes at all; `fuzz_targets` has a line for each function here.
//!
//! `cargo +nightly fuzz run <name> -- -max_total_time=60` runs one of them; `config` gets further
//! when it begins with real files: `cargo +nightly fuzz run config corpus/config ../tests/fixtures`.

use kmirror::config::{Config, ParseOptions};
use kmirror_protocol::{
    Request, frame,
    header::RequestHeader,
    messages::*,
    records::{
        Attributes, Batch, BatchHeader, BatchProducer, Compression, HEADER_LEN, LogEntry, batches,
        check_outgoing, check_records, decompress as unfold, records,
    },
    wire::Reader,
};

/// The most that one input may decompress to, in bytes.
const OUTPUT_LEN_MAX: usize = 1 << 20;

/// The largest frame, in bytes.
const FRAME_LEN_MAX: usize = 1 << 20;

/// A length prefix is accepted only within its limit, and any header is read or refused.
pub fn frame(bytes: &[u8]) {
    let Some((prefix, body)) = bytes.split_first_chunk() else {
        return;
    };
    if let Ok(len) = frame::body_len(*prefix, FRAME_LEN_MAX) {
        assert!(len <= FRAME_LEN_MAX, "{len}");
    }
    let _ = frame::correlation_id(body);
    let mut reader = Reader::new(body);
    if RequestHeader::read(&mut reader).is_ok() {
        let _ = reader.skip_tagged_fields();
    }
}

/// Any bytes are an answer or refused; an answer encodes to bytes that mean the same.
///
/// The first byte says which API, the second which version.
pub fn response_decode(bytes: &[u8]) {
    let [api, version, body @ ..] = bytes else {
        return;
    };
    if let Some(decode) = DECODERS.get(usize::from(*api) % DECODERS.len()) {
        decode(*version, body);
    }
}

macro_rules! decoders {
    ($($request:ident $(<$lt:lifetime>)? => $response:ident,)+) => {
        const DECODERS: &[fn(u8, &[u8])] = &[$(decode_answer::<$request $(<$lt>)?>,)+];
    };
}

kmirror_protocol::for_each_api!(decoders);

fn decode_answer<R: Request>(choice: u8, body: &[u8]) {
    let count = R::VERSIONS.end() - R::VERSIONS.start() + 1;
    let version = R::VERSIONS.start() + i16::from(choice) % count;
    let Ok(answer) = frame::decode_response::<R>(body, version) else {
        return;
    };
    let encode = |answer: &R::Response<'_>| {
        let pieces = frame::encode_response::<R>(answer, version, 0);
        pieces.expect("what fitted a frame fits again").concat()
    };
    let encoded = encode(&answer);
    let again = frame::decode_response::<R>(&encoded[frame::PREFIX_LEN..], version);
    let again = again.expect("what this crate writes, it reads");
    assert_eq!(encode(&again), encoded, "{} v{version}", R::KEY);
}

/// A partition's records are walked to the end or refused, within the cap on decompression.
pub fn record_batch(bytes: &[u8]) {
    let mut entries = batches(bytes);
    for entry in &mut entries {
        let Ok(LogEntry::Batch(Batch { header, payload })) = entry else {
            continue;
        };
        let _ = check_outgoing(&header, payload.len());
        let _ = check_records(&header, payload, OUTPUT_LEN_MAX);
        walk(&header, payload);
    }
    assert!(entries.incomplete_len() <= bytes.len());
}

fn walk(header: &BatchHeader, payload: &[u8]) {
    let Ok(codec) = header.attributes.compression() else {
        return;
    };
    let Ok(plain) = unfold(codec, payload, OUTPUT_LEN_MAX) else {
        return;
    };
    for record in records(&plain, header.record_count).map_while(Result::ok) {
        let _ = (record.offset(header), record.timestamp(header));
        assert!(record.headers.iter().count() <= plain.len());
    }
}

/// A batch readdressed without reading its payload is what recomputing it whole gives, if its own
/// checksum was right, and never carries a flag; if it was wrong, it stays wrong.
///
/// The first bytes are the producer's identity, then come a header and its payload.
pub fn passthrough(bytes: &[u8]) {
    let Some((identity, batch)) = bytes.split_first_chunk::<14>() else {
        return;
    };
    let Ok(mut header) = BatchHeader::parse(batch) else {
        return;
    };
    let payload = &batch[HEADER_LEN..];
    let Ok(payload_len) = i32::try_from(payload.len()) else {
        return;
    };
    header.batch_length = payload_len + 49;
    let [id @ .., _, _, _, _, _, _] = *identity;
    let [.., a, b, c, d, e, f] = *identity;
    let producer = BatchProducer {
        producer_id: i64::from_be_bytes(id),
        producer_epoch: i16::from_be_bytes([a, b]),
        base_sequence: i32::from_be_bytes([c, d, e, f]),
    };

    let damaged = header.readdressed(producer);
    assert_eq!(damaged.verify_crc(payload), header.verify_crc(payload));

    header.crc = header.computed_crc(payload);
    let sent = header.readdressed(producer);
    assert_eq!(sent.crc, sent.computed_crc(payload));
    assert_eq!(sent.producer(), producer);
    assert_eq!((sent.base_offset, sent.partition_leader_epoch), (0, -1));
    assert_eq!(sent.attributes.0 & !Attributes::CODEC, 0);
    assert_eq!(BatchHeader::parse(&sent.encode()), Ok(sent));
    assert!(sent.has_same_payload(&header));
}

/// No codec gives more than it may, whatever the payload claims; the first byte selects the codec.
pub fn decompress(bytes: &[u8]) {
    let Some((codec, payload)) = bytes.split_first() else {
        return;
    };
    let Ok(codec) = Compression::from_id(i16::from(codec % 5)) else {
        unreachable!("ids 0 to 4 are assigned");
    };
    if let Ok(plain) = unfold(codec, payload, OUTPUT_LEN_MAX) {
        assert!(plain.len() <= OUTPUT_LEN_MAX, "{}", plain.len());
    }
}

/// Any file is a configuration or a list of mistakes, each of one line.
pub fn config(bytes: &[u8]) {
    match Config::parse("mm2.properties", bytes, &ParseOptions::default()) {
        Ok((config, _)) => assert!(!config.flows.is_empty()),
        Err(mistakes) => {
            assert!(!mistakes.errors.is_empty());
            for finding in mistakes.findings() {
                assert_eq!(finding.to_string().lines().count(), 1, "{finding}");
            }
        }
    }
}
