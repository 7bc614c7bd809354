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
    /// The value, unescaped, trailing blanks kept.
    pub value: String,
    /// The line of the key, from 1.
    pub line: usize,
    /// Whether the file holds bytes here that are not ASCII.
    pub is_ascii: bool,
    /// For every line that contributes to the value: the character of the value it starts at.
    starts: Vec<(usize, usize)>,
}

impl Entry {
    /// Says on which line of the file the value's character `index` (from 0) stands.
    #[must_use]
    pub fn line_of(&self, index: usize) -> usize {
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
    let mut properties = Properties::default();
    let mut malformed = Vec::new();
    for logical in logical_lines(bytes) {
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
fn logical_lines(bytes: &[u8]) -> Vec<Vec<Placed>> {
    let mut lines = Vec::new();
    let mut current: Vec<Placed> = Vec::new();
    let mut is_continuation = false;
    for (index, natural) in natural_lines(bytes).into_iter().enumerate() {
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

/// Splits at `\n`, `\r` or both, decoding ISO-8859-1.
fn natural_lines(bytes: &[u8]) -> Vec<String> {
    let text: String = bytes.iter().copied().map(char::from).collect();
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
