//! Record batches beside another implementation.

use super::OUTPUT_LEN_MAX;
use crate::{
    Version,
    generate::{Generate, Source},
    records::{
        BatchBuilder, BatchHeader, Compression, HEADER_LEN, Header, LOG_OVERHEAD, NewRecord,
        Record, check_records, decompress, records,
    },
};

/// A record as any implementation shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainRecord {
    /// The offset in the log.
    pub offset: i64,
    /// In milliseconds; -1 is none.
    pub timestamp: i64,
    /// The key; `None` is null.
    pub key: Option<Vec<u8>>,
    /// The value; `None` is null.
    pub value: Option<Vec<u8>>,
    /// The headers, in their order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// The records that another implementation reads of one batch.
pub type ReadBatch = fn(&[u8]) -> Result<Vec<PlainRecord>, String>;

/// A batch that this crate accepts, or builds, has the same records to `oracle`.
///
/// The first byte says whether the rest is a batch or chooses records, and for which codec. Length
/// and checksum are made right, since no fuzzer would find them.
pub fn records_differential(bytes: &[u8], oracle: ReadBatch) {
    let Some((&mode, rest)) = bytes.split_first() else {
        return;
    };
    let batch = if mode & 1 == 0 {
        mended(rest)
    } else {
        generated(mode >> 1, &mut Source::scripted(rest))
    };
    let Some((batch, ours)) = batch.and_then(|batch| plain_records(&batch).map(|all| (batch, all)))
    else {
        return;
    };
    let theirs = oracle(&batch).expect("what is accepted here is accepted there");
    assert_eq!(ours, theirs);
}

/// The batch with its length and checksum, unless it is compressed: decoders of other makes differ
/// in what damage they pass over, which is no matter of records.
fn mended(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut header = BatchHeader::parse(bytes).ok()?;
    let payload = bytes.get(HEADER_LEN..)?;
    if header.attributes.compression().ok()? != Compression::None {
        return None;
    }
    header.batch_length = i32::try_from(bytes.len().checked_sub(LOG_OVERHEAD)?).ok()?;
    header.crc = header.computed_crc(payload);
    Some([&header.encode(), payload].concat())
}

fn generated(codec: u8, source: &mut Source) -> Option<Vec<u8>> {
    let version = Version {
        number: 0,
        flexible: false,
    };
    let codec = Compression::from_id(i16::from(codec).checked_rem(5)?).ok()?;
    let mut builder = BatchBuilder::new(codec).appended_at(1_000, 1);
    for _ in 0..=source.below(8) {
        let headers = Vec::<Option<&[u8]>>::generate(source, version);
        let headers: Vec<_> = headers
            .into_iter()
            .zip([b"a", b"b", b"c"])
            .map(|(value, key)| Header { key, value })
            .collect();
        let record = NewRecord {
            timestamp: i64::from(i32::generate(source, version)),
            key: Generate::generate(source, version),
            value: Generate::generate(source, version),
            headers: &headers,
        };
        builder
            .push(&record)
            .expect("no generated value is too long");
    }
    let built = builder.build();
    Some(built.expect("the codec is compiled in").to_vec())
}

/// The records as this crate reads them; `None` if it refuses them or the other side could not
/// show them.
fn plain_records(batch: &[u8]) -> Option<Vec<PlainRecord>> {
    let header = BatchHeader::parse(batch).ok()?;
    let payload = batch.get(HEADER_LEN..)?;
    assert!(header.verify_crc(payload));
    check_records(&header, payload, OUTPUT_LEN_MAX).ok()?;
    let codec = header.attributes.compression().ok()?;
    let plain = decompress(codec, payload, OUTPUT_LEN_MAX).ok()?;
    let all = records(&plain, header.record_count);
    all.map(|record| plain_record(&header, &record.ok()?))
        .collect()
}

/// `None` for what the other side cannot show: header keys that are not text or occur twice,
/// sums of timestamps or sequence numbers that overflow.
fn plain_record(header: &BatchHeader, record: &Record<'_>) -> Option<PlainRecord> {
    header.base_timestamp.checked_add(record.timestamp_delta)?;
    header.base_sequence.checked_add(record.offset_delta)?;
    let mut headers = Vec::new();
    for header in record.headers {
        let key = header.key_str()?.to_owned();
        if headers.iter().any(|(other, _)| *other == key) {
            return None;
        }
        headers.push((key, header.value.map(<[u8]>::to_vec)));
    }
    Some(PlainRecord {
        offset: record.offset(header),
        timestamp: record.producer_timestamp(header),
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers,
    })
}
