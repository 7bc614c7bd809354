//! Every bound of a flow, with its unit and why it has that size.

use std::time::Duration;

use kmirror_protocol::records::ConvertLimits;

/// What the map of offsets of one partition takes in memory at most, in bytes; a partition whose
/// offsets run on without holes needs a few hundred. As much again is what has been read back of
/// it from the state topic, and while an owner takes over, of the former one's.
pub use crate::offsets::exact_map::MAP_BYTES_MAX;

/// Batches of one partition that may wait for their acknowledgement.
///
/// A broker remembers the last five batches of a producer id, and recognises a resend only among
/// them (`ProducerStateEntry.NUM_BATCHES_TO_RETAIN`).
pub const IN_FLIGHT_PER_PARTITION_MAX: usize = 5;

/// Record bytes in one Produce request; well below a broker's `socket.request.max.bytes`.
pub const PRODUCE_BYTES_MAX: usize = 4 << 20;

/// How long a broker may hold a Fetch request while there is nothing to return.
pub const FETCH_WAIT: Duration = Duration::from_millis(500);

/// The same for requests beside one that waits already.
pub const FETCH_WAIT_SHORT: Duration = Duration::from_millis(10);

/// The largest share of one partition in a Fetch answer that a flow grows to, in bytes, when a
/// broker that predates KIP-74 returns less than one batch.
pub const PARTITION_FETCH_BYTES_CAP: usize = 64 << 20;

/// The largest output of one batch's decompression, in bytes: a bomb stops here.
pub const DECOMPRESSED_BYTES_MAX: usize = 64 << 20;

/// For messages of magic 0 and 1: what a wrapper may unfold to, and when a batch of messages without
/// a wrapper is large enough, well below the default of `max.message.bytes`.
pub const CONVERSION: ConvertLimits = ConvertLimits {
    output_len_max: DECOMPRESSED_BYTES_MAX,
    batch_len: 64 << 10,
};

/// The first wait after a failure.
pub const BACKOFF_FIRST: Duration = Duration::from_millis(50);

/// The longest wait after a failure that may pass by itself.
pub const BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Failures in a row after which a partition counts as stalled: leaders move within fewer.
pub const STALLED_AFTER: u32 = 4;

/// The wait before a halted partition looks again whether its cause has gone.
pub const HALT_RETRY: Duration = Duration::from_secs(30);

/// The least time between an answer with metadata and the next question.
pub const METADATA_WAIT: Duration = Duration::from_millis(20);

/// The least time between two rounds of anchors: each asks for the target's metadata.
pub const ANCHORS_WAIT: Duration = Duration::from_millis(500);

/// How long a weaker guarantee must last before it is told: most new lineages are used at once.
pub const WEAKER_TOLD_AFTER: Duration = Duration::from_secs(2);

/// Replicas that the state topic should have where there are brokers for them: one broker may then
/// be lost while another is restarted.
pub const STATE_REPLICAS: usize = 3;

/// Topics described or created in one request.
pub const TOPICS_PER_REQUEST: usize = 500;

/// ACLs changed in one request; a KRaft controller takes at most 10,000 changes in one.
pub const ACLS_PER_REQUEST: usize = 500;

/// Leases without a sign of life after which a process that stands by takes a partition up.
pub const SILENT_LEASES: u32 = 3;

/// How often a batch that arrived damaged is fetched again before its partition halts.
pub const DAMAGED_FETCHES_MAX: u32 = 3;

/// How long the target may hold a read of the state topic while there is nothing new.
pub const STATE_WAIT: Duration = Duration::from_secs(5);

/// How long a broker may hold the request of a proof while there is nothing to return: others wait
/// behind it on the same connection.
pub const WINDOW_WAIT: Duration = Duration::from_millis(100);

/// Record bytes in one answer of a proof, on either side, and of one partition in it.
pub const WINDOW_BYTES_MAX: usize = 2 << 20;

/// Of one partition, in bytes.
pub const WINDOW_PARTITION_BYTES_MAX: usize = 1 << 20;

/// How long after its acknowledgement a write to the state topic may stay out of sight. It is there
/// at once, unless a leader was elected that does not have it, or learns late how far its log is
/// committed.
pub const STATE_SETTLES_WITHIN: Duration = Duration::from_secs(10);

/// How often evidence that contradicts itself is gathered again before a new lineage is opened:
/// batches of a former process may still be on their way (B13).
pub const EVIDENCE_ATTEMPTS: u32 = 3;

/// The last producer epoch that is used: brokers refuse to go beyond it.
pub const PRODUCER_EPOCH_MAX: i16 = i16::MAX - 1;

/// Questions of recoveries that one request carries: with windows of one byte at least each, an
/// answer stays readable.
pub const QUESTIONS_PER_REQUEST: usize = 200;

/// Record bytes in one transaction after which it is committed however short it has lasted: readers
/// of committed records see none of them before.
pub const TRANSACTION_BYTES_MAX: usize = 64 << 20;

/// Failures of a coordinator in a row before somebody is told: on a new cluster the topic of the
/// coordinators is created when the first is looked for.
pub const COORDINATOR_ATTEMPTS: u32 = 8;

/// What part of its timeout a transaction may take from the moment when it is to be committed. After
/// that it is aborted here, before its coordinator does, which would end the producer's epoch too.
pub const COMMIT_TIMEOUT_PART: u32 = 2;

/// Groups of which it is told that they may not be looked at; of the others nobody would read.
pub const REFUSED_GROUPS_TOLD: usize = 100;

/// Records after which a write to the state topic is full, and an answer when it is read for the
/// first time: of many partitions each has a few, and each is held several times on its way.
pub const STATE_RECORDS_AT_ONCE: usize = 2_000;
