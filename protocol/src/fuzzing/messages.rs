//! Messages: answers that no broker sent, and requests as a broker would read them.

use crate::{
    ApiKey, Request, frame,
    generate::{Generate, Source},
    messages::*,
    wire::{Decode, Encode, Reader, Writer},
};

/// The most heap that reading an answer may take, in bytes: per byte of it, and in any case.
const HEAP_PER_BYTE_MAX: u64 = 32;
const HEAP_MIN: u64 = 1024;

/// What another implementation makes of the bytes of one message in one version, encoded again;
/// `None` where it cannot be compared: it does not know the version yet, or keeps what this crate
/// passes over.
pub type Recode = fn(ApiKey, i16, &[u8]) -> Result<Option<Vec<u8>>, String>;

/// Any bytes are an answer or refused, in memory that follows their number; an answer encodes to
/// bytes that mean the same.
///
/// `heap_max` calls a function and tells how many bytes of heap it held at a time. The first byte
/// says which API, the second which version; then come a response header and body.
pub fn response_decode(bytes: &[u8], heap_max: fn(&mut dyn FnMut()) -> u64) {
    let Some((api, version, body)) = chosen(bytes) else {
        return;
    };
    let heap = heap_max(&mut || (api.read_response)(version, body));
    let len = u64::try_from(body.len()).unwrap_or(u64::MAX);
    let bound = len
        .saturating_mul(HEAP_PER_BYTE_MAX)
        .saturating_add(HEAP_MIN);
    assert!(
        heap <= bound,
        "{} v{version}: {heap} bytes for {len}",
        api.key
    );
    let Some(encoded) = (api.recode_response)(version, body) else {
        return;
    };
    let again = (api.recode_response)(version, &encoded).expect("what this crate writes, it reads");
    assert!(again == encoded, "{} v{version}", api.key);
}

/// An answer that this crate accepts means the same to `oracle`.
///
/// Bytes begin as in [`response_decode`], but without the response header.
pub fn response_differential(bytes: &[u8], oracle: Recode) {
    let Some((api, version, body)) = chosen(bytes) else {
        return;
    };
    let Some(ours) = (api.recode_body)(version, body) else {
        return;
    };
    match oracle(api.key, version, body) {
        Ok(Some(theirs)) => assert_eq!(ours, theirs, "{} v{version}", api.key),
        Ok(None) => {}
        Err(error) => panic!("{} v{version} is refused: {error}", api.key),
    }
}

/// A request that this crate writes is, header and all, the same bytes to `oracle`.
///
/// The first byte says which API, the second which version; the others choose the values.
pub fn request_encode(bytes: &[u8], oracle: Recode) {
    let Some((api, version, script)) = chosen(bytes) else {
        return;
    };
    let ours = (api.generate_request)(version, &mut Source::scripted(script));
    match oracle(api.key, version, &ours) {
        Ok(Some(theirs)) => assert_eq!(ours, theirs, "{} v{version}", api.key),
        Ok(None) => {}
        Err(error) => panic!("{} v{version} is refused: {error}", api.key),
    }
}

/// What can be done with one API in a version of it.
struct Api {
    key: ApiKey,
    version_min: i16,
    version_count: i16,
    /// Reads an answer with its header, and drops it.
    read_response: fn(i16, &[u8]),
    /// An answer with its header, encoded again.
    recode_response: fn(i16, &[u8]) -> Option<Vec<u8>>,
    /// An answer without header and with nothing behind it, encoded again.
    recode_body: fn(i16, &[u8]) -> Option<Vec<u8>>,
    /// A request with its header.
    generate_request: fn(i16, &mut Source) -> Vec<u8>,
}

macro_rules! apis {
    ($($request:ident $(<$lt:lifetime>)? => $response:ident,)+) => {
        const APIS: &[Api] = &[$(Api {
            key: $request::KEY,
            version_min: *$request::VERSIONS.start(),
            version_count: *$request::VERSIONS.end() - *$request::VERSIONS.start() + 1,
            read_response: |version, body| {
                let _ = frame::decode_response::<$request $(<$lt>)?>(body, version);
            },
            recode_response: recode_response::<$request $(<$lt>)?>,
            recode_body: recode_body::<$request $(<$lt>)?>,
            generate_request: generate_request::<$request $(<$lt>)?>,
        },)+];
    };
}

crate::for_each_api!(apis);

/// The API and version that the first two bytes choose, and the rest.
fn chosen(bytes: &[u8]) -> Option<(&'static Api, i16, &[u8])> {
    let (&[api, version], rest) = bytes.split_first_chunk()?;
    let api = APIS.get(usize::from(api).checked_rem(APIS.len())?)?;
    let version = i16::from(version).checked_rem(api.version_count)?;
    Some((api, api.version_min.saturating_add(version), rest))
}

fn recode_response<R: Request>(version: i16, body: &[u8]) -> Option<Vec<u8>> {
    let answer = frame::decode_response::<R>(body, version).ok()?;
    let pieces = frame::encode_response::<R>(&answer, version, 0);
    let frame = pieces.expect("what fitted a frame fits again").concat();
    frame.get(frame::PREFIX_LEN..).map(<[u8]>::to_vec)
}

fn recode_body<R: Request>(version: i16, body: &[u8]) -> Option<Vec<u8>> {
    let version = R::version(version);
    let mut reader = Reader::new(body);
    let answer = R::Response::read(&mut reader, version).ok()?;
    reader.end().ok()?;
    let mut writer = Writer::new();
    answer.write(&mut writer, version);
    let encoded = writer.finish_contiguous();
    Some(encoded.expect("what fitted a frame fits again"))
}

fn generate_request<R: Request + Generate>(version: i16, source: &mut Source) -> Vec<u8> {
    let plain = R::version(version);
    let correlation_id = i32::generate(source, plain);
    let client_id = <&str>::generate(source, plain);
    let request = R::generate(source, plain);
    let pieces = frame::encode_request(&request, version, correlation_id, client_id);
    let frame = pieces.expect("no generated value is too long").concat();
    frame.get(frame::PREFIX_LEN..).unwrap_or_default().to_vec()
}
