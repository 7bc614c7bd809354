//! The translator: reads a Java pattern once, writes the pattern for `fancy-regex`.
//!
//! Groups are written as plain numbered groups and flags are folded into what is written, so the
//! result depends on no naming or flag rule of the engine.

mod members;

use std::collections::BTreeSet;

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
///
/// Reads it twice: groups that nothing refers to are then written as plain ones, which spares the
/// engine the captures and the cases in which it mistreats them.
pub(super) fn translate(pattern: &str) -> Result<String> {
    let mut first = Translator::new(pattern, BTreeSet::new());
    first.whole()?;
    let mut second = Translator::new(pattern, first.referenced);
    second.whole()?;
    Ok(second.out)
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

/// What a quantifier may stand behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Atom {
    Char,
    Group,
    /// Something without length: nothing can repeat it.
    Place,
}

/// What a parenthesis opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opened {
    /// The group with this index.
    Capturing(usize),
    Plain,
    LookAhead,
    LookBehind,
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
    /// Numbers of the groups to capture.
    captured: BTreeSet<usize>,
    /// Numbers of the groups referred to.
    referenced: BTreeSet<usize>,
    /// Whether something is not to be tried again once it has matched.
    is_atomic: bool,
    /// Look-behinds open around the current place. Engines disagree on what may stand in one and
    /// on what it then means, so only what has one length is let in.
    look_behinds: usize,
}

impl Translator {
    fn new(pattern: &str, captured: BTreeSet<usize>) -> Self {
        Self {
            tokens: unquote(pattern),
            next: 0,
            end: pattern.chars().count(),
            out: String::new(),
            ignore_case: false,
            groups: Vec::new(),
            captured,
            referenced: BTreeSet::new(),
            look_behinds: 0,
            is_atomic: false,
        }
    }

    fn whole(&mut self) -> Result<()> {
        self.alternatives(0)?;
        match self.peek() {
            Some(token) => Err(Refused::new(token.at, "unmatched closing ')'")),
            None if self.is_atomic && !self.referenced.is_empty() => {
                let problem = "back references beside atomic groups or possessive \
                               repetitions are not supported";
                Err(Refused::new(0, problem))
            }
            None => Ok(()),
        }
    }

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
        let atom = self.atom(depth)?;
        self.quantifier(atom)
    }

    /// Writes one atom.
    fn atom(&mut self, depth: usize) -> Result<Atom> {
        let token = self.take_any("pattern ends here")?;
        if token.quoted {
            self.literal(token.c);
            return Ok(Atom::Char);
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
                return Ok(Atom::Place);
            }
            '$' => {
                self.out.push_str(r"\z");
                return Ok(Atom::Place);
            }
            '*' | '+' | '?' => {
                let problem = format!("'{}' has nothing to repeat", token.c);
                return Err(Refused::new(token.at, problem));
            }
            '{' => return Err(Refused::new(token.at, r"'{' must be written '\{'")),
            c => self.literal(c),
        }
        Ok(Atom::Char)
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
    fn quantifier(&mut self, atom: Atom) -> Result<()> {
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
        if self.look_behinds > 0 && written.contains([',', '?', '*', '+']) {
            let problem = format!("'{written}' in a look-behind is not supported");
            return Err(Refused::new(token.at, problem));
        }
        if atom == Atom::Place {
            let problem = format!("'{written}' repeats something that has no length; remove it");
            return Err(Refused::new(token.at, problem));
        }
        self.out.push_str(&written);
        if self.take('?') {
            self.out.push('?');
        } else if self.sees('+') {
            self.possessive(atom)?;
        }
        match self.peek() {
            Some(t) if !t.quoted && matches!(t.c, '?' | '*' | '+' | '{') => Err(Refused::new(
                t.at,
                format!("'{}' repeats a repetition", t.c),
            )),
            _ => Ok(()),
        }
    }

    /// The `+` that makes a quantifier possessive. After a group Java treats each round of the
    /// repetition on its own, which no other construct does.
    fn possessive(&mut self, atom: Atom) -> Result<()> {
        if atom == Atom::Group {
            let problem = "a possessive repetition of a group is not supported; write (?>(…)+)";
            return Err(Refused::new(self.here(), problem));
        }
        self.next += 1;
        self.is_atomic = true;
        self.out.push('+');
        Ok(())
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
    fn group(&mut self, at: usize, depth: usize) -> Result<Atom> {
        let (saved_case, saved_look_behinds) = (self.ignore_case, self.look_behinds);
        let Some(opened) = self.open(at)? else {
            return Ok(Atom::Place);
        };
        self.look_behinds += usize::from(opened == Opened::LookBehind);
        self.alternatives(depth + 1)?;
        if !self.take(')') {
            return Err(Refused::new(at, "group is not closed"));
        }
        self.out.push(')');
        (self.ignore_case, self.look_behinds) = (saved_case, saved_look_behinds);
        if let Opened::Capturing(index) = opened
            && let Some(group) = self.groups.get_mut(index)
        {
            group.is_closed = true;
        }
        Ok(match opened {
            Opened::Capturing(_) | Opened::Plain => Atom::Group,
            Opened::LookAhead | Opened::LookBehind => Atom::Place,
        })
    }

    /// What follows a parenthesis at `at`; `None` if it was only flags, parenthesis closed.
    fn open(&mut self, at: usize) -> Result<Option<Opened>> {
        if !self.take('?') {
            return self.open_group(None, at).map(Some);
        }
        let kind = self.take_any("group is not closed")?;
        let (written, opened) = match kind.c {
            ':' => ("(?:", Opened::Plain),
            '>' => {
                self.is_atomic = true;
                ("(?>", Opened::Plain)
            }
            '=' => ("(?=", Opened::LookAhead),
            '!' => ("(?!", Opened::LookAhead),
            '<' if self.take('=') => ("(?<=", Opened::LookBehind),
            '<' if self.take('!') => ("(?<!", Opened::LookBehind),
            '<' => {
                let name = self.group_name()?;
                return self.open_group(Some(name), at).map(Some);
            }
            _ => {
                self.next -= 1;
                let is_only_flags = self.flags()?;
                return Ok((!is_only_flags).then_some(Opened::Plain));
            }
        };
        let looks = opened != Opened::Plain;
        if looks && self.look_behinds > 0 {
            let problem = "looking around inside a look-behind is not supported";
            return Err(Refused::new(at, problem));
        }
        self.out.push_str(written);
        Ok(Some(opened))
    }

    fn open_group(&mut self, name: Option<String>, at: usize) -> Result<Opened> {
        let is_taken = |group: &Group| name.is_some() && group.name == name;
        if self.groups.iter().any(is_taken) {
            return Err(Refused::new(at, "another group has the same name"));
        }
        let is_captured = self.captured.contains(&(self.groups.len() + 1));
        self.out.push_str(if is_captured { "(" } else { "(?:" });
        self.groups.push(Group {
            name,
            is_closed: false,
        });
        Ok(Opened::Capturing(self.groups.len() - 1))
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
    fn escaped_atom(&mut self, at: usize) -> Result<Atom> {
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
                return Ok(Atom::Char);
            }
        };
        if self.look_behinds > 0 {
            let problem = format!(r"\{} inside a look-behind is not supported", token.c);
            return Err(Refused::new(at, problem));
        }
        self.next += 1;
        self.out.push_str(assertion);
        Ok(Atom::Place)
    }

    /// An escape outside a class that has a length.
    fn escaped_item(&mut self, token: Token, at: usize) -> Result<()> {
        match token.c {
            // Matches line terminators only, and no name has any.
            'R' => {
                self.next += 1;
                self.out.push_str(class::NEVER);
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
        if self.look_behinds > 0 {
            let problem = "a back reference in a look-behind is not supported";
            return Err(Refused::new(at, problem));
        }
        let group = number.and_then(|number| self.groups.get(number - 1));
        match (number, group) {
            (Some(number), Some(group)) if group.is_closed && !self.ignore_case => {
                self.referenced.insert(number);
                // Groups that are not captured are not counted by the engine.
                let written = self.captured.range(..=number).count().max(1);
                self.out.push_str(&format!(r"(?:\{written})"));
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
}
