//! Golden frames: what clients and brokers sent each other decodes, and encodes to the same bytes.
//!
//! `golden/README.md` says where each file comes from.

#![expect(
    clippy::unwrap_used,
    reason = "test code; the setting for tests does not reach helper functions"
)]

use std::{fs, path::Path};

use kmirror_protocol::{
    Malformed, Request, for_each_api, frame,
    header::RequestHeader,
    messages,
    wire::{Decode, Reader},
};

/// Decodes a frame and encodes it again.
type Recode = fn(&[u8], i16) -> Result<Vec<u8>, Malformed>;

/// One API: its number, its versions, and both directions.
struct Api {
    key: i16,
    versions: std::ops::RangeInclusive<i16>,
    request: Recode,
    response: Recode,
}

macro_rules! apis {
    ($($request:ident $(<$lt:lifetime>)? => $response:ident,)+) => {
        fn apis() -> Vec<Api> {
            vec![$(Api {
                key: messages::$request::KEY.number(),
                versions: messages::$request::VERSIONS,
                request: |body, version| {
                    let version = messages::$request::version(version);
                    let mut reader = Reader::new(body);
                    let header = RequestHeader::read(&mut reader)?;
                    if version.flexible {
                        reader.skip_tagged_fields()?;
                    }
                    let request = messages::$request::read(&mut reader, version)?;
                    reader.end()?;
                    let (id, client) = (header.correlation_id, header.client_id.unwrap());
                    let pieces = frame::encode_request(&request, version.number, id, client);
                    Ok(pieces.unwrap().concat())
                },
                response: |body, version| {
                    let id = frame::correlation_id(body)?;
                    let response =
                        frame::decode_response::<messages::$request $(<$lt>)?>(body, version)?;
                    let pieces = frame::encode_response::<messages::$request $(<$lt>)?>(
                        &response, version, id,
                    );
                    Ok(pieces.unwrap().concat())
                },
            },)+]
        }
    };
}

for_each_api!(apis);

/// API key, version and kind from `<client>-key<n>-v<n>-<kind>`.
fn parse(name: &str) -> (i16, i16, &str) {
    let (_, rest) = name.split_once("-key").unwrap();
    let (key, rest) = rest.split_once("-v").unwrap();
    let (version, kind) = rest.split_once('-').unwrap();
    (key.parse().unwrap(), version.parse().unwrap(), kind)
}

#[test]
fn frames_of_other_programs_encode_to_the_same_bytes() {
    let apis = apis();
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/frames");
    let mut compared = 0;
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap();
        let (key, version, kind) = parse(name);
        let api = apis.iter().find(|api| api.key == key);
        let api = api.unwrap_or_else(|| panic!("{name}: the API is not implemented"));
        if !api.versions.contains(&version) {
            let newer = version > *api.versions.end();
            assert!(newer, "{name}: version {version} of {:?}", api.versions);
            continue;
        }
        let (prefix, body) = bytes.split_first_chunk().unwrap();
        assert_eq!(frame::body_len(*prefix, 8 << 10), Ok(body.len()), "{name}");
        let recode = match kind {
            "request" => api.request,
            "response" => api.response,
            other => panic!("{name}: {other}"),
        };
        let again = recode(body, version);
        let again = again.unwrap_or_else(|fault| panic!("{name}: {fault}"));
        assert_eq!(again, bytes, "{name}");
        compared += 1;
    }
    // Brokers offer newer versions of a few APIs; most are those that this crate speaks.
    assert!(compared >= 100, "{compared}");
}
