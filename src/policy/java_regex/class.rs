//! Sets of characters: what a Java character class matches, computed.
//!
//! Computing the set here, instead of handing the class on, gives Java's meaning to `&&`, nested
//! classes, negation and case-insensitivity without relying on another engine's reading of them.

use std::fmt::Write;

/// A set of characters as sorted, disjoint, non-adjacent inclusive ranges of code points.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct CharSet {
    ranges: Vec<(u32, u32)>,
}

/// Matches no character at all; unlike an empty look-ahead it can be repeated.
pub(super) const NEVER: &str = r"[^\x{0}-\x{10ffff}]";

const LAST: u32 = char::MAX as u32;
const SURROGATES: (u32, u32) = (0xD800, 0xDFFF);

impl CharSet {
    /// The set of the characters in `ranges`, both ends included.
    pub(super) fn of(ranges: &[(char, char)]) -> Self {
        let mut set = Self::default();
        for &(first, last) in ranges {
            set.ranges.push((u32::from(first), u32::from(last)));
        }
        set.normalised()
    }

    pub(super) fn single(c: char) -> Self {
        Self::of(&[(c, c)])
    }

    pub(super) fn union(mut self, other: &Self) -> Self {
        self.ranges.extend_from_slice(&other.ranges);
        self.normalised()
    }

    pub(super) fn complement(&self) -> Self {
        let mut ranges = Vec::new();
        let mut next = 0;
        for &(first, last) in &self.ranges {
            if first > next {
                ranges.push((next, first - 1));
            }
            next = last + 1;
        }
        if next <= LAST {
            ranges.push((next, LAST));
        }
        Self { ranges }
    }

    pub(super) fn intersection(&self, other: &Self) -> Self {
        self.complement().union(&other.complement()).complement()
    }

    /// Adds the other case of every ASCII letter.
    pub(super) fn with_both_cases(self) -> Self {
        let mut added = Vec::new();
        for letter in 'a'..='z' {
            let upper = letter.to_ascii_uppercase();
            if self.contains(letter) || self.contains(upper) {
                added.extend([(letter, letter), (upper, upper)]);
            }
        }
        self.union(&Self::of(&added))
    }

    pub(super) fn contains(&self, c: char) -> bool {
        let c = u32::from(c);
        self.ranges
            .iter()
            .any(|&(first, last)| (first..=last).contains(&c))
    }

    /// Renders the set as a class of the engine; the empty set as something that never matches.
    pub(super) fn render(&self) -> String {
        let mut text = String::from("[");
        for &(first, last) in &self.without_surrogates() {
            if first == last {
                let _ = write!(text, r"\x{{{first:x}}}");
            } else {
                let _ = write!(text, r"\x{{{first:x}}}-\x{{{last:x}}}");
            }
        }
        if text.len() == 1 {
            return NEVER.to_owned();
        }
        text.push(']');
        text
    }

    fn without_surrogates(&self) -> Vec<(u32, u32)> {
        let mut ranges = Vec::new();
        for &(first, last) in &self.ranges {
            if first < SURROGATES.0 {
                ranges.push((first, last.min(SURROGATES.0 - 1)));
            }
            if last > SURROGATES.1 {
                ranges.push((first.max(SURROGATES.1 + 1), last));
            }
        }
        ranges
    }

    fn normalised(mut self) -> Self {
        self.ranges.sort_unstable();
        let mut ranges: Vec<(u32, u32)> = Vec::with_capacity(self.ranges.len());
        for (first, last) in self.ranges {
            match ranges.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = last.max(*end),
                _ => ranges.push((first, last)),
            }
        }
        Self { ranges }
    }
}

/// The set of a one-letter class such as `\d`; the capital letter is its complement.
pub(super) fn predefined(letter: char) -> Option<CharSet> {
    let set = match letter.to_ascii_lowercase() {
        'd' => CharSet::of(&[('0', '9')]),
        'w' => CharSet::of(&[('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')]),
        's' => CharSet::of(&[('\t', '\r'), (' ', ' ')]),
        'h' => CharSet::of(&[
            ('\t', '\t'),
            (' ', ' '),
            ('\u{a0}', '\u{a0}'),
            ('\u{1680}', '\u{1680}'),
            ('\u{180e}', '\u{180e}'),
            ('\u{2000}', '\u{200a}'),
            ('\u{202f}', '\u{202f}'),
            ('\u{205f}', '\u{205f}'),
            ('\u{3000}', '\u{3000}'),
        ]),
        'v' => CharSet::of(&[('\n', '\r'), ('\u{85}', '\u{85}'), ('\u{2028}', '\u{2029}')]),
        _ => return None,
    };
    Some(if letter.is_ascii_uppercase() {
        set.complement()
    } else {
        set
    })
}

/// The set of a POSIX class `\p{name}`; ASCII only, as in Java.
pub(super) fn posix(name: &str) -> Option<CharSet> {
    Some(CharSet::of(match name {
        "Lower" => &[('a', 'z')],
        "Upper" => &[('A', 'Z')],
        "ASCII" => &[('\0', '\x7f')],
        "Alpha" => &[('a', 'z'), ('A', 'Z')],
        "Digit" => &[('0', '9')],
        "Alnum" => &[('a', 'z'), ('A', 'Z'), ('0', '9')],
        "Punct" => &[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')],
        "Graph" => &[('!', '~')],
        "Print" => &[(' ', '~')],
        "Blank" => &[('\t', '\t'), (' ', ' ')],
        "Cntrl" => &[('\0', '\x1f'), ('\x7f', '\x7f')],
        "XDigit" => &[('0', '9'), ('a', 'f'), ('A', 'F')],
        "Space" => &[('\t', '\r'), (' ', ' ')],
        _ => return None,
    }))
}
