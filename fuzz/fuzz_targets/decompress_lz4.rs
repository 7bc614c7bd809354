#![no_main]

use kmirror_protocol::records::Compression;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| kmirror_protocol::fuzzing::decompress(
    Compression::Lz4,
    bytes,
    kmirror_fuzz::reference::lz4
));
