//! The file format of `java.util.Properties`, with line numbers.
//!
//! Bytes are ISO-8859-1; other characters are written `\uXXXX`. A key ends at the first unescaped
//! `=`, `:` or blank; a backslash escapes the next character, so `foo\.bar` reads as `foo.bar`;
//! a backslash at the end of a line continues it; `#` and `!` start a comment only as the first
//! non-blank of a line; trailing blanks belong to the value. Source: the documentation of
//! `java.util.Properties.load`.

/// One key with its value, as the last line that sets it gives it.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The key, unescaped.
    pub key: String,
    /// The value, unescaped, trailing blanks kept; what config providers gave is in its place.
    pub value: String,
    /// The line of the key, from 1.
    pub line: usize,
    /// Whether the file holds bytes here that are not ASCII.
    pub is_ascii: bool,
    /// For every line that contributes to the value: the character of the value it starts at.
    starts: Vec<(usize, usize)>,
    /// Set where config providers gave some of the value.
    provided: Option<Provided>,
}

/// What the file says where config providers gave some of a value.
#[derive(Clone, PartialEq, Eq)]
struct Provided {
    /// The value as it stands in the file, unescaped.
    written: String,
    /// The references in it that were answered, as written.
    references: Vec<String>,
}

impl Entry {
    /// Takes `value`, in which the answers of config providers stand in the place of `references`.
    ///
    /// From now on the value is a secret: [`Self::shown`] names it as it is written.
    pub(super) fn provide(&mut self, value: String, references: Vec<String>) {
        let written = std::mem::replace(&mut self.value, value);
        self.provided = Some(Provided {
            written,
            references,
        });
    }

    /// The value as it stands in the file, unescaped.
    #[must_use]
    pub fn written(&self) -> &str {
        let provided = self.provided.as_ref();
        provided.map_or(&self.value, |provided| &provided.written)
    }

    /// The references to config providers that were answered, as written; none if the file itself
    /// says the value.
    #[must_use]
    pub fn references(&self) -> &[String] {
        let provided = self.provided.as_ref();
        provided.map_or(&[], |provided| &provided.references)
    }

    /// Names the value, or what is read from it, in a message: by `text`, unless it came out of a
    /// config provider.
    pub(super) fn shown(&self, text: String) -> String {
        match &self.provided {
            None => text,
            Some(provided) => format!("the value of {}", provided.written),
        }
    }

    /// Names an item of the value, a list, in a message; `index` counts from 0.
    pub(super) fn shown_item(&self, index: usize, item: &str) -> String {
        match &self.provided {
            None => format!("{item:?}"),
            Some(_) => format!("item {} of {}", index + 1, self.shown(String::new())),
        }
    }

    /// Says on which line of the file the value's character `index` (from 0) stands; the line of
    /// the key where characters are not the file's.
    #[must_use]
    pub fn line_of(&self, index: usize) -> usize {
        if self.provided.is_some() {
            return self.line;
        }
        let started = |&&(start, _): &&(usize, usize)| start <= index;
        let last = self.starts.iter().take_while(started).last();
        last.map_or(self.line, |&(_, line)| line)
    }
}

impl std::fmt::Debug for Entry {
    /// Leaves the value out: it may be a secret.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Entry")
            .field("key", &self.key)
            .field("line", &self.line)
            .finish_non_exhaustive()
    }
}

/// A file, read.
#[derive(Debug, Default)]
pub struct Properties {
    /// Every key once, in the order of their last settings.
    pub entries: Vec<Entry>,
    /// Keys set more than once.
    pub duplicates: Vec<Duplicate>,
}

/// A key that is set again: the later line wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Duplicate {
    /// The key.
    pub key: String,
    /// The line that has no effect.
    pub ignored_line: usize,
    /// The line that counts.
    pub line: usize,
}

/// A malformed `\u` escape, the only mistake the format knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// The line it stands on.
    pub line: usize,
    /// What is wrong.
    pub problem: &'static str,
}

/// Reads a file; reports every malformed line.
///
/// # Errors
/// When a `\u` escape is not four hexadecimal digits that give a character.
pub fn parse(bytes: &[u8]) -> Result<Properties, Vec<Malformed>> {
    let text: String = bytes.iter().copied().map(char::from).collect();
    parse_text(&text)
}

/// Reads the text of a file in another encoding, as `Properties.load` does with a `Reader`.
///
/// # Errors
/// As [`parse`].
pub fn parse_text(text: &str) -> Result<Properties, Vec<Malformed>> {
    let mut properties = Properties::default();
    let mut malformed = Vec::new();
    for logical in logical_lines(text) {
        match entry(&logical) {
            Ok(entry) => properties.set(entry),
            Err(error) => malformed.push(error),
        }
    }
    if malformed.is_empty() {
        Ok(properties)
    } else {
        Err(malformed)
    }
}

impl Properties {
    fn set(&mut self, entry: Entry) {
        if let Some(index) = self.entries.iter().position(|old| old.key == entry.key) {
            let old = self.entries.remove(index);
            self.duplicates.push(Duplicate {
                key: old.key,
                ignored_line: old.line,
                line: entry.line,
            });
        }
        self.entries.push(entry);
    }
}

/// A character of a logical line with the line of the file it stands on.
type Placed = (char, usize);

/// Joins continued lines; drops comments, blank lines and the leading blanks of every line.
fn logical_lines(text: &str) -> Vec<Vec<Placed>> {
    let mut lines = Vec::new();
    let mut current: Vec<Placed> = Vec::new();
    let mut is_continuation = false;
    for (index, natural) in natural_lines(text).into_iter().enumerate() {
        let text = natural.trim_start_matches(is_blank);
        // As in Java, a line that continues nothing but a lone backslash may still be a comment.
        if current.is_empty() && text.starts_with(['#', '!']) {
            is_continuation = false;
            continue;
        }
        if text.is_empty() && !is_continuation {
            continue;
        }
        let backslashes = text.chars().rev().take_while(|&c| c == '\\').count();
        let continues = backslashes % 2 == 1;
        let kept = if continues {
            text.strip_suffix('\\').unwrap_or(text)
        } else {
            text
        };
        current.extend(kept.chars().map(|c| (c, index + 1)));
        is_continuation = continues;
        if !continues && !current.is_empty() {
            lines.push(std::mem::take(&mut current));
        }
    }
    if !current.is_empty() {
        lines.push(current);
    }
    lines
}

/// Splits at `\n`, `\r` or both.
fn natural_lines(text: &str) -> Vec<String> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.split('\n').map(str::to_owned).collect()
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\x0c')
}

/// Splits a logical line into key and value.
fn entry(line: &[Placed]) -> Result<Entry, Malformed> {
    let key_end = key_end(line);
    let (key, rest) = line.split_at(key_end);
    let rest = skip_blanks(rest);
    let value = match rest.split_first() {
        Some((('=' | ':', _), after)) => skip_blanks(after),
        _ => rest,
    };
    let first_line = line.first().map_or(0, |&(_, line)| line);
    let (key, _) = unescape(key)?;
    let (value, starts) = unescape(value)?;
    Ok(Entry {
        key,
        value,
        line: first_line,
        is_ascii: line.iter().all(|&(c, _)| c.is_ascii()),
        starts,
        provided: None,
    })
}

fn key_end(line: &[Placed]) -> usize {
    let mut is_escaped = false;
    for (index, &(c, _)) in line.iter().enumerate() {
        if !is_escaped && (is_blank(c) || c == '=' || c == ':') {
            return index;
        }
        is_escaped = c == '\\' && !is_escaped;
    }
    line.len()
}

fn skip_blanks(line: &[Placed]) -> &[Placed] {
    let blanks = line.iter().take_while(|&&(c, _)| is_blank(c)).count();
    line.get(blanks..).unwrap_or_default()
}

/// Resolves escapes; also says at which character of the result each line of the file begins.
fn unescape(text: &[Placed]) -> Result<(String, Vec<(usize, usize)>), Malformed> {
    let mut units: Vec<u16> = Vec::with_capacity(text.len());
    let mut starts: Vec<(usize, usize)> = Vec::new();
    let mut rest = text.iter();
    while let Some(&(c, line)) = rest.next() {
        if starts.last().is_none_or(|&(_, last)| last != line) {
            starts.push((units.len(), line));
        }
        let mut unit = [0; 2];
        let unit = match (c, c == '\\') {
            (_, false) => c.encode_utf16(&mut unit),
            (_, true) => match rest.next().map_or('\\', |&(escaped, _)| escaped) {
                'u' => {
                    unit[0] = hex(&mut rest, line)?;
                    &mut unit[..1]
                }
                't' => '\t'.encode_utf16(&mut unit),
                'n' => '\n'.encode_utf16(&mut unit),
                'r' => '\r'.encode_utf16(&mut unit),
                'f' => '\x0c'.encode_utf16(&mut unit),
                other => other.encode_utf16(&mut unit),
            },
        };
        units.extend_from_slice(unit);
    }
    let line = text.first().map_or(0, |&(_, line)| line);
    let text = String::from_utf16(&units).map_err(|_| Malformed {
        line,
        problem: "half of a surrogate pair is not a character",
    })?;
    Ok((text, starts))
}

fn hex<'a>(rest: &mut impl Iterator<Item = &'a Placed>, line: usize) -> Result<u16, Malformed> {
    let mut value = 0;
    for _ in 0..4 {
        let digit = rest.next().and_then(|&(c, _)| c.to_digit(16));
        let digit = digit.and_then(|digit| u16::try_from(digit).ok());
        let digit = digit.ok_or(Malformed {
            line,
            problem: r"\u must be followed by four hexadecimal digits",
        })?;
        value = value * 16 + digit;
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keys and values of a text.
    fn pairs(text: &str) -> Vec<(String, String)> {
        let entries = parse(text.as_bytes()).unwrap().entries;
        let pair = |entry: Entry| (entry.key, entry.value);
        entries.into_iter().map(pair).collect()
    }

    #[test]
    fn reads_one_entry_as_java_does() {
        // Checked with java.util.Properties of OpenJDK 17.
        let cases = [
            ("k=v", "k", "v"),
            ("k = v", "k", "v"),
            ("k:v", "k", "v"),
            ("k v", "k", "v"),
            ("k\tv", "k", "v"),
            ("k \t = \t v", "k", "v"),
            ("  k=v", "k", "v"),
            ("\x0ck\x0cv", "k", "v"),
            ("k", "k", ""),
            ("k=", "k", ""),
            ("=v", "", "v"),
            ("k==v", "k", "=v"),
            ("k = = v", "k", "= v"),
            ("k: =v", "k", "=v"),
            ("k=v ", "k", "v "),
            ("k=v # c", "k", "v # c"),
            ("k=#v", "k", "#v"),
            ("a->b.enabled = true", "a->b.enabled", "true"),
            (r"a\ b=v", "a b", "v"),
            (r"a\=b=v", "a=b", "v"),
            (r"a\:b:v", "a:b", "v"),
            (r"\#k=v", "#k", "v"),
            (r"a\\=v", r"a\", "v"),
            (r"k=foo\.bar", "k", "foo.bar"),
            (r"k=foo\\.bar", "k", r"foo\.bar"),
            (r"k=.*[\-\.]internal", "k", ".*[-.]internal"),
            (r"k=\t\n\r\f\q", "k", "\t\n\r\x0cq"),
            (r"k=\u00e9\u0041", "k", "éA"),
            (r"k=\ud83d\ude00", "k", "😀"),
            (r"k=\ v", "k", " v"),
            ("k=a\\\nb", "k", "ab"),
            ("k=a\\\n   b", "k", "ab"),
            ("k=a\\\r\n\tb", "k", "ab"),
            ("k=a\\\rb", "k", "ab"),
            ("k=a\\\\\n", "k", "a\\"),
            ("k=a\\\\\\\nb", "k", "a\\b"),
            ("k=a\\\n#b", "k", "a#b"),
            ("k=a\\\n\n", "k", "a"),
            ("k=a\\", "k", "a"),
            ("k\\\n=v", "k", "v"),
            ("k\\\n  y=v", "ky", "v"),
            ("\\\nk=v", "k", "v"),
        ];
        for (text, key, value) in cases {
            assert_eq!(
                pairs(text),
                [(key.to_owned(), value.to_owned())],
                "{text:?}"
            );
        }
    }

    #[test]
    fn comments_and_blank_lines_are_no_entries() {
        for text in [
            "",
            "\n\n",
            "# k=v",
            "  ! k=v",
            "#k\\\n",
            " \t\x0c\n",
            "\\",
            "\\\n# k=v",
        ] {
            assert_eq!(pairs(text), [], "{text:?}");
        }
        // A comment is not continued, and a blank line ends what is.
        let expected = [
            ("a".to_owned(), "1".to_owned()),
            ("b".to_owned(), "2".to_owned()),
        ];
        assert_eq!(pairs("# c\\\na=1\nb=2"), expected);
        assert_eq!(pairs("a=1\\\n\nb=2"), expected);
    }

    #[test]
    fn bytes_are_latin_1() {
        let properties = parse(b"k=\xe9\nl=\xc3\xa9\nm=\\u00e9").unwrap();
        let found: Vec<_> = properties
            .entries
            .iter()
            .map(|entry| (entry.value.as_str(), entry.is_ascii))
            .collect();
        assert_eq!(found, [("é", false), ("Ã©", false), ("é", true)]);
        let decoded = parse_text("k=\u{e9}\nl=\u{20ac}\\u0041").unwrap().entries;
        let values: Vec<&str> = decoded.iter().map(|entry| &*entry.value).collect();
        assert_eq!(values, ["é", "€A"]);
    }

    #[test]
    fn every_character_of_a_value_knows_its_line() {
        let text = "# one\n\na = x, \\\n   y, \\\r\n\\\n  z\nb=1";
        let entries = parse(text.as_bytes()).unwrap().entries;
        assert_eq!(entries[0].value, "x, y, z");
        let lines: Vec<usize> = (0..8).map(|index| entries[0].line_of(index)).collect();
        assert_eq!(lines, [3, 3, 3, 4, 4, 4, 6, 6]);
        assert_eq!(entries[1].line, 7);
    }

    #[test]
    fn the_last_of_equal_keys_wins() {
        let properties = parse(b"k=1\nl=2\nk=3\nk=4").unwrap();
        let values: Vec<_> = properties
            .entries
            .iter()
            .map(|e| (&*e.key, &*e.value))
            .collect();
        assert_eq!(values, [("l", "2"), ("k", "4")]);
        let lines = |d: &Duplicate| (d.ignored_line, d.line);
        let lines: Vec<_> = properties.duplicates.iter().map(lines).collect();
        assert_eq!(lines, [(1, 3), (3, 4)]);
    }

    #[test]
    fn every_malformed_escape_is_reported() {
        let malformed = parse(b"a=\\u12\nb=1\nc=\\uzzzz\nd=\\ud83d").unwrap_err();
        let lines: Vec<usize> = malformed.iter().map(|m| m.line).collect();
        assert_eq!(lines, [1, 3, 4]);
    }

    #[test]
    fn debug_output_hides_values() {
        let entries = parse(b"sasl.jaas.config = hunter2").unwrap().entries;
        assert_eq!(
            format!("{:?}", entries[0]),
            r#"Entry { key: "sasl.jaas.config", line: 1, .. }"#
        );
    }

    #[test]
    fn a_value_from_a_provider_is_named_as_it_is_written() {
        let mut entry = parse(b"\nk = x, \\\n ${env:Y}").unwrap().entries.remove(0);
        assert_eq!(entry.shown_item(1, "b"), r#""b""#);
        assert_eq!(
            (entry.shown("a".to_owned()), entry.line_of(4)),
            ("a".to_owned(), 3)
        );
        entry.provide("x, hunter2".to_owned(), vec!["${env:Y}".to_owned()]);
        assert_eq!(entry.value, "x, hunter2");
        assert_eq!(entry.written(), "x, ${env:Y}");
        assert_eq!(entry.references(), ["${env:Y}"]);
        assert_eq!(
            entry.shown("hunter2".to_owned()),
            "the value of x, ${env:Y}"
        );
        let item = entry.shown_item(1, "hunter2");
        assert_eq!(item, "item 2 of the value of x, ${env:Y}");
        assert_eq!(entry.line_of(4), 2, "its characters are not the file's");
        assert!(!format!("{entry:?}").contains("hunter2"));
    }

    proptest::proptest! {
        #[test]
        fn what_is_escaped_is_read_back(key in "[ -~\t\n\r\x0cé€😀]{1,12}", value in "[ -~\t\n\r\x0cé€😀]{0,20}") {
            let escape = |text: &str| text.encode_utf16().fold(String::new(), |all, unit| all + &format!("\\u{unit:04x}"));
            let text = format!("{}={}", escape(&key), escape(&value));
            proptest::prop_assert_eq!(pairs(&text), [(key, value)]);
        }

        #[test]
        fn no_bytes_make_the_parser_panic(bytes in proptest::collection::vec(proptest::sample::select(&b"ak=: \\\n\r#!u01\xe9\t"[..]), 0..40)) {
            if let Ok(properties) = parse(&bytes) {
                for entry in properties.entries {
                    proptest::prop_assert!(entry.line >= 1 && entry.line_of(0) >= entry.line);
                }
            }
        }
    }
}
