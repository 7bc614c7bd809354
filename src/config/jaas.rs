//! The value of `sasl.jaas.config`: a Java login module with its options. Pure.
//!
//! No error repeats any of the text, which holds passwords. Source: `JaasConfig`.

use std::collections::BTreeMap;

use secrecy::SecretString;

/// A login module.
#[derive(Debug)]
pub(super) struct LoginModule {
    /// Its Java class.
    pub(super) class: String,
    /// Its options; any may be a secret.
    pub(super) options: BTreeMap<String, SecretString>,
}

enum Token {
    Word(String),
    Equals,
    Semicolon,
}

/// Reads the one login module that a client has.
pub(super) fn parse(text: &str) -> Result<LoginModule, &'static str> {
    let mut tokens = tokens(text)?.into_iter();
    let Some(Token::Word(class)) = tokens.next() else {
        return Err("names no login module");
    };
    match tokens.next() {
        Some(Token::Word(flag)) if is_control_flag(&flag) => {}
        _ => return Err("has no control flag behind the login module, such as required"),
    }
    let mut options = BTreeMap::new();
    loop {
        let name = match tokens.next() {
            Some(Token::Word(name)) => name,
            Some(Token::Semicolon) => break,
            Some(Token::Equals) => return Err("has a value without a name"),
            None => return Err("does not end with a semicolon"),
        };
        match (tokens.next(), tokens.next()) {
            (Some(Token::Equals), Some(Token::Word(value))) => {
                options.insert(name, value.into());
            }
            _ => return Err("has an option without a value"),
        }
    }
    match tokens.next() {
        None => Ok(LoginModule { class, options }),
        Some(_) => Err("has more than one login module"),
    }
}

fn is_control_flag(word: &str) -> bool {
    let flags = ["required", "requisite", "sufficient", "optional"];
    flags.iter().any(|flag| flag.eq_ignore_ascii_case(word))
}

fn tokens(text: &str) -> Result<Vec<Token>, &'static str> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(c) = rest.chars().next() {
        let (token, behind) = match c {
            '=' => (Token::Equals, rest.split_at(1).1),
            ';' => (Token::Semicolon, rest.split_at(1).1),
            '"' | '\'' => {
                let (word, behind) = quoted(rest.split_at(1).1, c)?;
                (Token::Word(word), behind)
            }
            _ => {
                let is_end = |c: char| c.is_whitespace() || matches!(c, '=' | ';' | '"' | '\'');
                let end = rest.find(is_end).unwrap_or(rest.len());
                let (word, behind) = rest.split_at(end);
                (Token::Word(word.to_owned()), behind)
            }
        };
        tokens.push(token);
        rest = behind.trim_start();
    }
    Ok(tokens)
}

/// Reads up to the closing quote, undoing escapes.
fn quoted(text: &str, quote: char) -> Result<(String, &str), &'static str> {
    let mut word = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some((_, 'n')) => word.push('\n'),
                Some((_, 't')) => word.push('\t'),
                Some((_, 'r')) => word.push('\r'),
                Some((_, other)) => word.push(other),
                None => break,
            },
            c if c == quote => return Ok((word, text.split_at(at + 1).1)),
            c => word.push(c),
        }
    }
    Err("has an open quote")
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn modules_are_read_as_java_reads_them() {
        let cases = [
            (r#"a.B required username="u" password="p";"#, "p"),
            ("a.B REQUIRED\n  username = u\n  password = p ;  ", "p"),
            (r#"a.B required username='u' password='p "q"';"#, r#"p "q""#),
            (
                r#"a.B required username=u password="a\"b\\c;=";"#,
                r#"a"b\c;="#,
            ),
            (r#"a.B required username=u password="";"#, ""),
        ];
        for (text, password) in cases {
            let module = parse(text).unwrap_or_else(|problem| panic!("{text}: {problem}"));
            assert_eq!(module.class, "a.B");
            let option = |name| {
                module
                    .options
                    .get(name)
                    .map(|it: &SecretString| it.expose_secret())
            };
            assert_eq!(option("username"), Some("u"), "{text}");
            assert_eq!(option("password"), Some(password), "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_without_the_text() {
        let cases = [
            ("", "names no login module"),
            (
                "a.B",
                "has no control flag behind the login module, such as required",
            ),
            (
                "a.B username=u;",
                "has no control flag behind the login module, such as required",
            ),
            ("a.B required username=u", "does not end with a semicolon"),
            ("a.B required username;", "has an option without a value"),
            ("a.B required =u;", "has a value without a name"),
            (r#"a.B required password="u;"#, "has an open quote"),
            (r#"a.B required password="u\"#, "has an open quote"),
            (
                "a.B required; c.D required;",
                "has more than one login module",
            ),
        ];
        for (text, expected) in cases {
            assert_eq!(parse(text).map(|_| ()), Err(expected), "{text}");
        }
    }
}
