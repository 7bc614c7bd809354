//! Writes records to a small compacted topic, each to the partition of its key.
//!
//! Writing a record twice does no harm there, so nothing here is idempotent.

use std::{collections::BTreeMap, time::Duration};

use kmirror_protocol::{
    messages::{
        ProduceRequest, ProduceResponse,
        produce::{ProduceRequestPartition, ProduceRequestTopic},
    },
    records::{
        BatchBuilder, BatchProducer, BuildError, BuiltBatch, Compression, NewRecord, sequence_after,
    },
    wire::Records,
};

use super::{Question, millis, names::BY_NAME_MAX, refusal, transactions::produce_version_max};
use crate::{
    cluster::Metadata,
    flow::{Failure, PositionsInTransaction},
    offsets::{murmur2, source_offsets::StoredRecord},
};

/// Bytes of records after which a batch is full; well below the default of `max.message.bytes`.
const BATCH_BYTES: usize = 512 << 10;

/// One batch for each of some partitions.
pub type Round = BTreeMap<i32, BuiltBatch>;

/// Packs records into batches, each record into the partition of its key or of what it is ordered
/// by, in their order. What does not fit into one batch of a partition is left to the next round.
///
/// Within a transaction they go on with its producer's sequences.
///
/// Keys choose partitions as Kafka's own producer lets them; `timestamp` is the time of writing in
/// milliseconds since 1970, with which Connect stamps its records too.
///
/// # Errors
///
/// [`Failure::Unsupported`] when a record is too large for a batch.
pub fn rounds(
    partition_count: i32,
    records: &[StoredRecord],
    timestamp: i64,
    within: Option<&PositionsInTransaction>,
) -> Result<Vec<Round>, Failure> {
    let mut by_partition: BTreeMap<i32, Vec<&StoredRecord>> = BTreeMap::new();
    for record in records {
        let chosen_by = record.ordered_by.as_ref().unwrap_or(&record.key);
        let partition = murmur2::partition_of(chosen_by, partition_count);
        by_partition.entry(partition).or_default().push(record);
    }
    let mut rounds: Vec<Round> = Vec::new();
    for (partition, records) in by_partition {
        let batches = batches_of(&records, timestamp);
        let mut batches = batches.map_err(|error| Failure::Unsupported(error.to_string()))?;
        if let Some(within) = within {
            enter(&mut batches, partition, within);
        }
        for (number, batch) in batches.into_iter().enumerate() {
            match rounds.get_mut(number) {
                Some(round) => drop(round.insert(partition, batch)),
                None => rounds.push(BTreeMap::from([(partition, batch)])),
            }
        }
    }
    Ok(rounds)
}

/// Makes the batches of a partition part of a transaction.
fn enter(batches: &mut [BuiltBatch], partition: i32, within: &PositionsInTransaction) {
    let next_sequence = within.next_sequences.get(&partition);
    let mut base_sequence = next_sequence.copied().unwrap_or(0);
    for batch in batches {
        batch.header = batch.header.readdressed_within_transaction(BatchProducer {
            producer_id: within.producer.producer_id,
            producer_epoch: within.producer.epoch,
            base_sequence,
        });
        base_sequence = sequence_after(base_sequence, batch.header.record_count);
    }
}

fn batches_of(records: &[&StoredRecord], timestamp: i64) -> Result<Vec<BuiltBatch>, BuildError> {
    let mut batches = Vec::new();
    let mut builder = BatchBuilder::new(Compression::None);
    for record in records {
        if builder.uncompressed_size() >= BATCH_BYTES {
            batches.push(builder.build()?);
            builder = BatchBuilder::new(Compression::None);
        }
        builder.push(&NewRecord {
            timestamp,
            key: Some(&record.key),
            value: record.value.as_deref(),
            headers: &[],
        })?;
    }
    batches.push(builder.build()?);
    Ok(batches)
}

/// Parts a round by the leaders of its partitions.
///
/// # Errors
///
/// `NoAnswer` while a partition has no leader.
pub fn by_leader(
    metadata: &Metadata,
    topic: &str,
    round: Round,
) -> Result<BTreeMap<i32, Round>, Failure> {
    let mut by_node: BTreeMap<i32, Round> = BTreeMap::new();
    for (index, batch) in round {
        let leader = metadata
            .leader(topic, index)
            .ok_or_else(|| Failure::NoAnswer(format!("{topic}-{index} has no leader")))?;
        by_node.entry(leader.node).or_default().insert(index, batch);
    }
    Ok(by_node)
}

/// Appends the batches of partitions that one broker leads, and waits for all replicas in sync.
#[must_use]
pub fn produce<'a>(
    topic: &'a str,
    timeout: Duration,
    round: &Round,
    within: Option<&'a PositionsInTransaction>,
) -> Question<ProduceRequest<'a>> {
    let partitions = round.iter();
    let partitions = partitions.map(|(index, batch)| ProduceRequestPartition {
        index: *index,
        records: Some(Records::Batch {
            header: batch.header.encode(),
            payload: batch.payload.clone(),
        }),
    });
    let transaction = within.map(|within| &within.transaction);
    let request = ProduceRequest {
        transactional_id: transaction.map(|transaction| &*transaction.transactional_id),
        acks: -1,
        timeout_ms: millis(timeout),
        topic_data: vec![ProduceRequestTopic {
            name: topic,
            partition_data: partitions.collect(),
            ..ProduceRequestTopic::default()
        }]
        .into(),
    };
    Question {
        version_max: Some(BY_NAME_MAX.min(produce_version_max(transaction))),
        ..Question::from(request)
    }
}

/// The offset of the last record of each batch.
///
/// # Errors
///
/// The first refusal, or that the answer leaves a batch out; others may have been appended.
pub fn appended(
    response: &ProduceResponse<'_>,
    round: &Round,
) -> Result<BTreeMap<i32, i64>, Failure> {
    let mut last_offsets = BTreeMap::new();
    let partitions = response.responses.iter();
    for partition in partitions.flat_map(|topic| topic.partition_responses) {
        refusal(partition.error_code, partition.error_message)?;
        if let Some(batch) = round.get(&partition.index) {
            let more = i64::from(batch.header.last_offset_delta);
            let last_offset = partition.base_offset.saturating_add(more);
            last_offsets.insert(partition.index, last_offset);
        }
    }
    if last_offsets.len() < round.len() {
        let words = "the broker left a partition out of its answer";
        return Err(Failure::Malformed(String::from(words)));
    }
    Ok(last_offsets)
}

#[cfg(test)]
mod tests {
    use kmirror_protocol::records::records;

    use super::*;

    fn record(key: &str, len: usize) -> StoredRecord {
        StoredRecord {
            key: key.as_bytes().to_vec(),
            value: Some(vec![7; len]),
            ordered_by: None,
        }
    }

    #[test]
    fn what_does_not_fit_goes_in_later_rounds_and_keeps_its_order() {
        // "a" and "b" share a partition of one; each fills half a batch.
        let written = ["a", "b", "a", "b", "a"].map(|key| record(key, BATCH_BYTES / 2));
        let rounds = rounds(1, &written, 5, None).unwrap();
        let mut read = Vec::new();
        for round in &rounds {
            let batch = &round[&0];
            for record in records(&batch.payload, batch.header.record_count) {
                let record = record.unwrap();
                assert_eq!(record.timestamp(&batch.header), 5);
                read.push(record.key.unwrap().to_vec());
            }
        }
        assert_eq!(rounds.len(), 3);
        let keys = written.map(|record| record.key);
        assert_eq!(read, keys);
    }

    #[test]
    fn keys_choose_partitions_as_kafkas_producer_lets_them() {
        let written: Vec<StoredRecord> = (0..100).map(|n| record(&n.to_string(), 1)).collect();
        let rounds = rounds(7, &written, 0, None).unwrap();
        let [round] = &*rounds else {
            panic!("{} rounds", rounds.len())
        };
        let mut count = 0;
        for (partition, batch) in round {
            for record in records(&batch.payload, batch.header.record_count) {
                let key = record.unwrap().key.unwrap();
                assert_eq!(murmur2::partition_of(key, 7), *partition);
                count += 1;
            }
        }
        assert_eq!(count, written.len());
    }

    #[test]
    fn records_that_are_ordered_by_the_same_share_a_partition() {
        let mut written: Vec<StoredRecord> = (0..9).map(|n| record(&n.to_string(), 1)).collect();
        for record in &mut written {
            record.ordered_by = Some(b"orders-3".to_vec());
        }
        let rounds = rounds(7, &written, 0, None).unwrap();
        let partitions: Vec<i32> = rounds.iter().flat_map(BTreeMap::keys).copied().collect();
        assert_eq!(partitions, [murmur2::partition_of(b"orders-3", 7)]);
    }

    #[test]
    fn nothing_to_write_takes_no_round() {
        assert!(rounds(3, &[], 0, None).unwrap().is_empty());
    }
}
