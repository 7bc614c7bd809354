//! Reads, makes and writes messages by Kafka's schemas alone.
//!
//! Knows nothing of this program's codec. A message is a tree of JSON: one entry for each field that
//! any implemented version has, with its default where the version at hand lacks it; bytes are
//! lists of numbers, ids are as Kafka prints them.

use kmirror_protocol::{generate::Source, wire::Uuid};
use serde_json::{Map, Value};

use super::schema::{Field, Kind, Schema, Versions};

/// One version of one message.
#[derive(Clone)]
pub(super) struct Codec<'a> {
    pub(super) schema: &'a Schema,
    pub(super) version: i16,
    /// All versions that are implemented.
    pub(super) known: Versions,
}

/// What [`Codec::read`] found.
pub(super) struct Read {
    pub(super) message: Value,
    /// Paths of fields that are null although this version does not allow it.
    pub(super) wrong_nulls: Vec<String>,
}

impl Codec<'_> {
    fn is_flexible(&self) -> bool {
        self.schema.flexible.contains(&self.version)
    }

    fn is_tagged(&self, field: &Field) -> bool {
        self.is_flexible() && field.tagged.contains(&self.version)
    }

    fn is_plain(&self, field: &Field) -> bool {
        field.versions.contains(&self.version) && !self.is_tagged(field)
    }

    /// Reads a message that must take all of `bytes`.
    pub(super) fn read(&self, bytes: &[u8]) -> Result<Read, String> {
        let mut reader = Reader {
            codec: self,
            rest: bytes,
            path: Vec::new(),
            wrong_nulls: Vec::new(),
        };
        let message = reader.fields(&self.schema.fields);
        let left = reader.rest.len();
        match message {
            Ok(message) if left == 0 => Ok(Read {
                message,
                wrong_nulls: reader.wrong_nulls,
            }),
            Ok(_) => Err(format!("{left} bytes are no field's")),
            Err(why) => Err(format!("{} at {}", why, reader.path.join("."))),
        }
    }

    /// Makes a random message of this version.
    pub(super) fn random(&self, source: &mut Source) -> Value {
        self.random_fields(&self.schema.fields, source, None)
    }

    /// Makes a message in which the field at `path` is there and null.
    pub(super) fn with_null_at(&self, source: &mut Source, path: &[&str]) -> Value {
        self.random_fields(&self.schema.fields, source, Some(path))
    }

    fn random_fields(&self, fields: &[Field], source: &mut Source, null: Option<&[&str]>) -> Value {
        let known = fields.iter().filter(|field| field.is_known(&self.known));
        let values = known.map(|field| {
            let null = null.and_then(|path| path.split_first());
            let null = null.and_then(|(first, rest)| (*first == field.name).then_some(rest));
            let is_left_out = !field.versions.contains(&self.version)
                || null.is_none() && self.is_tagged(field) && source.coin();
            let value = if is_left_out {
                field.default(&self.known)
            } else if null.is_none() && field.nullable.contains(&self.version) && source.coin() {
                Value::Null
            } else {
                self.random_value(&field.kind, source, null)
            };
            (field.name.clone(), value)
        });
        Value::Object(values.collect())
    }

    fn random_value(&self, kind: &Kind, source: &mut Source, null: Option<&[&str]>) -> Value {
        if null.is_some_and(<[_]>::is_empty) {
            return Value::Null;
        }
        match kind {
            Kind::Bool => Value::Bool(source.coin()),
            Kind::Integer { bytes, signed } => Value::from(random_integer(source, *bytes, *signed)),
            Kind::Float64 => Value::from(f64::from(random_int32(source))),
            Kind::Uuid => {
                let bits = u128::from(source.bits()) << 64 | u128::from(source.bits());
                Value::String(Uuid(bits.to_be_bytes()).to_string())
            }
            Kind::String => Value::String("größe ".repeat(random_len(source))),
            Kind::Bytes => (0..random_len(source)).map(|at| at % 256).collect(),
            Kind::Array(element) => {
                let len = match source.below(64) {
                    0 => 128,
                    few => few % 4,
                };
                let null = null.map(|path| path.strip_prefix(&["[]"]).unwrap_or(path));
                let elements = 0..len.max(usize::from(null.is_some()));
                elements
                    .map(|_| self.random_value(element, source, null))
                    .collect()
            }
            Kind::Struct(fields) => self.random_fields(fields, source, null),
        }
    }

    /// Writes a message; null wherever the message has it.
    pub(super) fn write(&self, message: &Value) -> Vec<u8> {
        let mut out = Vec::new();
        self.write_fields(&self.schema.fields, message, &mut out);
        out
    }

    fn write_fields(&self, fields: &[Field], values: &Value, out: &mut Vec<u8>) {
        for field in fields.iter().filter(|field| self.is_plain(field)) {
            self.write_field(field, &values[&field.name], out);
        }
        if !self.is_flexible() {
            return;
        }
        let mut tagged: Vec<&Field> = fields
            .iter()
            .filter(|field| self.is_tagged(field))
            .collect();
        tagged.retain(|field| values[&field.name] != field.default(&self.known));
        tagged.sort_by_key(|field| field.tag);
        write_varint(tagged.len(), out);
        for field in tagged {
            let mut value = Vec::new();
            self.write_field(field, &values[&field.name], &mut value);
            write_varint(usize::try_from(field.tag).unwrap(), out);
            write_varint(value.len(), out);
            out.extend(value);
        }
    }

    fn write_field(&self, field: &Field, value: &Value, out: &mut Vec<u8>) {
        // KIP-893: one byte says whether a struct is there, if it need not be.
        if matches!(field.kind, Kind::Struct(_)) && field.nullable.contains(&self.version) {
            out.push(if value.is_null() { 0xff } else { 1 });
            if value.is_null() {
                return;
            }
        }
        self.write_value(&field.kind, value, out);
    }

    fn write_value(&self, kind: &Kind, value: &Value, out: &mut Vec<u8>) {
        match kind {
            Kind::Bool => out.push(u8::from(value.as_bool().unwrap())),
            Kind::Integer { bytes, .. } => {
                let whole = value.as_i64().unwrap().to_be_bytes();
                out.extend(&whole[whole.len() - usize::try_from(*bytes).unwrap()..]);
            }
            Kind::Float64 => out.extend(value.as_f64().unwrap().to_be_bytes()),
            Kind::Uuid => out.extend(uuid(value.as_str().unwrap())),
            Kind::String => {
                self.write_len(value.as_str().map(str::len), 2, out);
                out.extend(value.as_str().unwrap_or_default().bytes());
            }
            Kind::Bytes => {
                let bytes = value.as_array();
                self.write_len(bytes.map(Vec::len), 4, out);
                let bytes = bytes.into_iter().flatten();
                out.extend(bytes.map(|byte| u8::try_from(byte.as_u64().unwrap()).unwrap()));
            }
            Kind::Array(element) => {
                let elements = value.as_array();
                self.write_len(elements.map(Vec::len), 4, out);
                for value in elements.into_iter().flatten() {
                    self.write_value(element, value, out);
                }
            }
            Kind::Struct(fields) => self.write_fields(fields, value, out),
        }
    }

    /// A length or null: a varint of one more, or so many bytes (KIP-482).
    fn write_len(&self, len: Option<usize>, plain_bytes: usize, out: &mut Vec<u8>) {
        if self.is_flexible() {
            return write_varint(len.map_or(0, |len| len + 1), out);
        }
        let whole = len
            .map_or(-1, |len| i64::try_from(len).unwrap())
            .to_be_bytes();
        out.extend(&whole[whole.len() - plain_bytes..]);
    }

    /// The paths of all fields and elements that are never null in this version although their
    /// type has a null on the wire.
    pub(super) fn never_null(&self) -> Vec<Vec<&str>> {
        let mut paths = Vec::new();
        self.collect_never_null(&self.schema.fields, &[], &mut paths);
        paths
    }

    fn collect_never_null<'s>(
        &self,
        fields: &'s [Field],
        parent: &[&'s str],
        paths: &mut Vec<Vec<&'s str>>,
    ) {
        for field in fields
            .iter()
            .filter(|field| field.versions.contains(&self.version))
        {
            let path = [parent, &[field.name.as_str()]].concat();
            if has_null(&field.kind) && !field.nullable.contains(&self.version) {
                paths.push(path.clone());
            }
            match &field.kind {
                Kind::Struct(fields) => self.collect_never_null(fields, &path, paths),
                Kind::Array(element) => match &**element {
                    Kind::Struct(fields) => self.collect_never_null(fields, &path, paths),
                    element if has_null(element) => paths.push([&path[..], &["[]"]].concat()),
                    _ => {}
                },
                _ => {}
            }
        }
    }
}

const fn has_null(kind: &Kind) -> bool {
    matches!(kind, Kind::String | Kind::Bytes | Kind::Array(_))
}

fn random_int32(source: &mut Source) -> i32 {
    let bytes = source.bits().to_be_bytes();
    i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// The edges as often as anything between.
fn random_integer(source: &mut Source, bytes: u32, signed: bool) -> i64 {
    let bits = bytes * 8;
    let any = i64::from_be_bytes(source.bits().to_be_bytes());
    let (any, max, min) = if signed {
        let max = i64::MAX >> (64 - bits);
        (any >> (64 - bits), max, !max)
    } else {
        let max = (1 << bits) - 1;
        (any & max, max, 0)
    };
    [0, 1, max, min, any, any, any, any][source.below(8)]
}

/// Mostly short, at times where a varint grows by a byte.
fn random_len(source: &mut Source) -> usize {
    match source.below(64) {
        0 => 18 + source.below(3),
        few => few % 5,
    }
}

fn write_varint(mut value: usize, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(u8::try_from(value & 0x7f).unwrap() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap());
}

/// The bytes of an id that is printed in URL-safe Base64.
fn uuid(text: &str) -> [u8; 16] {
    let digit = |letter: u8| match letter {
        b'A'..=b'Z' => letter - b'A',
        b'a'..=b'z' => letter - b'a' + 26,
        b'0'..=b'9' => letter - b'0' + 52,
        b'-' => 62,
        _ => 63,
    };
    let (last, digits) = text.as_bytes().split_last().unwrap();
    let bits = digits
        .iter()
        .fold(0, |bits, letter| bits << 6 | u128::from(digit(*letter)));
    (bits << 2 | u128::from(digit(*last) >> 4)).to_be_bytes()
}

/// Takes a message apart.
struct Reader<'a> {
    codec: &'a Codec<'a>,
    rest: &'a [u8],
    /// Where it is, for messages.
    path: Vec<String>,
    wrong_nulls: Vec<String>,
}

impl Reader<'_> {
    fn take(&mut self, len: usize) -> Result<Vec<u8>, String> {
        let (taken, rest) = self.rest.split_at_checked(len).ok_or("the bytes end")?;
        self.rest = rest;
        Ok(taken.to_vec())
    }

    fn integer(&mut self, bytes: u32, signed: bool) -> Result<i64, String> {
        let taken = self.take(usize::try_from(bytes).unwrap())?;
        let bits = taken
            .iter()
            .fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let unused = 64 - bytes * 8;
        let extended = i64::from_be_bytes((bits << unused).to_be_bytes()) >> unused;
        Ok(if signed {
            extended
        } else {
            i64::try_from(bits).unwrap()
        })
    }

    fn varint(&mut self) -> Result<usize, String> {
        let mut value = 0;
        for shift in (0..35).step_by(7) {
            let byte = self.take(1)?[0];
            value |= usize::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err("a varint does not end".to_owned())
    }

    /// A length, `None` for null.
    fn len(&mut self, plain_bytes: u32) -> Result<Option<usize>, String> {
        if self.codec.is_flexible() {
            return Ok(self.varint()?.checked_sub(1));
        }
        match self.integer(plain_bytes, true)? {
            -1 => Ok(None),
            len => usize::try_from(len)
                .map(Some)
                .map_err(|_| format!("a length of {len}")),
        }
    }

    fn fields(&mut self, fields: &[Field]) -> Result<Value, String> {
        let known = &self.codec.known;
        let mut values = Map::new();
        for field in fields.iter().filter(|field| field.is_known(known)) {
            let value = if self.codec.is_plain(field) {
                self.field(field)?
            } else {
                field.default(known)
            };
            values.insert(field.name.clone(), value);
        }
        if self.codec.is_flexible() {
            self.tagged(fields, &mut values)?;
        }
        Ok(Value::Object(values))
    }

    /// Takes tagged fields: ascending, known, and none that has its default.
    fn tagged(&mut self, fields: &[Field], values: &mut Map<String, Value>) -> Result<(), String> {
        let mut least = 0;
        for _ in 0..self.varint()? {
            let (tag, len) = (self.varint()?, self.varint()?);
            let field = fields.iter().find(|field| {
                self.codec.is_tagged(field) && usize::try_from(field.tag) == Ok(tag) && tag >= least
            });
            let field = field.ok_or_else(|| format!("tag {tag} is unknown or out of order"))?;
            least = tag + 1;
            let end = self
                .rest
                .len()
                .checked_sub(len)
                .ok_or("a tagged field is too long")?;
            let value = self.field(field)?;
            if self.rest.len() != end {
                return Err(format!("the length of tag {tag} is wrong"));
            }
            if value == field.default(&self.codec.known) {
                return Err(format!("tag {tag} holds its default"));
            }
            values.insert(field.name.clone(), value);
        }
        Ok(())
    }

    fn field(&mut self, field: &Field) -> Result<Value, String> {
        self.path.push(field.name.clone());
        let is_nullable = field.nullable.contains(&self.codec.version);
        let value = match &field.kind {
            Kind::Struct(_) if is_nullable => match self.integer(1, true)? {
                -1 => Value::Null,
                1 => self.value(&field.kind)?,
                other => return Err(format!("{other} is no struct and no null")),
            },
            kind => self.value(kind)?,
        };
        if value.is_null() && !is_nullable {
            self.wrong_nulls.push(self.path.join("."));
        }
        self.path.pop();
        Ok(value)
    }

    fn value(&mut self, kind: &Kind) -> Result<Value, String> {
        Ok(match kind {
            Kind::Bool => Value::Bool(self.integer(1, true)? != 0),
            Kind::Integer { bytes, signed } => Value::from(self.integer(*bytes, *signed)?),
            Kind::Float64 => {
                let bits = self.integer(8, true)?.to_be_bytes();
                Value::from(f64::from_be_bytes(bits))
            }
            Kind::Uuid => {
                let bytes = self.take(16)?.try_into().unwrap();
                Value::String(Uuid(bytes).to_string())
            }
            Kind::String => match self.len(2)? {
                None => Value::Null,
                Some(len) => {
                    let text = String::from_utf8(self.take(len)?);
                    Value::String(text.map_err(|error| error.to_string())?)
                }
            },
            Kind::Bytes => match self.len(4)? {
                None => Value::Null,
                Some(len) => self.take(len)?.into_iter().collect(),
            },
            Kind::Array(element) => match self.len(4)? {
                None => Value::Null,
                Some(len) => {
                    let elements: Result<_, _> = (0..len).map(|_| self.value(element)).collect();
                    Value::Array(elements?)
                }
            },
            Kind::Struct(fields) => self.fields(fields)?,
        })
    }
}
