//! Every message of this crate beside the same message of the `kafka-protocol` crate, which is
//! generated from Kafka's own schemas: bytes in, bytes out, so that one test covers all.

use std::{fmt::Debug, ops::RangeInclusive};

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::protocol::{Decodable, Encodable, HeaderVersion, Message};
use kmirror_protocol::{
    ApiKey, Malformed, Request, Version, for_each_api,
    generate::{Generate, Source},
    messages,
    wire::{Decode, Encode, Reader, Writer},
};

/// Decodes all of the bytes in one version and encodes them in another.
type Recode<Version, Error> = fn(&[u8], Version, Version) -> Result<Vec<u8>, Error>;

/// One message type, ours and theirs.
pub(crate) struct Table {
    pub(crate) name: &'static str,
    pub(crate) key: ApiKey,
    pub(crate) versions: RangeInclusive<i16>,
    /// The oracle's API key, versions, and header version for a version.
    pub(crate) oracle_key: i16,
    pub(crate) oracle_versions: RangeInclusive<i16>,
    pub(crate) oracle_header: fn(i16) -> i16,
    /// A version by its number.
    pub(crate) version: fn(i16) -> Version,
    /// A random value, encoded by us; decoding it has been seen to give the value back.
    pub(crate) generate: fn(&mut Source, Version) -> Vec<u8>,
    /// By us.
    pub(crate) recode: Recode<Version, Malformed>,
    /// By the oracle.
    pub(crate) oracle: Recode<i16, String>,
    /// How we and the oracle print what the bytes decode to.
    pub(crate) debug: fn(&[u8], Version) -> (String, String),
    /// Adds a tagged field that no schema knows to the outermost struct, by the oracle.
    pub(crate) with_unknown_tag: fn(&[u8], i16) -> Vec<u8>,
    /// Decodes a message, whatever follows it, and walks all of it.
    pub(crate) walk: fn(&[u8], Version) -> Result<(), Malformed>,
}

impl Table {
    /// Every version of the message.
    pub(crate) fn each_version(&self) -> impl Iterator<Item = Version> {
        self.versions.clone().map(self.version)
    }

    /// Every version of the message that the oracle knows too.
    pub(crate) fn each_oracle_version(&self) -> impl Iterator<Item = Version> {
        let known = |version: &Version| self.oracle_versions.contains(&version.number);
        self.each_version().filter(known)
    }
}

pub(crate) fn encode(value: &impl Encode, version: Version) -> Vec<u8> {
    let mut writer = Writer::new();
    value.write(&mut writer, version);
    writer
        .finish_contiguous()
        .expect("no test value is longer than its length can say")
}

/// Decodes a message that must take all of `bytes`.
pub(crate) fn decode<'a, T: Decode<'a>>(bytes: &'a [u8], version: Version) -> Result<T, Malformed> {
    let mut reader = Reader::new(bytes);
    let value = T::read(&mut reader, version)?;
    reader.end()?;
    Ok(value)
}

/// Checks that `bytes` decode to the value they came from; apart, so that lifetimes can differ.
fn check_same<'a, T: Decode<'a> + PartialEq + Debug>(value: &T, bytes: &'a [u8], version: Version) {
    assert_eq!(decode::<T>(bytes, version).as_ref(), Ok(value));
}

fn oracle_decode<T: Decodable>(bytes: &[u8], version: i16) -> Result<T, String> {
    let mut rest = Bytes::copy_from_slice(bytes);
    let value = T::decode(&mut rest, version).map_err(|err| format!("{err:#}"))?;
    if rest.has_remaining() {
        return Err(format!("{} bytes remain", rest.remaining()));
    }
    Ok(value)
}

pub(crate) fn oracle_encode(value: &impl Encodable, version: i16) -> Result<Vec<u8>, String> {
    let mut out = BytesMut::new();
    value
        .encode(&mut out, version)
        .map_err(|err| format!("{err:#}"))?;
    Ok(out.to_vec())
}

/// Adds an unknown tag by the oracle, whose messages without a flexible version have no such field.
macro_rules! with_unknown_tag {
    (SaslHandshakeRequest) => {
        never_flexible
    };
    (SaslHandshakeResponse) => {
        never_flexible
    };
    (OffsetDeleteRequest) => {
        never_flexible
    };
    (OffsetDeleteResponse) => {
        never_flexible
    };
    ($name:ident) => {
        |bytes, version| {
            let mut value =
                oracle_decode::<kafka_protocol::messages::$name>(bytes, version).unwrap();
            let unknown = Bytes::from_static(b"from the future");
            value.unknown_tagged_fields.insert(9_999, unknown);
            oracle_encode(&value, version).unwrap()
        }
    };
}

fn never_flexible(_: &[u8], version: i16) -> Vec<u8> {
    panic!("version {version} has no tagged fields")
}

/// The table of one message type; `$request` is the request it is or answers.
macro_rules! table {
    ($name:tt, $request:ident) => {{
        let oracle_versions = kafka_protocol::messages::$name::VERSIONS;
        Table {
            name: stringify!($name),
            key: messages::$request::KEY,
            versions: messages::$request::VERSIONS,
            oracle_key:
                <kafka_protocol::messages::$request as kafka_protocol::protocol::Request>::KEY,
            oracle_versions: oracle_versions.min..=oracle_versions.max,
            oracle_header: kafka_protocol::messages::$name::header_version,
            version: messages::$request::version,
            generate: |source, version| {
                let value = messages::$name::generate(source, version);
                let bytes = encode(&value, version);
                check_same(&value, &bytes, version);
                bytes
            },
            recode: |bytes, from, to| {
                let mut reader = Reader::new(bytes);
                let value = messages::$name::read(&mut reader, from)?;
                reader.end()?;
                Ok(encode(&value, to))
            },
            oracle: |bytes, from, to| {
                oracle_encode(
                    &oracle_decode::<kafka_protocol::messages::$name>(bytes, from)?,
                    to,
                )
            },
            debug: |bytes, version| {
                let ours = messages::$name::read(&mut Reader::new(bytes), version).unwrap();
                let theirs: kafka_protocol::messages::$name =
                    oracle_decode(bytes, version.number).unwrap();
                (format!("{ours:?}"), format!("{theirs:?}"))
            },
            with_unknown_tag: with_unknown_tag!($name),
            walk: |bytes, version| {
                let value = messages::$name::read(&mut Reader::new(bytes), version)?;
                // A comparison looks at every field of every element.
                std::hint::black_box(value == value.clone());
                Ok(())
            },
        }
    }};
}

macro_rules! tables {
    ($($request:tt $(<$lt:lifetime>)? => $response:tt,)+) => {
        /// Requests and responses of every API that this crate implements.
        pub(crate) fn tables() -> Vec<Table> {
            vec![$(table!($request, $request), table!($response, $request),)+]
        }
    };
}

for_each_api!(tables);
