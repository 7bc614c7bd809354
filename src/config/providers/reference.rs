//! References to config providers in a value: `${provider:key}` and `${provider:path:key}`.
//!
//! Source: the pattern of `ConfigTransformer`. The provider's name runs to the first `:`, the path
//! to the next one, the key to the first `}`; a key may hold further `:`. None stands in another.

use std::fmt;

/// One reference; shown as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference<'a> {
    /// The whole of it.
    pub(super) written: &'a str,
    /// The name of the provider.
    pub(super) provider: &'a str,
    /// Empty if there is none.
    pub(super) path: &'a str,
    /// What is asked for.
    pub(super) key: &'a str,
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.written)
    }
}

/// A part of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// What stays as it is.
    Text(&'a str),
    /// What a provider may answer.
    Reference(Reference<'a>),
}

/// Takes a value apart; put together again, the pieces are the value.
pub(super) fn pieces(value: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = value;
    while let Some((before, after)) = rest.split_once("${")
        && let Some((body, tail)) = after.split_once('}')
    {
        let (head, _) = rest.split_at(rest.len() - tail.len());
        match reference(head.split_at(before.len()).1, body) {
            Some(reference) => {
                pieces.push(Piece::Text(before));
                pieces.push(Piece::Reference(reference));
            }
            None => pieces.push(Piece::Text(head)),
        }
        rest = tail;
    }
    pieces.push(Piece::Text(rest));
    pieces
}

/// What stands between the braces of `written`, if that makes it a reference.
fn reference<'a>(written: &'a str, body: &'a str) -> Option<Reference<'a>> {
    let (provider, rest) = body.split_once(':')?;
    let (path, key) = rest.split_once(':').unwrap_or(("", rest));
    Some(Reference {
        written,
        provider,
        path,
        key,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Provider, path and key.
    type Parts<'a> = (&'a str, &'a str, &'a str);

    /// The parts of every reference.
    fn references(value: &str) -> Vec<Parts<'_>> {
        let parts = |piece| match piece {
            Piece::Text(_) => None,
            Piece::Reference(it) => Some((it.provider, it.path, it.key)),
        };
        pieces(value).into_iter().filter_map(parts).collect()
    }

    #[test]
    fn references_are_found_as_kafkas_pattern_finds_them() {
        // Checked with ConfigTransformer.DEFAULT_PATTERN on OpenJDK 17.
        let cases: [(&str, &[Parts<'_>]); 16] = [
            ("", &[]),
            ("no reference", &[]),
            ("${env:K}", &[("env", "", "K")]),
            ("${env::K}", &[("env", "", "K")]),
            ("${file:/p:k}", &[("file", "/p", "k")]),
            ("${file:/p:a:b:c}", &[("file", "/p", "a:b:c")]),
            ("x ${e:a}${e:b} y", &[("e", "", "a"), ("e", "", "b")]),
            ("${:}", &[("", "", "")]),
            ("${env}", &[]),
            ("${env} ${e:k}", &[("e", "", "k")]),
            ("${env:K", &[]),
            ("$ {env:K}", &[]),
            ("${env:K}}", &[("env", "", "K")]),
            ("${a${e:k}", &[("a${e", "", "k")]),
            ("${f:${e:p}:k}", &[("f", "${e", "p")]),
            ("${e:a\nb}", &[("e", "", "a\nb")]),
        ];
        for (value, expected) in cases {
            assert_eq!(references(value), expected, "{value:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn the_pieces_are_the_value(value in "[$a:{} \u{e9}\n]{0,24}") {
            let text = |piece| match piece {
                Piece::Text(text) => text,
                Piece::Reference(reference) => reference.written,
            };
            let whole: String = pieces(&value).into_iter().map(text).collect();
            proptest::prop_assert_eq!(whole, value);
        }
    }
}
