//! Every bound of this room in one place, with its unit and its reason.

use std::time::Duration;

use kmirror_protocol::ApiKey;

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

/// Requests of one connection that may wait for their answers. A caller has at most a few per
/// partition in flight, so more than this is a caller that does not count.
pub(super) const IN_FLIGHT_MAX: usize = 4096;

/// How long answers that have arrived are still read after writing has failed.
pub(super) const LAST_WORDS_TIMEOUT: Duration = Duration::from_secs(1);

/// Pieces of one gather write: Linux's `IOV_MAX`.
pub(super) const PIECES_PER_WRITE_MAX: usize = 1024;

/// Bytes read ahead of the frame in progress; also the largest frame that is copied out, because
/// a block of the pool would cost more than the copy.
pub(super) const READ_AHEAD_LEN: usize = 16 * KIB;

/// What is allocated for a frame before its bytes arrive, unless the caller gave its size: the
/// smallest block, so that claims cost nothing.
pub(super) const TRUSTED_LEN: usize = BLOCK_LEN_MIN;

/// The smallest and the largest block that is kept for reuse; each class doubles.
pub(super) const BLOCK_LEN_MIN: usize = 64 * KIB;
/// See [`BLOCK_LEN_MIN`].
pub(super) const BLOCK_LEN_MAX: usize = 64 * MIB;

/// Idle blocks that a pool keeps unless told otherwise: the default budget of bytes in flight.
pub(super) const RETAINED_BYTES_DEFAULT: usize = 32 * MIB;

/// The largest answer that any caller may ask for. Below 352 MB, which is what a TLS alert reads
/// as (KIP-498), so that one is always recognised.
pub(super) const ANSWER_LEN_MAX: usize = 256 * MIB;

/// Partitions and brokers of one cluster; KRaft's own design limit is below two million.
pub(super) const PARTITIONS_MAX: usize = 1_000_000;
/// See [`PARTITIONS_MAX`].
pub(super) const BROKERS_MAX: usize = 10_000;

/// Addresses tried for one host name.
pub(super) const ADDRESSES_MAX: usize = 16;

/// Known brokers tried for a request that any may answer, before the bootstrap servers are asked.
pub(super) const ANY_BROKER_ATTEMPTS: usize = 3;

/// The pause after the first failed connection to a broker, and the longest
/// (`reconnect.backoff.ms` and `reconnect.backoff.max.ms` of Kafka's clients).
pub(super) const BACKOFF_FIRST: Duration = Duration::from_millis(50);
/// See [`BACKOFF_FIRST`].
pub(super) const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// The largest store of certificates that is read, in bytes; the one of a whole operating system has
/// a quarter of a megabyte.
pub(super) const STORE_LEN_MAX: u64 = 16 << 20;

/// How often a broker may ask for a password to be hashed. Kafka's brokers take no fewer; the most
/// takes about a second, and a broker is not believed at this point.
pub(super) const SCRAM_ITERATIONS_MIN: u32 = 4096;
/// See [`SCRAM_ITERATIONS_MIN`].
pub(super) const SCRAM_ITERATIONS_MAX: u32 = 1_000_000;

/// The part of a session after which it is renewed, from and to (`SaslClientAuthenticator`).
pub(super) const SESSION_SHARE: (f64, f64) = (0.85, 0.95);

/// The longest answer of a token endpoint, in bytes.
pub(super) const TOKEN_ANSWER_LEN_MAX: usize = 64 * KIB;

/// The part of a token's life after which another one is asked for (`sasl.login.refresh.window.factor`).
pub(super) const TOKEN_SHARE: f64 = 0.8;

/// The pause after a broker has not accepted who this is, and the longest: it may lock the account, and
/// nothing changes within a second.
pub(super) const DENIED_BACKOFF_FIRST: Duration = Duration::from_secs(1);
/// See [`DENIED_BACKOFF_FIRST`].
pub(super) const DENIED_BACKOFF_MAX: Duration = Duration::from_secs(10);

/// Silence after which the kernel probes a connection: below a minute, when the first NAT
/// gateways forget one.
pub(super) const KEEPALIVE_TIME: Duration = Duration::from_secs(30);
/// The pause between two probes; about three minutes of silence end an idle connection.
pub(super) const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);

/// The largest answer of an API in bytes, unless the caller says otherwise.
///
/// 64 MiB where the answer grows with the cluster and cannot be asked for in parts, and for Fetch
/// (a broker's own `fetch.max.bytes` is 55 MiB, Redpanda's 64 MiB); 16 MiB where the caller
/// chooses how much one request names; 1 MiB for the rest.
pub(super) const fn answer_len_max(api: ApiKey) -> usize {
    match api {
        ApiKey::Fetch | ApiKey::Metadata | ApiKey::DescribeTopicPartitions => 64 * MIB,
        ApiKey::DescribeAcls
        | ApiKey::DescribeLogDirs
        | ApiKey::ListConfigResources
        | ApiKey::ListGroups
        | ApiKey::ListTransactions
        | ApiKey::ConsumerGroupDescribe
        | ApiKey::CreateTopics
        | ApiKey::DescribeConfigs
        | ApiKey::DescribeGroups
        | ApiKey::DescribeProducers
        | ApiKey::DescribeUserScramCredentials
        | ApiKey::ListOffsets
        | ApiKey::OffsetFetch
        | ApiKey::Produce => 16 * MIB,
        _ => MIB,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_answer_may_be_as_long_as_a_tls_alert_reads() {
        let alert = usize::try_from(i32::from_be_bytes([0x15, 0x03, 0x00, 0x00])).unwrap();
        assert!(ANSWER_LEN_MAX < alert);
        for api in ApiKey::ALL {
            assert!(answer_len_max(*api) <= ANSWER_LEN_MAX, "{api}");
        }
    }
}
