//! A load of records that look like business data, and a producer for it.
//!
//! Record number n is always the same record: what is on a cluster can be checked against it.

use std::time::Duration;

use kmirror_protocol::{
    messages::{
        ProduceRequest,
        produce::{ProduceRequestPartition, ProduceRequestTopic},
    },
    records::{BatchBuilder, BuildError, BuiltBatch, Compression, Header, NewRecord},
    wire::Records,
};

use crate::cluster::{Cluster, Lane, RequestError, SendOptions};

/// Words that values are made of, so that they compress as text does.
const WORDS: [&str; 16] = [
    "order",
    "invoice",
    "customer",
    "shipped",
    "pending",
    "amount",
    "currency",
    "warehouse",
    "carrier",
    "priority",
    "returned",
    "discount",
    "express",
    "address",
    "payment",
    "confirmed",
];

/// Describes the records of one topic.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Bytes of each value.
    pub value_bytes: usize,
    /// Bytes of records in one batch, before compression.
    pub batch_bytes: usize,
    /// How batches are compressed.
    pub codec: Compression,
    /// Milliseconds since the Unix epoch of record 0; each record is one millisecond later.
    pub first_timestamp: i64,
}

impl Load {
    /// Builds the batch that begins with record `first` and has at most `record_count_max` records.
    ///
    /// # Errors
    ///
    /// [`BuildError`] when a batch of this size cannot be built.
    pub fn batch(&self, first: u64, record_count_max: u64) -> Result<BuiltBatch, BuildError> {
        let mut builder = BatchBuilder::new(self.codec);
        for number in first..first.saturating_add(record_count_max.max(1)) {
            if builder.record_count() > 0 && builder.uncompressed_size() >= self.batch_bytes {
                break;
            }
            let key = format!("customer-{}", number % 1_000);
            let sequence = number.to_string();
            let headers = [Header {
                key: b"sequence",
                value: Some(sequence.as_bytes()),
            }];
            builder.push(&NewRecord {
                timestamp: self.first_timestamp.saturating_add_unsigned(number),
                key: Some(key.as_bytes()),
                value: Some(&value(number, self.value_bytes)),
                headers: &headers,
            })?;
        }
        builder.build()
    }
}

/// The value of record `number`: a JSON object of exactly `len` bytes, if that is enough for one.
fn value(number: u64, len: usize) -> Vec<u8> {
    let mut text = format!(r#"{{"id":{number},"text":""#);
    let mut state = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    while text.len() + 2 < len {
        // xorshift64: quick, and the same everywhere.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let word = WORDS[usize::try_from(state % 16).unwrap_or(0)];
        text.push_str(word);
        text.push_str(&format!(" {:04x} ", state >> 48));
    }
    text.truncate(len.saturating_sub(2));
    text.push_str("\"}");
    text.into_bytes()
}

/// Produces one batch and waits for its acknowledgement; returns its base offset.
///
/// # Errors
///
/// Why the request has no answer; an answer that refuses the batch is in the inner result.
pub async fn produce(
    cluster: &Cluster,
    topic: &str,
    partition: i32,
    batch: BuiltBatch,
    timeout: Duration,
) -> Result<Result<i64, kmirror_protocol::ErrorCode>, RequestError> {
    let leader = cluster.metadata().leader(topic, partition);
    let connection = match leader {
        Some(leader) => cluster.broker(leader.node, Lane::Produce(0)).await?,
        None => cluster.any_broker().await?,
    };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX),
        topic_data: vec![ProduceRequestTopic {
            name: topic,
            partition_data: vec![ProduceRequestPartition {
                index: partition,
                records: Some(Records::Batch {
                    header: batch.header.encode(),
                    payload: batch.payload,
                }),
            }]
            .into(),
            ..ProduceRequestTopic::default()
        }]
        .into(),
        ..ProduceRequest::default()
    };
    // By name: a load has no topic id at hand.
    let options = SendOptions {
        version_max: Some(12),
        ..SendOptions::default()
    };
    let answer = connection.send_with(&request, options)?.await?;
    let response = answer.decode()?;
    let answered = response
        .responses
        .first()
        .and_then(|topic| topic.partition_responses.first());
    Ok(match answered {
        Some(partition) => partition.error_code.ok().map(|()| partition.base_offset),
        None => Err(kmirror_protocol::ErrorCode::UNKNOWN_SERVER_ERROR),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_length_asked_for_and_are_json() {
        for (number, len) in [(0, 40), (7, 1_000), (u64::MAX, 200)] {
            let value = value(number, len);
            assert_eq!(value.len(), len);
            let parsed: serde_json::Value = serde_json::from_slice(&value).unwrap();
            assert_eq!(parsed["id"].as_u64(), Some(number));
        }
    }

    #[test]
    fn a_batch_keeps_to_its_size_and_count() {
        let load = Load {
            value_bytes: 1_000,
            batch_bytes: 64 << 10,
            codec: Compression::None,
            first_timestamp: 0,
        };
        let batch = load.batch(5, 1_000).unwrap();
        assert!(
            (60..70).contains(&batch.header.record_count),
            "{}",
            batch.header.record_count
        );
        assert_eq!(load.batch(5, 3).unwrap().header.record_count, 3);
    }
}
