//! Record batches as a broker could send them, whole or damaged.

use super::OUTPUT_LEN_MAX;
use crate::records::{
    Attributes, Batch, BatchBuilder, BatchHeader, BatchProducer, Compression, HEADER_LEN,
    LOG_OVERHEAD, LogEntry, Record, batches, check_outgoing, check_records, decompress, records,
};

/// A partition's log is walked to its end or refused, and every byte of it accounted for; a batch
/// whose records can be read is the same after it has been built anew.
pub fn record_batch(bytes: &[u8]) {
    let mut entries = batches(bytes);
    let mut walked = 0_usize;
    for entry in &mut entries {
        match entry {
            Ok(LogEntry::Batch(batch)) => {
                walked = walked.saturating_add(batch.header.size());
                walk(&batch);
            }
            Ok(LogEntry::Legacy(message)) => walked = walked.saturating_add(message.bytes.len()),
            Err(_) => {}
        }
    }
    assert_eq!(walked.saturating_add(entries.incomplete_len()), bytes.len());
}

fn walk(batch: &Batch<'_>) {
    let Batch { header, payload } = batch;
    assert_eq!(BatchHeader::parse(&header.encode()), Ok(*header));
    assert_eq!(
        header.verify_crc(payload),
        header.crc == header.computed_crc(payload)
    );
    let may_be_sent = check_outgoing(header, payload.len()).is_ok();
    let checked = check_records(header, payload, OUTPUT_LEN_MAX);
    let Ok(codec) = header.attributes.compression() else {
        assert!(!may_be_sent && checked.is_err());
        return;
    };
    let Ok(plain) = decompress(codec, payload, OUTPUT_LEN_MAX) else {
        assert!(checked.is_err());
        return;
    };
    let all: Result<Vec<_>, _> = records(&plain, header.record_count).collect();
    assert!(checked.is_err() || all.is_ok());
    if let Ok(all) = all {
        rebuild(header, &all);
    }
}

/// Builds a batch of the same records, not compressed, and compares each.
fn rebuild(header: &BatchHeader, all: &[Record<'_>]) {
    let mut builder = BatchBuilder::new(Compression::None).base_timestamp(header.base_timestamp);
    for record in all {
        let timestamp = record.producer_timestamp(header);
        builder
            .copy(record, timestamp)
            .expect("what fitted a batch fits another");
        let count = record.headers.iter().count();
        assert_eq!(u32::try_from(count), Ok(record.headers.count()));
    }
    let built = builder.build().expect("nothing is compressed");
    assert!(built.header.verify_crc(&built.payload));
    assert_eq!(built.header.base_timestamp, header.base_timestamp);
    let mut copies = records(&built.payload, built.header.record_count);
    for (record, offset_delta) in all.iter().zip(0..) {
        let expected = Record {
            offset_delta,
            ..*record
        };
        assert_eq!(copies.next(), Some(Ok(expected)));
    }
    assert_eq!(copies.next(), None);
}

/// A batch readdressed without reading its payload is what recomputing it whole gives, if its own
/// checksum was right, and carries no flag; if it was wrong, it stays wrong.
///
/// The first bytes are the producer's identity and which bit to damage; then come a header and
/// its payload.
pub fn passthrough(bytes: &[u8]) {
    let Some((choices, batch)) = bytes.split_first_chunk::<18>() else {
        return;
    };
    let (Ok(mut source), Some(payload)) = (BatchHeader::parse(batch), batch.get(HEADER_LEN..))
    else {
        return;
    };
    let Ok(batch_length) = i32::try_from(batch.len().saturating_sub(LOG_OVERHEAD)) else {
        return;
    };
    source.batch_length = batch_length;
    let (producer, bit) = producer(choices);

    let damaged = source.readdressed(producer);
    assert_eq!(damaged.verify_crc(payload), source.verify_crc(payload));

    source.crc = source.computed_crc(payload);
    let sent = source.readdressed(producer);
    assert_eq!(sent.crc, sent.computed_crc(payload));
    assert_eq!(sent.producer(), producer);
    assert_eq!((sent.base_offset, sent.partition_leader_epoch), (0, -1));
    assert_eq!(sent.attributes.0, source.attributes.0 & Attributes::CODEC);
    assert_eq!(BatchHeader::parse(&sent.encode()), Ok(sent));
    assert!(sent.has_same_payload(&source));
    let records_before = check_records(&source, payload, OUTPUT_LEN_MAX).ok();
    let records_after = check_records(&sent, payload, OUTPUT_LEN_MAX).ok();
    assert_eq!(records_before, records_after);
    ensure_damage_shows(&sent, payload, bit);
}

fn producer(choices: &[u8; 18]) -> (BatchProducer, usize) {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, bit @ ..] = *choices;
    let producer = BatchProducer {
        producer_id: i64::from_be_bytes([a, b, c, d, e, f, g, h]),
        producer_epoch: i16::from_be_bytes([i, j]),
        base_sequence: i32::from_be_bytes([k, l, m, n]),
    };
    (
        producer,
        usize::try_from(u32::from_be_bytes(bit)).unwrap_or_default(),
    )
}

/// Flips one bit of the payload: the adjusted checksum must reveal it as the original would.
fn ensure_damage_shows(sent: &BatchHeader, payload: &[u8], bit: usize) {
    let mut damaged = payload.to_vec();
    let at = (bit / 8).checked_rem(damaged.len()).unwrap_or_default();
    if let Some(byte) = damaged.get_mut(at) {
        *byte ^= 1 << (bit % 8);
        assert!(!sent.verify_crc(&damaged));
    }
}
