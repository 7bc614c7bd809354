//! The header of a record batch: 61 bytes that say all a relay needs to know.

use super::{CompressionError, HEADER_LEN, compression::Compression, crc};
use crate::wire::{Malformed, Reader, Why};

/// How many bytes precede what `batch_length` counts: base offset and the length itself.
pub const LOG_OVERHEAD: usize = 12;

/// The format of record batches since Kafka 0.11 (KIP-98).
pub const MAGIC: i8 = 2;

/// What `batch_length` is for a batch without payload, and so its least value.
const BATCH_LENGTH_MIN: i32 = 49;

/// The header of a record batch; fields are named and ordered as on the wire.
///
/// Reading checks only what later arithmetic relies on. The checksum is checked by
/// [`BatchHeader::verify_crc`], the rules of a produce request by
/// [`check_outgoing`](super::check_outgoing).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record, were it still there: compaction keeps the field.
    pub base_offset: i64,
    /// Bytes after this field: the rest of the header and the payload.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch; -1 when produced. Outside the checksum.
    pub partition_leader_epoch: i32,
    /// Always [`MAGIC`] after [`BatchHeader::parse`].
    pub magic: i8,
    /// CRC-32C of everything after this field.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Offset of the last record minus `base_offset`; kept by compaction.
    pub last_offset_delta: i32,
    /// What the records' timestamp deltas add to, in milliseconds; the delete horizon if
    /// [`Attributes::has_delete_horizon`], and still what deltas add to.
    pub base_timestamp: i64,
    /// Largest timestamp of the records, or the append time of all; -1 when there is none.
    pub max_timestamp: i64,
    /// Id of the idempotent producer, or -1.
    pub producer_id: i64,
    /// Epoch of the idempotent producer, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
    /// How many records the payload holds; fewer than the offsets span after compaction.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header that `bytes` begins with; more bytes may follow.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when fewer than [`HEADER_LEN`] bytes are given, the magic is not 2, the
    /// length is too short for a header, or offsets or counts are negative or overflow.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let header =
            Self::read(&mut Reader::new(bytes)).map_err(|fault| fault.at("RecordBatch"))?;
        header.ensure_sane()?;
        Ok(header)
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, Malformed> {
        Ok(Self {
            base_offset: i64::from_be_bytes(reader.array()?),
            batch_length: i32::from_be_bytes(reader.array()?),
            partition_leader_epoch: i32::from_be_bytes(reader.array()?),
            magic: i8::from_be_bytes(reader.array()?),
            crc: u32::from_be_bytes(reader.array()?),
            attributes: Attributes(i16::from_be_bytes(reader.array()?)),
            last_offset_delta: i32::from_be_bytes(reader.array()?),
            base_timestamp: i64::from_be_bytes(reader.array()?),
            max_timestamp: i64::from_be_bytes(reader.array()?),
            producer_id: i64::from_be_bytes(reader.array()?),
            producer_epoch: i16::from_be_bytes(reader.array()?),
            base_sequence: i32::from_be_bytes(reader.array()?),
            record_count: i32::from_be_bytes(reader.array()?),
        })
    }

    fn ensure_sane(&self) -> Result<(), Malformed> {
        let out_of_range = |what| Err(Malformed::new(Why::OutOfRange).at(what));
        if self.magic != MAGIC {
            return out_of_range("RecordBatch.magic");
        }
        if self.batch_length < BATCH_LENGTH_MIN {
            return out_of_range("RecordBatch.batch_length");
        }
        if self.base_offset < 0 || self.base_offset > i64::MAX - (1 << 32) {
            return out_of_range("RecordBatch.base_offset");
        }
        if self.last_offset_delta < 0 {
            return out_of_range("RecordBatch.last_offset_delta");
        }
        if self.record_count < 0 {
            return out_of_range("RecordBatch.record_count");
        }
        Ok(())
    }

    /// The header as it goes on the wire.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        let mut rest = out.as_mut_slice();
        put(&mut rest, &self.base_offset.to_be_bytes());
        put(&mut rest, &self.batch_length.to_be_bytes());
        put(&mut rest, &self.partition_leader_epoch.to_be_bytes());
        put(&mut rest, &self.magic.to_be_bytes());
        put(&mut rest, &self.crc.to_be_bytes());
        put(&mut rest, &self.checked_part());
        out
    }

    /// The part of the header that the checksum covers.
    fn checked_part(&self) -> [u8; crc::CHECKED_HEADER_LEN] {
        let mut out = [0; crc::CHECKED_HEADER_LEN];
        let mut rest = out.as_mut_slice();
        put(&mut rest, &self.attributes.0.to_be_bytes());
        put(&mut rest, &self.last_offset_delta.to_be_bytes());
        put(&mut rest, &self.base_timestamp.to_be_bytes());
        put(&mut rest, &self.max_timestamp.to_be_bytes());
        put(&mut rest, &self.producer_id.to_be_bytes());
        put(&mut rest, &self.producer_epoch.to_be_bytes());
        put(&mut rest, &self.base_sequence.to_be_bytes());
        put(&mut rest, &self.record_count.to_be_bytes());
        out
    }

    /// How many bytes the batch takes: header and payload. What `max.message.bytes` limits.
    #[must_use]
    pub fn size(&self) -> usize {
        usize::try_from(self.batch_length)
            .unwrap_or_default()
            .saturating_add(LOG_OVERHEAD)
    }

    /// How many bytes follow the header.
    #[must_use]
    pub fn payload_len(&self) -> usize {
        self.size().saturating_sub(HEADER_LEN)
    }

    /// The last offset that the batch covers, whether or not its record is still there.
    #[must_use]
    pub fn last_offset(&self) -> i64 {
        self.base_offset
            .saturating_add(i64::from(self.last_offset_delta))
    }

    /// Where to fetch next after this batch.
    #[must_use]
    pub fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// The sequence number of the last record; -1 when the batch has none.
    ///
    /// Counts offsets, not records, and 2^31-1 is followed by 0
    /// (`DefaultRecordBatch.incrementSequence`).
    #[must_use]
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        sequence_after(self.base_sequence, self.last_offset_delta)
    }

    /// The producer id, epoch and first sequence number that the batch carries.
    #[must_use]
    pub const fn producer(&self) -> BatchProducer {
        BatchProducer {
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
        }
    }

    /// From when on the cleaner may remove tombstones and markers, in milliseconds (KIP-534).
    ///
    /// Stands where the base timestamp does, and the records' deltas count from it.
    #[must_use]
    pub fn delete_horizon(&self) -> Option<i64> {
        let has_one = self.attributes.has_delete_horizon();
        has_one.then_some(self.base_timestamp)
    }

    /// Whether `payload` and this header are what was checksummed.
    #[must_use]
    pub fn verify_crc(&self, payload: &[u8]) -> bool {
        self.computed_crc(payload) == self.crc
    }

    /// The checksum of this header and `payload`, whatever the header claims.
    ///
    /// For batches built here. A batch that is passed on must keep the evidence of damage: see
    /// [`BatchHeader::with_crc_from`].
    #[must_use]
    pub fn computed_crc(&self, payload: &[u8]) -> u32 {
        crc::checksum(&self.checked_part(), payload)
    }

    /// The header under which the same payload is produced to another cluster.
    ///
    /// Base offset 0 and leader epoch -1, as a broker expects of a client; of the attributes only
    /// the codec (the other bits are refused or, worse, stored and obeyed); `producer` in place
    /// of the source's. The checksum is adjusted, as in [`BatchHeader::with_crc_from`].
    #[must_use]
    pub fn readdressed(&self, producer: BatchProducer) -> Self {
        Self {
            base_offset: 0,
            partition_leader_epoch: -1,
            attributes: self.attributes.codec_only(),
            producer_id: producer.producer_id,
            producer_epoch: producer.producer_epoch,
            base_sequence: producer.base_sequence,
            ..*self
        }
        .with_crc_from(self)
    }

    /// The same as part of a transaction of `producer`, which must be a transactional one.
    #[must_use]
    pub fn readdressed_within_transaction(&self, producer: BatchProducer) -> Self {
        let plain = self.readdressed(producer);
        let attributes = Attributes(plain.attributes.0 | Attributes::TRANSACTIONAL);
        Self {
            attributes,
            ..plain
        }
        .with_crc_from(&plain)
    }

    /// This header with the checksum it needs before the payload that `original` stands before.
    ///
    /// Adjusts the original's checksum for the changed header bytes and never reads the payload:
    /// damage that the original would have revealed is still revealed.
    #[must_use]
    pub fn with_crc_from(mut self, original: &Self) -> Self {
        let len = u32::try_from(original.payload_len()).unwrap_or_default();
        let change = crc::change(&original.checked_part(), &self.checked_part(), len);
        self.crc = original.crc ^ change;
        self
    }

    /// Whether the two checksums say that the payloads are equal (32 bits of evidence), whatever
    /// else differs in the headers.
    #[must_use]
    pub fn has_same_payload(&self, other: &Self) -> bool {
        self.batch_length == other.batch_length && self.with_crc_from(other).crc == self.crc
    }
}

/// Moves `bytes` into the front of `rest`.
fn put(rest: &mut &mut [u8], bytes: &[u8]) {
    let (front, back) = std::mem::take(rest)
        .split_at_mut_checked(bytes.len())
        .expect("the fields of a header add up to its length");
    front.copy_from_slice(bytes);
    *rest = back;
}

/// The sequence number `increment` after `sequence`; 2^31-1 is followed by 0.
///
/// Both must be at least 0. Source: `DefaultRecordBatch.incrementSequence`.
#[must_use]
pub const fn sequence_after(sequence: i32, increment: i32) -> i32 {
    sequence.wrapping_add(increment) & i32::MAX
}

/// Who produced a batch, and its place in that producer's sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchProducer {
    /// Id of the idempotent producer, or -1.
    pub producer_id: i64,
    /// Epoch of the idempotent producer, or -1.
    pub producer_epoch: i16,
    /// Sequence number of the first record, or -1.
    pub base_sequence: i32,
}

impl BatchProducer {
    /// A producer that is not idempotent.
    pub const NONE: Self = Self {
        producer_id: -1,
        producer_epoch: -1,
        base_sequence: -1,
    };
}

/// The attribute bits of a batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    /// Bits 0 to 2: the codec.
    pub const CODEC: i16 = 0x07;
    /// Bit 3: all records have the batch's `max_timestamp`.
    pub const LOG_APPEND_TIME: i16 = 1 << 3;
    /// Bit 4: part of a transaction.
    pub const TRANSACTIONAL: i16 = 1 << 4;
    /// Bit 5: control records, written by brokers only.
    pub const CONTROL: i16 = 1 << 5;
    /// Bit 6: the base timestamp is when tombstones may go (KIP-534).
    pub const DELETE_HORIZON: i16 = 1 << 6;

    /// The codec of the payload.
    ///
    /// # Errors
    ///
    /// [`CompressionError::UnknownCodec`] names an id that Kafka has not assigned.
    pub fn compression(self) -> Result<Compression, CompressionError> {
        Compression::from_id(self.0 & Self::CODEC)
    }

    /// Only the codec; every flag cleared.
    #[must_use]
    pub const fn codec_only(self) -> Self {
        Self(self.0 & Self::CODEC)
    }

    /// Whether the broker stamped the records, all with the batch's `max_timestamp`.
    #[must_use]
    pub const fn is_log_append_time(self) -> bool {
        self.0 & Self::LOG_APPEND_TIME != 0
    }

    /// Whether the batch is part of a transaction.
    #[must_use]
    pub const fn is_transactional(self) -> bool {
        self.0 & Self::TRANSACTIONAL != 0
    }

    /// Whether the records are control records.
    #[must_use]
    pub const fn is_control(self) -> bool {
        self.0 & Self::CONTROL != 0
    }

    /// Whether the base timestamp is a delete horizon.
    #[must_use]
    pub const fn has_delete_horizon(self) -> bool {
        self.0 & Self::DELETE_HORIZON != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: BatchHeader = BatchHeader {
        base_offset: 0x0102_0304_0506_0708,
        batch_length: 1000,
        partition_leader_epoch: 0x1112_1314,
        magic: MAGIC,
        crc: 0xfffe_fdfc,
        attributes: Attributes(0x7f),
        last_offset_delta: 0x2122_2324,
        base_timestamp: 0x3132_3334_3536_3738,
        max_timestamp: 0x4142_4344_4546_4748,
        producer_id: 0x5152_5354_5556_5758,
        producer_epoch: 0x6162,
        base_sequence: 0x7172_7374,
        record_count: 0x0a0b_0c0d,
    };

    #[test]
    fn every_field_lies_where_the_table_says() {
        #[rustfmt::skip]
        let expected = [
            1, 2, 3, 4, 5, 6, 7, 8,
            0, 0, 0x03, 0xe8,
            0x11, 0x12, 0x13, 0x14,
            2,
            0xff, 0xfe, 0xfd, 0xfc,
            0, 0x7f,
            0x21, 0x22, 0x23, 0x24,
            0x31, 0x32, 0x33, 0x34, 0x35, 0x36, 0x37, 0x38,
            0x41, 0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48,
            0x51, 0x52, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58,
            0x61, 0x62,
            0x71, 0x72, 0x73, 0x74,
            0x0a, 0x0b, 0x0c, 0x0d,
        ];
        assert_eq!(HEADER.encode(), expected);
        assert_eq!(BatchHeader::parse(&expected), Ok(HEADER));
        for len in 0..HEADER_LEN {
            let cut = expected.get(..len).unwrap();
            assert_eq!(BatchHeader::parse(cut).unwrap_err().why, Why::Truncated);
        }
    }

    #[test]
    fn what_later_arithmetic_could_not_bear_is_refused() {
        #[rustfmt::skip]
        let cases = [
            ("RecordBatch.magic", BatchHeader { magic: 1, ..HEADER }),
            ("RecordBatch.magic", BatchHeader { magic: 3, ..HEADER }),
            ("RecordBatch.batch_length", BatchHeader { batch_length: 48, ..HEADER }),
            ("RecordBatch.batch_length", BatchHeader { batch_length: -1, ..HEADER }),
            ("RecordBatch.base_offset", BatchHeader { base_offset: -1, ..HEADER }),
            ("RecordBatch.base_offset", BatchHeader { base_offset: i64::MAX, ..HEADER }),
            ("RecordBatch.last_offset_delta", BatchHeader { last_offset_delta: -1, ..HEADER }),
            ("RecordBatch.record_count", BatchHeader { record_count: -1, ..HEADER }),
        ];
        for (what, header) in cases {
            let fault = BatchHeader::parse(&header.encode()).unwrap_err();
            assert_eq!(fault, Malformed::new(Why::OutOfRange).at(what));
        }
    }

    #[test]
    fn sizes_and_offsets_follow_from_the_fields() {
        let header = BatchHeader {
            base_offset: 100,
            last_offset_delta: 9,
            ..HEADER
        };
        assert_eq!(header.size(), 1012);
        assert_eq!(header.payload_len(), 951);
        assert_eq!(header.last_offset(), 109);
        assert_eq!(header.next_offset(), 110);
    }

    #[test]
    fn sequences_wrap_from_the_largest_to_zero() {
        for (base_sequence, last_offset_delta, last) in [
            (-1, 9, -1),
            (0, 0, 0),
            (5, 9, 14),
            (i32::MAX - 1, 1, i32::MAX),
            (i32::MAX, 0, i32::MAX),
            (i32::MAX, 1, 0),
            (i32::MAX - 3, 9, 5),
            (i32::MAX, i32::MAX, i32::MAX - 1),
        ] {
            let header = BatchHeader {
                base_sequence,
                last_offset_delta,
                ..HEADER
            };
            assert_eq!(header.last_sequence(), last, "{base_sequence}");
        }
    }

    #[test]
    fn readdressing_changes_only_what_it_must() {
        let producer = BatchProducer {
            producer_id: 7,
            producer_epoch: 8,
            base_sequence: 9,
        };
        let attributes = Attributes(-1);
        let source = BatchHeader {
            attributes,
            ..HEADER
        };
        let sent = source.readdressed(producer);
        let expected = BatchHeader {
            base_offset: 0,
            partition_leader_epoch: -1,
            attributes: Attributes(7),
            producer_id: 7,
            producer_epoch: 8,
            base_sequence: 9,
            crc: sent.crc,
            ..source
        };
        assert_eq!(sent, expected);
        assert_eq!(sent.producer(), producer);
        let within = source.readdressed_within_transaction(producer);
        let attributes = Attributes(7 | Attributes::TRANSACTIONAL);
        assert_eq!(
            within,
            BatchHeader {
                attributes,
                crc: within.crc,
                ..sent
            }
        );
        assert!(within.has_same_payload(&source));
    }

    #[test]
    fn flags_are_told_apart() {
        for (bits, expected) in [
            (0, [false; 4]),
            (Attributes::LOG_APPEND_TIME, [true, false, false, false]),
            (Attributes::TRANSACTIONAL, [false, true, false, false]),
            (Attributes::CONTROL, [false, false, true, false]),
            (Attributes::DELETE_HORIZON, [false, false, false, true]),
        ] {
            let attributes = Attributes(bits | 4);
            let flags = [
                attributes.is_log_append_time(),
                attributes.is_transactional(),
                attributes.is_control(),
                attributes.has_delete_horizon(),
            ];
            assert_eq!(flags, expected, "{bits:#x}");
            assert_eq!(attributes.compression().unwrap(), Compression::Zstd);
            assert_eq!(attributes.codec_only(), Attributes(4));
        }
    }
}
