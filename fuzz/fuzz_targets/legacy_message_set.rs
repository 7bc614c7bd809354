#![no_main]

use kmirror_protocol::fuzzing;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| fuzzing::legacy_message_set(bytes));
