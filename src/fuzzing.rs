//! The fuzz targets of this crate, on files and on what fuzzers once found.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    cluster::fuzzing::frame,
    config::fuzzing::config,
    offsets::fuzzing::{anchor, seeds},
};

fn heap_max(run: &mut dyn FnMut()) -> u64 {
    allocation_counter::measure(run).bytes_max
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_in(dir: PathBuf) -> Vec<PathBuf> {
    if !dir.exists() {
        return Vec::new();
    }
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn configuration_files_hold() {
    let fixtures = files_in(root().join("tests/fixtures")).into_iter();
    let mut files: Vec<_> = fixtures.filter(|path| path.is_file()).collect();
    assert!(!files.is_empty());
    files.extend(files_in(root().join("fuzz/regressions/config")));
    for file in files {
        println!("{}", file.display());
        config(&fs::read(file).unwrap());
    }
}

#[test]
fn records_of_the_state_topic_hold() {
    let seeds = seeds();
    assert!(!seeds.is_empty());
    seeds.iter().for_each(|seed| anchor(seed));
    for file in files_in(root().join("fuzz/regressions/anchor")) {
        println!("{}", file.display());
        anchor(&fs::read(file).unwrap());
    }
}

#[test]
fn streams_of_frames_hold() {
    let lens = [0, 3, 12, 16_380, 16_384, 16_385, 70_000, 200_000];
    let mut stream = Vec::new();
    for len in lens {
        stream.extend(u32::try_from(len).unwrap().to_be_bytes());
        stream.resize(stream.len() + len, 7);
    }
    let claims_much = [stream.as_slice(), &[0, 15, 255, 255, 1]].concat();
    for cut in [[255, 0], [130, 1], [16, 0x55]] {
        frame(&[&cut, stream.as_slice()].concat(), heap_max);
        frame(&[&cut, claims_much.as_slice()].concat(), heap_max);
    }
    for file in files_in(root().join("fuzz/regressions/frame")) {
        println!("{}", file.display());
        frame(&fs::read(file).unwrap(), heap_max);
    }
}
