//! Kafka's message schemas as Kafka's own generator reads them (`common/message/README.md`).

use std::{collections::BTreeMap, ops::RangeInclusive};

use serde_json::{Map, Value};

use crate::support::java_client;

/// A range of versions; the schemas' "none" holds only -1, which is no version.
pub(super) type Versions = RangeInclusive<i16>;

/// One request or response.
pub(super) struct Schema {
    pub(super) name: String,
    pub(super) key: i16,
    /// Which kinds of node take the request; none are given for responses.
    pub(super) listeners: Vec<String>,
    pub(super) valid: Versions,
    pub(super) flexible: Versions,
    pub(super) fields: Vec<Field>,
}

/// One field of a message or of a struct within.
#[derive(Clone)]
pub(super) struct Field {
    /// In snake case.
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) versions: Versions,
    pub(super) nullable: Versions,
    /// The versions in which the field is tagged, and its tag.
    pub(super) tagged: Versions,
    pub(super) tag: u32,
    /// As the schema has it; null when it has none.
    default: Value,
}

/// The type of a field or element.
#[derive(Clone)]
pub(super) enum Kind {
    Bool,
    /// A signed or unsigned integer of so many bytes.
    Integer {
        bytes: u32,
        signed: bool,
    },
    Float64,
    Uuid,
    String,
    /// Also records, which are bytes to a message.
    Bytes,
    Array(Box<Self>),
    Struct(Vec<Field>),
}

/// Every request and response of Kafka's jar by name; `None` skips the test.
///
/// Those that Kafka has given up are left out: they have no versions and no fields.
pub(super) fn all() -> Option<BTreeMap<String, Schema>> {
    let answer = java_client::definitions("schemas")?;
    let schemas = answer.as_object().unwrap().iter();
    let messages = schemas.filter(|(_, schema)| {
        matches!(word(schema, "type"), "request" | "response")
            && word(schema, "validVersions") != "none"
    });
    let parsed = messages.map(|(name, schema)| (name.clone(), Schema::parse(schema)));
    Some(parsed.collect())
}

impl Schema {
    fn parse(schema: &Value) -> Self {
        let commons = schema["commonStructs"].as_array();
        let commons: BTreeMap<&str, &Value> = commons
            .into_iter()
            .flatten()
            .map(|common| (word(common, "name"), common))
            .collect();
        let listeners = schema["listeners"].as_array();
        Self {
            name: word(schema, "name").to_owned(),
            key: schema["apiKey"].as_i64().unwrap().try_into().unwrap(),
            listeners: listeners
                .into_iter()
                .flatten()
                .map(|listener| listener.as_str().unwrap().to_owned())
                .collect(),
            valid: versions(&schema["validVersions"]),
            flexible: versions(&schema["flexibleVersions"]),
            fields: fields(schema, &commons),
        }
    }
}

fn fields(of: &Value, commons: &BTreeMap<&str, &Value>) -> Vec<Field> {
    let fields = of["fields"].as_array().unwrap().iter();
    fields.map(|field| Field::parse(field, commons)).collect()
}

impl Field {
    fn parse(field: &Value, commons: &BTreeMap<&str, &Value>) -> Self {
        Self {
            name: snake_case(word(field, "name")),
            kind: Kind::parse(word(field, "type"), field, commons),
            versions: versions(&field["versions"]),
            nullable: versions(&field["nullableVersions"]),
            tagged: versions(&field["taggedVersions"]),
            tag: field["tag"]
                .as_u64()
                .unwrap_or_default()
                .try_into()
                .unwrap(),
            default: field["default"].clone(),
        }
    }

    /// Whether a message of one of `versions` can carry the field.
    pub(super) fn is_known(&self, versions: &Versions) -> bool {
        self.versions.start().max(versions.start()) <= self.versions.end().min(versions.end())
    }

    /// What a reader takes the field for when the message does not carry it.
    ///
    /// `known` says which fields a struct has.
    pub(super) fn default(&self, known: &Versions) -> Value {
        let text = match &self.default {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            plain => plain.to_string(),
        };
        if text == "null" {
            return Value::Null;
        }
        match &self.kind {
            Kind::Bool => Value::Bool(text == "true"),
            Kind::Float64 => Value::from(text.parse().unwrap_or(0.0)),
            Kind::Integer { .. } => Value::from(integer(&text)),
            Kind::Uuid => Value::String("A".repeat(22)),
            Kind::String => Value::String(text),
            Kind::Bytes | Kind::Array(_) => Value::Array(Vec::new()),
            Kind::Struct(fields) => Value::Object(defaults(fields, known)),
        }
    }
}

/// The default of every field that is known.
fn defaults(fields: &[Field], known: &Versions) -> Map<String, Value> {
    let fields = fields.iter().filter(|field| field.is_known(known));
    fields
        .map(|field| (field.name.clone(), field.default(known)))
        .collect()
}

impl Kind {
    fn parse(name: &str, field: &Value, commons: &BTreeMap<&str, &Value>) -> Self {
        let integer = |bytes, signed| Self::Integer { bytes, signed };
        match name {
            "bool" => Self::Bool,
            "int8" => integer(1, true),
            "int16" => integer(2, true),
            "uint16" => integer(2, false),
            "int32" => integer(4, true),
            "uint32" => integer(4, false),
            "int64" => integer(8, true),
            "float64" => Self::Float64,
            "uuid" => Self::Uuid,
            "string" => Self::String,
            "bytes" | "records" => Self::Bytes,
            _ => match (name.strip_prefix("[]"), commons.get(name)) {
                (Some(element), _) => Self::Array(Box::new(Self::parse(element, field, commons))),
                (None, Some(common)) => Self::Struct(fields(common, commons)),
                (None, None) => Self::Struct(fields(field, commons)),
            },
        }
    }
}

fn word<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_default()
}

/// A decimal or hexadecimal default; 0 when there is none.
fn integer(text: &str) -> i64 {
    match text.strip_prefix("0x") {
        Some(hex) => i64::from_str_radix(hex, 16).unwrap(),
        None if text.is_empty() => 0,
        None => text.parse().unwrap(),
    }
}

/// "3", "3-5", "3+", "none", or nothing.
fn versions(text: &Value) -> Versions {
    let text = text.as_str().unwrap_or("none");
    let number = |text: &str| text.parse().unwrap();
    match (text, text.strip_suffix('+'), text.split_once('-')) {
        ("none", ..) => -1..=-1,
        (_, Some(first), _) => number(first)..=i16::MAX,
        (_, _, Some((first, last))) => number(first)..=number(last),
        _ => number(text)..=number(text),
    }
}

/// `V3AndBelowTopics` is `v3_and_below_topics`.
fn snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}
