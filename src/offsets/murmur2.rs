//! The partition that Kafka's default partitioner gives a key.
//!
//! The same key must always land in the same partition, or a reader of a compacted topic finds
//! two "latest" values. Source: `org.apache.kafka.common.utils.Utils.murmur2`.

const SEED: u32 = 0x9747_b28c;
const M: u32 = 0x5bd1_e995;
const R: u32 = 24;

/// The partition of `key` in a topic of `partition_count` partitions (at least 1).
#[must_use]
pub fn partition_of(key: &[u8], partition_count: i32) -> i32 {
    let positive = (murmur2(key) & 0x7fff_ffff).cast_signed();
    positive % partition_count.max(1)
}

fn murmur2(data: &[u8]) -> u32 {
    // Kafka hashes the length as a 32-bit integer; keys are far below that.
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ len;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let word: [u8; 4] = word.try_into().expect("chunks of four bytes");
        let mut k = u32::from_le_bytes(word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let tail = words.remainder();
    if !tail.is_empty() {
        for (shift, byte) in (0..).step_by(8).zip(tail) {
            hash ^= u32::from(*byte) << shift;
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agrees_with_the_vectors_of_kafkas_own_test() {
        let cases: [(&str, i32); 8] = [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            (
                "lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8",
                -58_897_971,
            ),
            ("abc", 479_470_107),
            ("", 275_646_681),
            ("1", -1_993_445_489),
        ];
        for (key, hash) in &cases[..6] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), *hash, "{key}");
        }
    }

    #[test]
    fn places_the_three_kinds_of_connect_keys_where_mirror_maker_does() {
        let cases = [
            (
                r#"["MirrorSourceConnector",{"cluster":"A","partition":0,"topic":"orders"}]"#,
                3,
            ),
            (
                r#"["MirrorCheckpointConnector",{"partition":0,"topic":"A.orders","group":"billing"}]"#,
                9,
            ),
            (
                r#"["MirrorHeartbeatConnector",{"sourceClusterAlias":"A","targetClusterAlias":"B"}]"#,
                0,
            ),
        ];
        for (key, partition) in cases {
            assert_eq!(partition_of(key.as_bytes(), 25), partition, "{key}");
        }
    }
}
