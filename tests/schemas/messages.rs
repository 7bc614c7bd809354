//! This program's messages, each as functions from bytes, so that one test covers all.

use std::ops::RangeInclusive;

use kmirror_protocol::{
    Malformed, Request, Version, for_each_api,
    generate::{Generate, Source},
    messages,
    wire::{Decode, Encode, Reader, Writer},
};

/// One request or response.
pub(super) struct Message {
    /// Kafka's name.
    pub(super) name: &'static str,
    pub(super) key: i16,
    pub(super) versions: RangeInclusive<i16>,
    pub(super) flexible_from: i16,
    pub(super) version: fn(i16) -> Version,
    /// A random message.
    pub(super) generate: fn(&mut Source, Version) -> Vec<u8>,
    /// How it is printed.
    pub(super) debug: fn(&[u8], Version) -> Result<String, Malformed>,
    /// Decodes and encodes again.
    pub(super) recode: fn(&[u8], Version) -> Result<Vec<u8>, Malformed>,
}

fn encode(value: &impl Encode, version: Version) -> Vec<u8> {
    let mut writer = Writer::new();
    value.write(&mut writer, version);
    writer.finish_contiguous().unwrap()
}

macro_rules! message {
    ($name:ident, $request:ident) => {
        Message {
            name: stringify!($name),
            key: messages::$request::KEY.number(),
            versions: messages::$request::VERSIONS,
            flexible_from: messages::$request::FLEXIBLE_FROM,
            version: messages::$request::version,
            generate: |source, version| {
                encode(&messages::$name::generate(source, version), version)
            },
            debug: |bytes, version| {
                let mut reader = Reader::new(bytes);
                let value = messages::$name::read(&mut reader, version)?;
                reader.end()?;
                Ok(format!("{value:?}"))
            },
            recode: |bytes, version| {
                let mut reader = Reader::new(bytes);
                let value = messages::$name::read(&mut reader, version)?;
                reader.end()?;
                Ok(encode(&value, version))
            },
        }
    };
}

macro_rules! messages {
    ($($request:ident $(<$lt:lifetime>)? => $response:ident,)+) => {
        /// Requests and responses of every API that is implemented.
        pub(super) fn all() -> Vec<Message> {
            vec![$(message!($request, $request), message!($response, $request),)+]
        }
    };
}

for_each_api!(messages);
