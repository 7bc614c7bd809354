//! Takes this program's messages from their debug print, so that names and values can be compared.

use serde_json::{Map, Value};

/// Stands for a value that is never printed.
const SECRET: &str = "\0secret";

/// What a message's debug print says.
pub(super) fn parse(text: &str) -> Value {
    let mut parser = Parser { rest: text };
    let value = parser.value();
    assert_eq!(parser.rest, "", "of {text}");
    value
}

/// Where and how two messages differ first; secrets are equal to anything.
pub(super) fn difference(ours: &Value, theirs: &Value) -> Option<String> {
    match (ours, theirs) {
        (Value::String(secret), _) if secret == SECRET => None,
        (Value::Object(ours_by_name), Value::Object(theirs_by_name)) => {
            let names = ours_by_name.keys().chain(theirs_by_name.keys());
            names.into_iter().find_map(|name| {
                match (ours_by_name.get(name), theirs_by_name.get(name)) {
                    (Some(ours), Some(theirs)) => {
                        difference(ours, theirs).map(|difference| format!("{name}.{difference}"))
                    }
                    (Some(_), None) => Some(format!("{name}: Kafka's schema has no such field")),
                    _ => Some(format!("{name}: missing here")),
                }
            })
        }
        (Value::Array(our_list), Value::Array(their_list))
            if our_list.len() == their_list.len() =>
        {
            let mut pairs = our_list.iter().zip(their_list);
            pairs.find_map(|(ours, theirs)| difference(ours, theirs))
        }
        _ => (ours != theirs).then(|| format!(" {ours} here, {theirs} in Kafka's")),
    }
}

struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn value(&mut self) -> Value {
        match self.rest.as_bytes()[0] {
            b'"' => Value::String(self.string()),
            b'[' => {
                self.rest = &self.rest[1..];
                Value::Array(self.until("]", |parser, list: &mut Vec<_>| list.push(parser.value())))
            }
            b'-' | b'0'..=b'9' => self.number(),
            _ => self.named(),
        }
    }

    /// `Some(…)`, `Struct { … }`, `Uuid(…)`, `NAME (5)` of an error code, `None` and the like.
    fn named(&mut self) -> Value {
        let name = self.take_while(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        if self.skip(" { ") {
            return Value::Object(self.until(" }", Self::field));
        }
        let digit = |letter: char| letter == '-' || letter.is_ascii_digit();
        if let Some(code) = self.rest.strip_prefix(' ')
            && code.starts_with(|letter| letter == '(' || digit(letter))
        {
            let before = self.take_while(|letter| letter != '(');
            assert!(name == "error" || before == " ", "{name}{before}");
        }
        let is_in_brackets = self.skip("(");
        let value = match name {
            "None" => Value::Null,
            "true" | "false" => Value::Bool(name == "true"),
            "Secret" => Value::String(SECRET.to_owned()),
            "Uuid" => Value::String(self.take_while(|letter| letter != ')').to_owned()),
            _ if is_in_brackets => self.value(),
            _ => panic!("{name} has no value"),
        };
        assert!(!is_in_brackets || self.skip(")"), "{name} does not end");
        value
    }

    fn field(&mut self, fields: &mut Map<String, Value>) {
        let name = self.take_while(|letter| letter != ':').to_owned();
        assert!(self.skip(": "));
        let value = self.value();
        fields.insert(name, value);
    }

    /// Items with commas between them, up to `end`.
    fn until<T: Default>(&mut self, end: &str, mut item: impl FnMut(&mut Self, &mut T)) -> T {
        let mut items = T::default();
        while !self.skip(end) {
            item(self, &mut items);
            self.skip(", ");
        }
        items
    }

    fn number(&mut self) -> Value {
        let digits = self.take_while(|letter| letter.is_ascii_digit() || "-.e".contains(letter));
        match digits.parse::<i64>() {
            Ok(integer) => Value::from(integer),
            Err(_) => Value::from(digits.parse::<f64>().unwrap()),
        }
    }

    fn string(&mut self) -> String {
        let end = 1 + self.rest[1..].find('"').unwrap();
        let (text, rest) = self.rest.split_at(end);
        assert!(
            !text.contains('\\'),
            "no test value is printed with an escape"
        );
        self.rest = &rest[1..];
        text[1..].to_owned()
    }

    fn skip(&mut self, text: &str) -> bool {
        let rest = self.rest.strip_prefix(text);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> &'a str {
        let end = self
            .rest
            .find(|letter| !is_part(letter))
            .unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }
}
