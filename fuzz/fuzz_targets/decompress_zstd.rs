#![no_main]

use kmirror_protocol::records::Compression;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kmirror_protocol::fuzzing::decompress(
    Compression::Zstd,
    bytes,
    kmirror_fuzz::reference::zstd
));
