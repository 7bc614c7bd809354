//! What stands for characters: escapes and classes.

use super::{
    Escape, NESTING_MAX, Refused, Result, Translator,
    class::{self, CharSet},
};

impl Translator {
    /// An escape that stands for characters, after its backslash at `at`.
    pub(super) fn escape(&mut self, at: usize) -> Result<Escape> {
        let token = self.take_any("a backslash ends the pattern")?;
        let c = match token.c {
            't' => '\t',
            'n' => '\n',
            'r' => '\r',
            'f' => '\x0c',
            'a' => '\x07',
            'e' => '\x1b',
            '0' => self.octal(at)?,
            'x' if self.take('{') => self.hex_in_braces(at)?,
            'x' => self.hex(2, at)?,
            'u' => self.hex(4, at)?,
            'c' => self.control(at)?,
            'p' | 'P' => return self.property(token.c == 'P', at).map(Escape::Set),
            letter if letter.is_ascii_alphabetic() => {
                return class::predefined(letter).map(Escape::Set).ok_or_else(|| {
                    Refused::new(at, format!(r"\{letter} is not an escape supported here"))
                });
            }
            digit if digit.is_ascii_digit() => {
                return Err(Refused::new(at, format!(r"\{digit} is not allowed here")));
            }
            other => other,
        };
        Ok(Escape::Char(c))
    }

    /// `\0n`, `\0nn` or `\0mnn` with m at most 3.
    fn octal(&mut self, at: usize) -> Result<char> {
        let mut value: u32 = 0;
        let mut digits = 0;
        while let Some(digit) = self.peek().and_then(|t| t.c.to_digit(8)) {
            if digits == 3 || value * 8 + digit > 0o377 {
                break;
            }
            value = value * 8 + digit;
            digits += 1;
            self.next += 1;
        }
        char::from_u32(value)
            .filter(|_| digits > 0)
            .ok_or_else(|| Refused::new(at, r"\0 needs octal digits"))
    }

    fn hex(&mut self, digits: usize, at: usize) -> Result<char> {
        let mut value = 0;
        for _ in 0..digits {
            let digit = self.peek().filter(|t| !t.quoted);
            let digit = digit.and_then(|t| t.c.to_digit(16));
            let digit = digit.ok_or_else(|| {
                Refused::new(at, format!("{digits} hexadecimal digits are needed here"))
            })?;
            value = value * 16 + digit;
            self.next += 1;
        }
        code_point(value, at)
    }

    fn hex_in_braces(&mut self, at: usize) -> Result<char> {
        let mut value: u32 = 0;
        let start = self.next;
        while let Some(digit) = self.peek().and_then(|t| t.c.to_digit(16)) {
            value = value.saturating_mul(16).saturating_add(digit);
            self.next += 1;
        }
        if self.next == start || !self.take('}') {
            return Err(Refused::new(at, r"malformed \x{…}"));
        }
        code_point(value, at)
    }

    /// Java flips bit 6 of whatever character follows `\c`.
    fn control(&mut self, at: usize) -> Result<char> {
        let token = self.take_any(r"\c needs a character")?;
        code_point(u32::from(token.c) ^ 64, at)
    }

    /// `\p{name}` or `\pN`, after the letter.
    fn property(&mut self, is_negated: bool, at: usize) -> Result<CharSet> {
        let mut name = String::new();
        if self.take('{') {
            while !self.take('}') {
                name.push(self.take_any(r"\p{ is not closed")?.c);
            }
        } else {
            name.push(self.take_any(r"\p needs a name")?.c);
        }
        let set = class::posix(&name).ok_or_else(|| {
            let problem = format!(r"\p{{{name}}} is not supported; write the characters, as [a-z]");
            Refused::new(at, problem)
        })?;
        if self.ignore_case && (name == "Lower" || name == "Upper") {
            let problem = format!(r"\p{{{name}}} under the flag 'i' is not supported");
            return Err(Refused::new(at, problem));
        }
        Ok(if is_negated { set.complement() } else { set })
    }

    /// A class after its `[` at `at`, up to and with its `]`.
    ///
    /// Negation covers the whole class, `&&` included (JDK 9 and later).
    pub(super) fn class(&mut self, at: usize, depth: usize) -> Result<CharSet> {
        if depth > NESTING_MAX {
            let problem = format!("classes nest deeper than {NESTING_MAX}");
            return Err(Refused::new(at, problem));
        }
        let is_negated = self.take('^');
        let mut whole: Option<CharSet> = None;
        loop {
            let operand = self.class_operand(at, whole.is_some(), depth)?;
            let both = match whole {
                None => operand,
                Some(left) => left.intersection(&operand),
            };
            if self.take(']') {
                return Ok(if is_negated { both.complement() } else { both });
            }
            self.next += 2;
            whole = Some(both);
        }
    }

    /// The members up to `]` or `&&`. Java drops members written beside a nested class on the
    /// right of `&&`, which nobody means: that is refused.
    fn class_operand(&mut self, at: usize, is_right: bool, depth: usize) -> Result<CharSet> {
        let mut set: Option<CharSet> = None;
        let (mut nested, mut plain) = (false, false);
        loop {
            let Some(token) = self.peek() else {
                return Err(Refused::new(at, "'[' is not closed"));
            };
            let is_first = set.is_none() && !is_right;
            let closes = self.sees(']') && !is_first;
            let intersects = self.sees('&') && self.peek_second().is_some_and(|t| t.c == '&');
            if closes || intersects {
                if is_right && nested && plain {
                    let problem = "Java reads this right side of '&&' in its own way; \
                                   put all of it in one pair of brackets";
                    return Err(Refused::new(token.at, problem));
                }
                return set.ok_or_else(|| Refused::new(token.at, "'&&' needs two sides"));
            }
            let member = if self.take('[') {
                nested = true;
                self.class(token.at, depth + 1)?
            } else {
                plain = true;
                self.class_member()?
            };
            set = Some(set.unwrap_or_default().union(&member));
        }
    }

    /// A character, a range or an escape in a class.
    fn class_member(&mut self) -> Result<CharSet> {
        let at = self.here();
        let first = match self.class_char(at)? {
            Escape::Set(set) => return Ok(set),
            Escape::Char(c) => c,
        };
        let is_range = self.sees('-')
            && self
                .peek_second()
                .is_some_and(|t| t.quoted || !matches!(t.c, ']' | '['));
        let mut last = first;
        if is_range {
            self.next += 1;
            last = match self.class_char(at)? {
                Escape::Char(c) if c >= first => c,
                _ => return Err(Refused::new(at, "this is not a range of characters")),
            };
        }
        let set = CharSet::of(&[(first, last)]);
        Ok(if self.ignore_case {
            set.with_both_cases()
        } else {
            set
        })
    }

    fn class_char(&mut self, at: usize) -> Result<Escape> {
        let token = self.take_any("'[' is not closed")?;
        if token.c == '\\' && !token.quoted {
            self.escape(at)
        } else {
            Ok(Escape::Char(token.c))
        }
    }
}

fn code_point(value: u32, at: usize) -> Result<char> {
    char::from_u32(value).ok_or_else(|| Refused::new(at, "this is not a character"))
}
