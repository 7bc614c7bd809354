//! Every message table against the schemas in Kafka's own jar: no field, version or API can hide.
//!
//! [`codec`] reads and writes messages by those schemas alone. What it makes must decode here to the
//! same names and values, defaults of absent fields included, and encode to the same bytes; what
//! this program makes must be read by it to the last byte.

mod codec;
mod debug;
mod lists;
mod messages;
mod schema;

use std::collections::{BTreeMap, BTreeSet};

use kmirror_protocol::{ErrorCode, Version, generate::Source};
use serde_json::Value;

use self::{
    codec::Codec,
    lists::{LAX_NULLS, NARROWER, NOT_IMPLEMENTED},
    messages::Message,
    schema::Schema,
};
use crate::support::java_client;

/// How many random messages each version of a message is tried with, each way.
const SEEDS: u64 = 12;

type Schemas = BTreeMap<String, Schema>;

/// Calls `check` with each version of each message.
fn for_each_version(schemas: &Schemas, mut check: impl FnMut(&Message, Version, &Codec<'_>)) {
    for message in messages::all() {
        for number in message.versions.clone() {
            let codec = Codec {
                schema: &schemas[message.name],
                version: number,
                known: message.versions.clone(),
            };
            check(&message, (message.version)(number), &codec);
        }
    }
}

#[test]
fn every_request_of_kafkas_is_implemented_or_left_out_for_a_reason() {
    let Some(schemas) = schema::all() else { return };
    let messages = messages::all();
    let is_implemented = |name: &str| messages.iter().any(|message| message.name == name);
    let mut left_out = BTreeSet::new();
    for schema in schemas.values() {
        let is_for_brokers = schema.listeners.iter().any(|listener| listener == "broker");
        if is_for_brokers && !is_implemented(&schema.name) {
            left_out.insert(schema.name.as_str());
        }
    }
    let listed: BTreeSet<&str> = NOT_IMPLEMENTED
        .iter()
        .flat_map(|(_, names)| names.iter().copied())
        .collect();
    assert_eq!(left_out, listed);
}

#[test]
fn versions_are_kafkas_own_or_fewer_for_a_reason() {
    let Some(schemas) = schema::all() else { return };
    let mut fewer = Vec::new();
    for message in messages::all() {
        let schema = &schemas[message.name];
        assert_eq!(message.key, schema.key, "{}", message.name);
        for number in message.versions.clone() {
            let is_flexible = number >= message.flexible_from;
            let expected = schema.flexible.contains(&number);
            assert_eq!(is_flexible, expected, "{} v{number}", message.name);
        }
        if message.versions != schema.valid {
            fewer.push((message.name, message.versions, schema.valid.clone()));
        }
    }
    let both = |name: &str| [format!("{name}Request"), format!("{name}Response")];
    let listed: Vec<_> = NARROWER
        .iter()
        .flat_map(|(name, ours, theirs, _)| both(name).map(|name| (name, ours, theirs)))
        .collect();
    let fewer: Vec<_> = fewer
        .iter()
        .map(|(name, ours, theirs)| ((*name).to_owned(), ours, theirs))
        .collect();
    assert_eq!(fewer, listed);
}

#[test]
fn what_this_program_writes_is_what_kafkas_schemas_say() {
    let Some(schemas) = schema::all() else { return };
    let mut wrong_nulls = BTreeSet::new();
    for_each_version(&schemas, |message, version, codec| {
        for seed in 0..SEEDS {
            let what = (message.name, version.number, seed);
            let bytes = (message.generate)(&mut Source::new(seed), version);
            let read = codec.read(&bytes);
            let read = read.unwrap_or_else(|why| panic!("{what:?}: {why}"));
            check_print(message, version, &bytes, &read.message);
            let wrong = read.wrong_nulls.into_iter();
            wrong_nulls.extend(wrong.map(|path| (message.name, path)));
        }
    });
    // A table has one type for all versions; nothing else may write null where Kafka forbids it.
    for (name, path) in wrong_nulls {
        assert!(is_lax(name, &path), "{name}.{path} is written as null");
    }
}

#[test]
fn what_kafkas_schemas_allow_decodes_and_encodes_to_the_same_bytes() {
    let Some(schemas) = schema::all() else { return };
    for_each_version(&schemas, |message, version, codec| {
        for seed in 0..SEEDS {
            let what = (message.name, version.number, seed);
            let expected = codec.random(&mut Source::new(seed));
            let bytes = codec.write(&expected);
            let read = codec.read(&bytes).unwrap();
            assert_eq!(read.message, expected, "{what:?}");
            check_print(message, version, &bytes, &expected);
            let ours = (message.recode)(&bytes, version);
            assert_eq!(ours.as_ref(), Ok(&bytes), "{what:?}");
        }
    });
}

/// Compares how a message is printed with what it holds by its schema.
fn check_print(message: &Message, version: Version, bytes: &[u8], expected: &Value) {
    let what = (message.name, version.number);
    let printed = (message.debug)(bytes, version);
    let printed = printed.unwrap_or_else(|error| panic!("{what:?}: {error} in {expected}"));
    let difference = debug::difference(&debug::parse(&printed), expected);
    assert_eq!(difference, None, "{what:?}");
}

#[test]
fn null_is_refused_where_kafkas_schemas_do_not_allow_it() {
    let Some(schemas) = schema::all() else { return };
    let mut accepted: BTreeMap<(&str, String), Vec<i16>> = BTreeMap::new();
    for_each_version(&schemas, |message, version, codec| {
        for path in codec.never_null() {
            let bytes = codec.write(&codec.with_null_at(&mut Source::new(1), &path));
            if (message.recode)(&bytes, version).is_ok() {
                let versions = accepted.entry((message.name, path.join("."))).or_default();
                versions.push(version.number);
            }
        }
    });
    let accepted: Vec<_> = accepted
        .iter()
        .map(|((name, path), versions)| (*name, path.as_str(), versions.as_slice()))
        .collect();
    assert_eq!(accepted, LAX_NULLS);
}

fn is_lax(name: &str, path: &str) -> bool {
    LAX_NULLS.iter().any(|lax| (lax.0, lax.1) == (name, path))
}

#[test]
fn error_codes_are_kafkas_own() {
    let Some(errors) = java_client::definitions("errors") else {
        return;
    };
    let theirs = errors.as_array().unwrap().iter().map(|error| {
        let code = error["code"].as_i64().unwrap();
        let flag = |name: &str| error[name].as_bool().unwrap();
        let name = error["name"].as_str().unwrap();
        (code, name, flag("retriable"), flag("invalid_metadata"))
    });
    let theirs: Vec<_> = theirs.collect();
    let ours = ErrorCode::ALL.iter().map(|code| {
        let name = code.name().unwrap();
        let number = i64::from(code.0);
        (
            number,
            name,
            code.is_retriable(),
            code.needs_metadata_refresh(),
        )
    });
    assert_eq!(ours.collect::<Vec<_>>(), theirs);
}
