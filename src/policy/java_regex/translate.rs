//! The translator: reads a Java pattern once, writes the pattern for `fancy-regex`.
//!
//! Groups are written as plain numbered groups and flags are folded into what is written, so the
//! result depends on no naming or flag rule of the engine.

use super::{
    Refused,
    class::{self, CharSet},
};

/// Groups and classes may nest this deep; deeper patterns are refused, so the stack is bounded.
const NESTING_MAX: usize = 50;

type Result<T> = std::result::Result<T, Refused>;

/// One character of the pattern; quoted (`\Q..\E`) ones are always literal.
#[derive(Debug, Clone, Copy)]
struct Token {
    c: char,
    at: usize,
    quoted: bool,
}

/// Translates `pattern`.
pub(super) fn translate(pattern: &str) -> Result<String> {
    let mut translator = Translator {
        tokens: unquote(pattern),
        next: 0,
        end: pattern.chars().count(),
        out: String::new(),
        ignore_case: false,
        groups: Vec::new(),
    };
    translator.alternatives(0)?;
    match translator.peek() {
        Some(token) => Err(Refused::new(token.at, "unmatched closing ')'")),
        None => Ok(translator.out),
    }
}

/// Resolves `\Q..\E`; an open quote runs to the end, over the `|` between items too.
fn unquote(pattern: &str) -> Vec<Token> {
    let chars: Vec<char> = pattern.chars().collect();
    let mut tokens = Vec::with_capacity(chars.len());
    let mut quoted = false;
    let mut at = 0;
    while let Some(&c) = chars.get(at) {
        let following = chars.get(at + 1).copied();
        match (c, following) {
            ('\\', Some('Q')) if !quoted => (quoted, at) = (true, at + 2),
            ('\\', Some('E')) if quoted => (quoted, at) = (false, at + 2),
            ('\\', Some(escaped)) if !quoted => {
                tokens.push(Token { c, at, quoted });
                tokens.push(Token {
                    c: escaped,
                    at: at + 1,
                    quoted,
                });
                at += 2;
            }
            _ => {
                tokens.push(Token { c, at, quoted });
                at += 1;
            }
        }
    }
    tokens
}

/// A capturing group met so far; its index plus one is its number.
struct Group {
    name: Option<String>,
    is_closed: bool,
}

/// What an escape sequence stands for, where a class or an atom may hold it.
enum Escape {
    Char(char),
    Set(CharSet),
}

struct Translator {
    tokens: Vec<Token>,
    next: usize,
    /// Length of the pattern in characters, the place of what is missing at its end.
    end: usize,
    out: String,
    ignore_case: bool,
    groups: Vec<Group>,
}

impl Translator {
    fn peek(&self) -> Option<Token> {
        self.tokens.get(self.next).copied()
    }

    fn peek_second(&self) -> Option<Token> {
        self.tokens.get(self.next + 1).copied()
    }

    /// Whether the next character is an unquoted `c`.
    fn sees(&self, c: char) -> bool {
        self.peek().is_some_and(|t| t.c == c && !t.quoted)
    }

    /// Consumes an unquoted `c` if it is next.
    fn take(&mut self, c: char) -> bool {
        let found = self.sees(c);
        self.next += usize::from(found);
        found
    }

    fn take_any(&mut self, missing: &str) -> Result<Token> {
        let token = self.peek().ok_or_else(|| Refused::new(self.end, missing))?;
        self.next += 1;
        Ok(token)
    }

    fn here(&self) -> usize {
        self.peek().map_or(self.end, |token| token.at)
    }

    /// `a|b|c` up to the end or a closing parenthesis; flags set inside end with it.
    fn alternatives(&mut self, depth: usize) -> Result<()> {
        if depth > NESTING_MAX {
            return Err(Refused::new(
                self.here(),
                format!("groups nest deeper than {NESTING_MAX}"),
            ));
        }
        while let Some(token) = self.peek() {
            match token.c {
                ')' if !token.quoted => break,
                '|' if !token.quoted => {
                    self.next += 1;
                    self.out.push('|');
                }
                _ => self.piece(depth)?,
            }
        }
        Ok(())
    }

    /// One atom with its quantifier.
    fn piece(&mut self, depth: usize) -> Result<()> {
        let is_repeatable = self.atom(depth)?;
        self.quantifier(is_repeatable)
    }

    /// Writes one atom; the answer is whether a quantifier may follow.
    fn atom(&mut self, depth: usize) -> Result<bool> {
        let token = self.take_any("pattern ends here")?;
        if token.quoted {
            self.literal(token.c);
            return Ok(true);
        }
        match token.c {
            '(' => return self.group(token.at, depth),
            '[' => {
                let set = self.class(token.at, depth + 1)?;
                self.out.push_str(&set.render());
            }
            '\\' => return self.escaped_atom(token.at),
            '.' => self.out.push('.'),
            '^' => {
                self.out.push_str(r"\A");
                return Ok(false);
            }
            '$' => {
                self.out.push_str(r"\z");
                return Ok(false);
            }
            '*' | '+' | '?' => {
                let problem = format!("'{}' has nothing to repeat", token.c);
                return Err(Refused::new(token.at, problem));
            }
            '{' => return Err(Refused::new(token.at, r"'{' must be written '\{'")),
            c => self.literal(c),
        }
        Ok(true)
    }

    fn literal(&mut self, c: char) {
        let set = CharSet::single(c);
        let set = if self.ignore_case {
            set.with_both_cases()
        } else {
            set
        };
        if c.is_ascii_alphanumeric() && !self.ignore_case {
            self.out.push(c);
        } else {
            self.out.push_str(&set.render());
        }
    }

    /// `?`, `*`, `+`, `{n}`, `{n,}`, `{n,m}`, each greedy, reluctant (`?`) or possessive (`+`).
    fn quantifier(&mut self, is_repeatable: bool) -> Result<()> {
        let Some(token) = self.peek().filter(|token| !token.quoted) else {
            return Ok(());
        };
        let written = match token.c {
            '?' | '*' | '+' => {
                self.next += 1;
                token.c.to_string()
            }
            '{' => self.counted()?,
            _ => return Ok(()),
        };
        if !is_repeatable {
            let problem = format!("'{written}' repeats something that has no length; remove it");
            return Err(Refused::new(token.at, problem));
        }
        self.out.push_str(&written);
        for mode in ['?', '+'] {
            if self.take(mode) {
                self.out.push(mode);
                break;
            }
        }
        match self.peek() {
            Some(t) if !t.quoted && matches!(t.c, '?' | '*' | '+' | '{') => Err(Refused::new(
                t.at,
                format!("'{}' repeats a repetition", t.c),
            )),
            _ => Ok(()),
        }
    }

    fn counted(&mut self) -> Result<String> {
        let at = self.here();
        self.next += 1;
        let malformed = || Refused::new(at, r"malformed repetition; a plain '{' is written '\{'");
        let min = self.number(at)?.ok_or_else(malformed)?;
        let mut written = format!("{{{min}");
        if self.take(',') {
            written.push(',');
            if let Some(max) = self.number(at)? {
                if max < min {
                    return Err(Refused::new(at, format!("{max} is less than {min}")));
                }
                written.push_str(&max.to_string());
            }
        }
        if !self.take('}') {
            return Err(malformed());
        }
        written.push('}');
        Ok(written)
    }

    fn number(&mut self, at: usize) -> Result<Option<u32>> {
        let mut digits = String::new();
        while let Some(token) = self.peek().filter(|t| t.c.is_ascii_digit() && !t.quoted) {
            digits.push(token.c);
            self.next += 1;
        }
        if digits.is_empty() {
            return Ok(None);
        }
        let number = digits.parse();
        number
            .map(Some)
            .map_err(|_| Refused::new(at, format!("{digits} repetitions are too many")))
    }

    /// A group, after its opening parenthesis at `at`.
    fn group(&mut self, at: usize, depth: usize) -> Result<bool> {
        let saved_case = self.ignore_case;
        let mut capture = None;
        let mut is_repeatable = true;
        if self.take('?') {
            let kind = self.take_any("group is not closed")?;
            match kind.c {
                ':' | '>' => {
                    self.out.push_str("(?");
                    self.out.push(kind.c);
                }
                '=' | '!' => {
                    self.out.push_str("(?");
                    self.out.push(kind.c);
                    is_repeatable = false;
                }
                '<' if self.take('=') => {
                    self.out.push_str("(?<=");
                    is_repeatable = false;
                }
                '<' if self.take('!') => {
                    self.out.push_str("(?<!");
                    is_repeatable = false;
                }
                '<' => {
                    let name = self.group_name()?;
                    capture = Some(self.open_group(Some(name), at)?);
                }
                _ => {
                    self.next -= 1;
                    if self.flags()? {
                        return Ok(false);
                    }
                }
            }
        } else {
            capture = Some(self.open_group(None, at)?);
        }
        self.alternatives(depth + 1)?;
        if !self.take(')') {
            return Err(Refused::new(at, "group is not closed"));
        }
        self.out.push(')');
        self.ignore_case = saved_case;
        if let Some(group) = capture.and_then(|index: usize| self.groups.get_mut(index)) {
            group.is_closed = true;
        }
        Ok(is_repeatable)
    }

    fn open_group(&mut self, name: Option<String>, at: usize) -> Result<usize> {
        let is_taken = |group: &Group| name.is_some() && group.name == name;
        if self.groups.iter().any(is_taken) {
            return Err(Refused::new(at, "another group has the same name"));
        }
        self.out.push('(');
        self.groups.push(Group {
            name,
            is_closed: false,
        });
        Ok(self.groups.len() - 1)
    }

    /// `name>` of a named group or reference.
    fn group_name(&mut self) -> Result<String> {
        let at = self.here();
        let mut name = String::new();
        while let Some(token) = self.peek().filter(|t| t.c.is_ascii_alphanumeric()) {
            name.push(token.c);
            self.next += 1;
        }
        let starts_well = name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !starts_well || !self.take('>') {
            return Err(Refused::new(at, "malformed group name"));
        }
        Ok(name)
    }

    /// `(?i)` or `(?i:`, after `(?`; true when it was the former, which is a group of its own.
    fn flags(&mut self) -> Result<bool> {
        let mut on = true;
        loop {
            let token = self.take_any("group is not closed")?;
            match token.c {
                'i' => self.ignore_case = on,
                // They change only how line terminators are treated, and no name has any.
                'd' | 'm' | 's' => {}
                // Switching off what is never on.
                'u' | 'U' | 'x' if !on => {}
                '-' if on => on = false,
                ')' => return Ok(true),
                ':' => {
                    self.out.push_str("(?:");
                    return Ok(false);
                }
                'u' | 'U' | 'x' => {
                    let problem = format!("the flag '{}' is not supported", token.c);
                    return Err(Refused::new(token.at, problem));
                }
                c => {
                    let problem = format!("'(?{c}' is not a group Java knows");
                    return Err(Refused::new(token.at, problem));
                }
            }
        }
    }

    /// An escape outside a class, after its backslash at `at`.
    fn escaped_atom(&mut self, at: usize) -> Result<bool> {
        let Some(token) = self.peek() else {
            return Err(Refused::new(at, r"a backslash ends the pattern"));
        };
        let assertion = match token.c {
            'A' | 'G' => r"\A",
            'Z' | 'z' => r"\z",
            'b' if self.peek_second().is_some_and(|t| t.c == '{') => {
                return Err(Refused::new(at, r"\b{g} is not supported"));
            }
            'b' => r"(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))",
            'B' => r"(?:(?<=[0-9A-Za-z_])(?=[0-9A-Za-z_])|(?<![0-9A-Za-z_])(?![0-9A-Za-z_]))",
            _ => {
                self.escaped_item(token, at)?;
                return Ok(true);
            }
        };
        self.next += 1;
        self.out.push_str(assertion);
        Ok(false)
    }

    /// An escape outside a class that has a length.
    fn escaped_item(&mut self, token: Token, at: usize) -> Result<()> {
        match token.c {
            // Matches line terminators only, and no name has any.
            'R' => {
                self.next += 1;
                self.out.push_str("(?:(?!))");
            }
            'k' => {
                self.next += 1;
                if !self.take('<') {
                    return Err(Refused::new(at, r"\k must be followed by <name>"));
                }
                let name = self.group_name()?;
                let same = |group: &Group| group.name.as_ref() == Some(&name);
                let number = self.groups.iter().position(same).map(|index| index + 1);
                self.reference(number, at)?;
            }
            '1'..='9' => {
                let number = self.reference_number();
                self.reference(Some(number), at)?;
            }
            _ => match self.escape(at)? {
                Escape::Char(c) => self.literal(c),
                Escape::Set(set) => self.out.push_str(&set.render()),
            },
        }
        Ok(())
    }

    /// Java takes further digits only while that many groups have been opened.
    fn reference_number(&mut self) -> usize {
        let mut number = 0;
        while let Some(digit) = self.peek().and_then(|t| t.c.to_digit(10)) {
            let longer = number * 10 + digit as usize;
            if number != 0 && longer > self.groups.len() {
                break;
            }
            number = longer;
            self.next += 1;
        }
        number
    }

    fn reference(&mut self, number: Option<usize>, at: usize) -> Result<()> {
        let group = number.and_then(|number| self.groups.get(number - 1));
        match (number, group) {
            (Some(number), Some(group)) if group.is_closed && !self.ignore_case => {
                self.out.push_str(&format!(r"(?:\{number})"));
                Ok(())
            }
            (_, Some(_)) if self.ignore_case => Err(Refused::new(
                at,
                "a back reference under the flag 'i' is not supported",
            )),
            (_, Some(_)) => Err(Refused::new(at, "refers to a group that is still open")),
            (_, None) => Err(Refused::new(at, "refers to a group that does not exist")),
        }
    }

    /// An escape that stands for characters, after its backslash at `at`.
    fn escape(&mut self, at: usize) -> Result<Escape> {
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
        while let Some(digit) = self.peek().and_then(|t| t.c.to_digit(16)) {
            value = value.saturating_mul(16).saturating_add(digit);
            self.next += 1;
        }
        if !self.take('}') {
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
    fn class(&mut self, at: usize, depth: usize) -> Result<CharSet> {
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
