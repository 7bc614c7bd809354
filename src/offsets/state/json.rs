//! Members of JSON objects, each of its type and within its bounds, or else foreign.

use kmirror_protocol::wire::Uuid;
use serde_json::{Map, Value};

use super::{Unusable, VERSION};

/// Reads an object of this format version.
pub(super) fn parse(text: &[u8]) -> Result<Map<String, Value>, Unusable> {
    let value = serde_json::from_slice(text).map_err(|_| Unusable::Foreign)?;
    let Value::Object(members) = value else {
        return Err(Unusable::Foreign);
    };
    match Members::of(&members).count("v")? {
        VERSION => Ok(members),
        newer if newer > VERSION => Err(Unusable::Newer(newer)),
        _ => Err(Unusable::Foreign),
    }
}

/// The members of a JSON object.
#[derive(Clone, Copy)]
pub(super) struct Members<'a>(&'a Map<String, Value>);

impl<'a> Members<'a> {
    pub(super) fn of(members: &'a Map<String, Value>) -> Self {
        Self(members)
    }

    pub(super) fn get(self, name: &str) -> Result<&'a Value, Unusable> {
        self.0.get(name).ok_or(Unusable::Foreign)
    }

    pub(super) fn text(self, name: &str) -> Result<&'a str, Unusable> {
        self.get(name)?.as_str().ok_or(Unusable::Foreign)
    }

    pub(super) fn count(self, name: &str) -> Result<u64, Unusable> {
        self.get(name)?.as_u64().ok_or(Unusable::Foreign)
    }

    /// A whole number that is at least `min` and fits its type.
    pub(super) fn number<T: TryFrom<i64>>(self, name: &str, min: i64) -> Result<T, Unusable> {
        let number = self.get(name)?.as_i64().filter(|number| *number >= min);
        let number = number.and_then(|number| T::try_from(number).ok());
        number.ok_or(Unusable::Foreign)
    }

    pub(super) fn id(self, name: &str) -> Result<Uuid, Unusable> {
        Uuid::from_text(self.text(name)?).ok_or(Unusable::Foreign)
    }
}

/// Refuses what is not ours.
pub(super) fn ensure(is_ours: bool) -> Result<(), Unusable> {
    if is_ours {
        Ok(())
    } else {
        Err(Unusable::Foreign)
    }
}
