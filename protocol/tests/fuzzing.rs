//! The fuzz targets on their seeds, and on what fuzzers once found.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code; the settings for tests do not reach helper functions"
)]

#[expect(unreachable_pub, reason = "the fuzz targets use it too")]
#[path = "support/oracle.rs"]
mod oracle;
#[expect(unreachable_pub, reason = "the fuzz targets use it too")]
#[path = "support/reference.rs"]
mod reference;
#[expect(unreachable_pub, reason = "the fuzz targets use it too")]
#[path = "support/seeds.rs"]
mod seeds;

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use kmirror_protocol::{
    fuzzing::{
        decompress, legacy_message_set, passthrough, record_batch, records_differential,
        request_encode, response_decode, response_differential,
    },
    generate::Source,
    records::Compression,
};

/// Panics when something is wrong about the bytes.
type Check = fn(&[u8]);

/// The targets whose functions are this crate's.
const TARGETS: [(&str, Check); 11] = [
    ("decompress_gzip", |bytes| {
        decompress(Compression::Gzip, bytes, reference::gzip)
    }),
    ("decompress_lz4", |bytes| {
        decompress(Compression::Lz4, bytes, reference::lz4)
    }),
    ("decompress_snappy", |bytes| {
        decompress(Compression::Snappy, bytes, reference::snappy)
    }),
    ("decompress_zstd", |bytes| {
        decompress(Compression::Zstd, bytes, reference::zstd)
    }),
    ("legacy_message_set", legacy_message_set),
    ("passthrough", passthrough),
    ("record_batch", record_batch),
    ("records_differential", |bytes| {
        records_differential(bytes, oracle::batch)
    }),
    ("request_encode", |bytes| {
        request_encode(bytes, oracle::request)
    }),
    ("response_decode", |bytes| response_decode(bytes, heap_max)),
    ("response_differential", |bytes| {
        response_differential(bytes, oracle::response)
    }),
];

/// The targets whose functions are the main crate's, which tests them.
const ELSEWHERE: [&str; 3] = ["anchor", "config", "frame"];

fn heap_max(run: &mut dyn FnMut()) -> u64 {
    allocation_counter::measure(run).bytes_max
}

fn fuzz_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz")
}

fn names_in(dir: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(dir).unwrap();
    entries
        .map(|entry| {
            let path = entry.unwrap().path();
            path.file_stem().unwrap().to_str().unwrap().to_owned()
        })
        .collect()
}

#[test]
fn every_target_is_run_by_tests_too() {
    let ours = TARGETS.map(|(target, _)| target);
    let known: BTreeSet<_> = ours
        .into_iter()
        .chain(ELSEWHERE)
        .map(str::to_owned)
        .collect();
    assert_eq!(names_in(&fuzz_dir().join("fuzz_targets")), known);
    let regressions = fuzz_dir().join("regressions");
    let regressions = if regressions.exists() {
        names_in(&regressions)
    } else {
        BTreeSet::new()
    };
    let unknown: Vec<_> = regressions.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn every_target_holds_on_its_seeds() {
    let all = seeds::all();
    for (target, check) in TARGETS {
        let (_, seeds) = all.iter().find(|(name, _)| *name == target).unwrap();
        assert!(!seeds.is_empty(), "{target}");
        seeds.iter().for_each(|seed| check(seed));
    }
}

#[test]
fn every_target_holds_on_damaged_seeds() {
    let mut source = Source::new(11);
    for (target, seeds) in seeds::all() {
        let Some((_, check)) = TARGETS.iter().find(|(name, _)| *name == target) else {
            continue;
        };
        for seed in seeds.iter().filter(|seed| seed.len() < 2_000) {
            for _ in 0..8 {
                let mut damaged = seed.clone();
                let at = source.below(damaged.len());
                match source.below(3) {
                    0 => damaged[at] ^= 1 << source.below(8),
                    1 => damaged[at] = [0x00, 0x01, 0x7f, 0x80, 0xff][source.below(5)],
                    _ => damaged.truncate(at),
                }
                check(&damaged);
            }
        }
    }
}

#[test]
fn what_fuzzers_found_stays_mended() {
    for (target, check) in TARGETS {
        let dir = fuzz_dir().join("regressions").join(target);
        if dir.exists() {
            for entry in fs::read_dir(dir).unwrap() {
                let path = entry.unwrap().path();
                println!("{}", path.display());
                check(&fs::read(&path).unwrap());
            }
        }
    }
}
