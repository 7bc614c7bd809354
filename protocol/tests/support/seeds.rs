//! What each fuzz target begins with: inputs of the right shape, always the same ones.

use std::{fs, path::Path};

use kmirror_protocol::{
    Request,
    api::IMPLEMENTED,
    for_each_api,
    frame::encode_request,
    generate::{Generate, Source},
    messages::{self, ApiVersionsRequest},
    records::{
        Attributes, BatchBuilder, BuiltBatch, Compression, ControlType, EndTxnMarker, Header,
        NewRecord, compress,
    },
    wire::{Encode, Writer},
};

/// Every target that has seeds, with them.
pub fn all() -> Vec<(&'static str, Vec<Vec<u8>>)> {
    vec![
        ("decompress_gzip", decompress(Compression::Gzip)),
        ("decompress_lz4", decompress(Compression::Lz4)),
        ("decompress_snappy", decompress(Compression::Snappy)),
        ("decompress_zstd", decompress(Compression::Zstd)),
        ("frame", frame()),
        ("legacy_message_set", legacy_message_set()),
        ("passthrough", passthrough()),
        ("record_batch", record_batch()),
        ("records_differential", records_differential()),
        ("request_encode", request_encode()),
        ("response_decode", answers(&[0; 5])),
        ("response_differential", answers(&[])),
    ]
}

/// Folded and plain payloads, each behind the byte that says which.
fn decompress(codec: Compression) -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for len in [0, 1, 30, 700, 40_000] {
        let plain = text(len);
        let folded = compress(codec, &plain, None).expect("the codec is compiled in");
        seeds.push([&[0], folded.as_slice()].concat());
        seeds.push([&[0], folded.as_slice(), folded.as_slice()].concat());
        seeds.push([&[1], plain.as_slice()].concat());
        seeds.push([&[3], plain.as_slice()].concat());
    }
    seeds
}

/// Logs of one or two batches, of every codec and kind.
fn record_batch() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = all_batches().iter().map(BuiltBatch::to_vec).collect();
    let both = [seeds[0].as_slice(), seeds[1].as_slice()].concat();
    let cut = both[..both.len() - 9].to_vec();
    seeds.extend([both, cut]);
    seeds
}

/// Batches behind the choices of a new producer and of a bit to damage.
fn passthrough() -> Vec<Vec<u8>> {
    let choices = *b"\0\0\0\0\0\0\x0f\xa0\0\x03\0\0\0\x46\0\0\0\x7b";
    let behind = |batch: &BuiltBatch| [choices.as_slice(), &batch.to_vec()].concat();
    all_batches().iter().map(behind).collect()
}

/// Logs of old formats that other programs wrote, and sets of theirs to wrap.
fn legacy_message_set() -> Vec<Vec<u8>> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../protocol/tests/golden/legacy");
    let mut files: Vec<_> = fs::read_dir(dir)
        .expect("golden bytes are beside the tests")
        .map(|entry| entry.expect("the directory can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "bin"))
        .collect();
    files.sort();
    let mut seeds = Vec::new();
    for file in files {
        let log = fs::read(file).expect("the file can be read");
        for mode in [[0, 10], [1, 0], [0x82, 0], [0x83, 255]] {
            seeds.push([mode.as_slice(), &log].concat());
        }
    }
    seeds
}

/// Batches as they are, and scripts of all lengths for every codec.
fn records_differential() -> Vec<Vec<u8>> {
    let whole = all_batches().into_iter();
    let mut seeds: Vec<_> = whole
        .map(|batch| [&[0], batch.to_vec().as_slice()].concat())
        .collect();
    for mode in [1, 3, 5, 7, 9] {
        seeds.extend([4, 40, 400].map(|len| [&[mode], noise(len).as_slice()].concat()));
    }
    seeds
}

/// A script for every API in its oldest and newest version.
fn request_encode() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (api, version, _) in ends() {
        let len = 20 * usize::from(api % 4);
        seeds.push([&[api, version], noise(len).as_slice()].concat());
    }
    seeds
}

/// An answer of every API in its oldest and newest version, behind a response header.
fn answers(header: &[u8]) -> Vec<Vec<u8>> {
    macro_rules! generators {
        ($($request:ident $(<$lt:lifetime>)? => $response:ident,)+) => {
            [$(|source: &mut Source, version: i16| {
                let version = messages::$request::version(version);
                let mut writer = Writer::new();
                messages::$response::generate(source, version).write(&mut writer, version);
                writer.finish_contiguous().expect("no generated value is too long")
            },)+]
        };
    }
    let generators = for_each_api!(generators);
    let mut seeds = Vec::new();
    for (api, version, number) in ends() {
        let answer = generators[usize::from(api)](&mut Source::new(3), number);
        seeds.push([&[api, version], header, &answer].concat());
    }
    seeds
}

/// The place of every API in the list, and its oldest and newest version: how far from the oldest,
/// and which.
fn ends() -> Vec<(u8, u8, i16)> {
    let mut ends = Vec::new();
    for (api, place) in IMPLEMENTED.iter().zip(0..) {
        let (first, last) = (*api.versions.start(), *api.versions.end());
        let count = u8::try_from(last - first).expect("no API has that many versions");
        ends.extend([(place, 0, first), (place, count, last)]);
    }
    ends
}

fn all_batches() -> Vec<BuiltBatch> {
    let mut all = Vec::new();
    for codec in Compression::ALL {
        for record_count in [1, 3, 40] {
            let builder = BatchBuilder::new(codec).appended_at(1_000, 7);
            all.push(filled(builder, record_count));
        }
    }
    let plain = || BatchBuilder::new(Compression::None).appended_at(5, 1);
    all.push(plain().build().expect("nothing is compressed"));
    all.push(filled(plain().log_append_time(1_700_000_000_000), 2));
    let mut marker = plain().flags(Attributes::TRANSACTIONAL | Attributes::CONTROL);
    let end = EndTxnMarker {
        version: 0,
        coordinator_epoch: 4,
    };
    marker
        .push_marker(ControlType::Commit, end, 9)
        .expect("a marker is short");
    all.push(marker.build().expect("nothing is compressed"));
    all
}

fn filled(mut builder: BatchBuilder, record_count: usize) -> BuiltBatch {
    let headers = [
        Header {
            key: b"trace",
            value: Some(b"7f"),
        },
        Header {
            key: b"",
            value: None,
        },
    ];
    for index in 0..record_count {
        let value = text(index * 7);
        let record = NewRecord {
            timestamp: 1_700_000_000_000 - i64::try_from(index).unwrap_or_default(),
            key: (index % 3 != 0).then_some(b"key"),
            value: (index % 4 != 3).then_some(&value),
            headers: headers.get(..index % 3).unwrap_or_default(),
        };
        builder
            .push(&record)
            .expect("the records are few and short");
    }
    builder.build().expect("the codec is compiled in")
}

/// Streams of frames, cut in several ways.
fn frame() -> Vec<Vec<u8>> {
    let mut stream = Vec::new();
    for (len, correlation_id) in [(0, 3), (9, 4), (300, 5), (20_000, 6)] {
        let client_id = "k".repeat(len);
        let request = ApiVersionsRequest::default();
        let pieces = encode_request(&request, 3, correlation_id, &client_id);
        stream.extend(pieces.expect("the client id is short").concat());
    }
    let whole = [[255, 0], [1, 0x55], [13, 0xf0], [130, 1]];
    let mut seeds = whole.map(|cut| [&cut, stream.as_slice()].concat()).to_vec();
    seeds.push([&[40, 3], &stream[..400]].concat());
    seeds
}

/// Bytes without any order.
fn noise(len: usize) -> Vec<u8> {
    let mut source = Source::new(9);
    (0..len).map(|_| source.bits().to_le_bytes()[0]).collect()
}

/// Text with some order in it and some noise.
fn text(len: usize) -> Vec<u8> {
    let mut source = Source::new(7);
    let mut text = b"to be, or not to be, ".to_vec();
    while text.len() < len {
        let noise = source.bits().to_le_bytes();
        text.extend_from_slice(&noise[..source.below(8)]);
        text.extend_from_within(..source.below(20));
    }
    text.truncate(len);
    text
}
