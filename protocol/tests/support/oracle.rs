//! Messages by the `kafka-protocol` crate, which is generated from Kafka's own schemas.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::{
    messages as theirs,
    protocol::{Decodable, Encodable, HeaderVersion, Message},
    records::RecordBatchDecoder,
};
use kmirror_protocol::{ApiKey, Request, for_each_api, fuzzing::PlainRecord, messages as ours};

/// An answer without its header, decoded and encoded again; see `kmirror_protocol::fuzzing::Recode`.
pub fn response(key: ApiKey, version: i16, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    macro_rules! recode_response {
        ($($request:ident $(<$lt:lifetime>)? => $response:ident,)+) => {
            match key {
                $(ours::$request::KEY => recode::<theirs::$response>(bytes, version),)+
            }
        };
    }
    for_each_api!(recode_response)
}

/// A request with its header, decoded and encoded again.
pub fn request(key: ApiKey, version: i16, bytes: &[u8]) -> Result<Option<Vec<u8>>, String> {
    macro_rules! recode_request {
        ($($request:ident $(<$lt:lifetime>)? => $response:ident,)+) => {
            match key {
                $(ours::$request::KEY => with_header::<theirs::$request>(key, bytes, version),)+
            }
        };
    }
    for_each_api!(recode_request)
}

/// The records of one batch.
pub fn batch(bytes: &[u8]) -> Result<Vec<PlainRecord>, String> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let set = RecordBatchDecoder::decode(&mut rest).map_err(|err| format!("{err:#}"))?;
    let all = set.records.into_iter().map(|record| PlainRecord {
        offset: record.offset,
        timestamp: record.timestamp,
        key: record.key.map(Vec::from),
        value: record.value.map(Vec::from),
        headers: record
            .headers
            .into_iter()
            .map(|(key, value)| (key.to_string(), value.map(Vec::from)))
            .collect(),
    });
    Ok(all.collect())
}

fn with_header<T: Decodable + Encodable + HeaderVersion + Message + std::fmt::Debug>(
    key: ApiKey,
    bytes: &[u8],
    version: i16,
) -> Result<Option<Vec<u8>>, String> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let header_version = T::header_version(version);
    let header = decode::<theirs::RequestHeader>(&mut rest, header_version)?;
    assert_eq!(header.request_api_key, key.number());
    assert_eq!(header.request_api_version, version);
    let opened = encode(&header, header_version)?;
    let body = recode::<T>(&rest, version)?;
    Ok(body.map(|body| [opened, body].concat()))
}

/// Decodes all of `bytes`, and encodes what they say; `None` if the crate does not know the version
/// yet, or a field.
fn recode<T: Decodable + Encodable + Message + std::fmt::Debug>(
    bytes: &[u8],
    version: i16,
) -> Result<Option<Vec<u8>>, String> {
    if version > T::VERSIONS.max {
        return Ok(None);
    }
    let mut rest = Bytes::copy_from_slice(bytes);
    let value = decode::<T>(&mut rest, version)?;
    if rest.has_remaining() {
        return Err(format!("{} bytes remain", rest.remaining()));
    }
    let encoded = encode(&value, version)?;
    Ok((!has_unknown_fields(&value)).then_some(encoded))
}

fn has_unknown_fields(value: &impl std::fmt::Debug) -> bool {
    let printed = format!("{value:?}");
    printed.matches("unknown_tagged_fields: {").count()
        != printed.matches("unknown_tagged_fields: {}").count()
}

fn decode<T: Decodable>(rest: &mut Bytes, version: i16) -> Result<T, String> {
    T::decode(rest, version).map_err(|err| format!("{err:#}"))
}

fn encode(value: &impl Encodable, version: i16) -> Result<Vec<u8>, String> {
    let mut out = BytesMut::new();
    value
        .encode(&mut out, version)
        .map_err(|err| format!("{err:#}"))?;
    Ok(out.to_vec())
}
