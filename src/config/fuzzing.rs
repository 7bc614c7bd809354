//! What must hold for any bytes of a configuration file; `fuzz/` has a target for it.

use std::fmt::Write;

use super::{
    Config, ParseOptions,
    properties::{self, Entry},
    settings::{self, Kind},
};

/// Stands where a secret should be; nothing that a file says looks like it.
const SECRET: &str = "hunter2-the-secret";

/// Any file is a configuration or a list of mistakes, each of one line, and what is told of it
/// never holds a secret.
pub fn config(bytes: &[u8]) {
    told(bytes);
    let Ok(properties) = properties::parse(bytes) else {
        return;
    };
    let with_secrets: String = properties.entries.iter().map(with_secret).collect();
    let told = told(with_secrets.as_bytes());
    if !properties.entries.iter().any(holds_secret) {
        assert!(!told.contains(SECRET), "{told}");
    }
}

/// Everything that a user could be shown of a file.
fn told(bytes: &[u8]) -> String {
    match Config::parse("mm2.properties", bytes, &ParseOptions::default()) {
        Ok((config, notices)) => {
            assert!(!config.flows.is_empty());
            format!("{config:?} {} {notices:?}", config.effective)
        }
        Err(mistakes) => {
            assert!(!mistakes.errors.is_empty());
            for finding in mistakes.findings() {
                assert_eq!(finding.to_string().lines().count(), 1, "{finding}");
            }
            format!("{mistakes:?}")
        }
    }
}

/// Whether the secret stands where anything could be, so that seeing it proves nothing.
fn holds_secret(entry: &Entry) -> bool {
    entry.key.contains(SECRET) || (!is_secret(entry) && entry.value.contains(SECRET))
}

/// Whether the key names a secret, under any prefix.
fn is_secret(entry: &Entry) -> bool {
    settings::all()
        .filter(|setting| setting.kind == Kind::Secret)
        .any(|setting| {
            let prefix = entry.key.strip_suffix(setting.name);
            prefix.is_some_and(|prefix| prefix.is_empty() || prefix.ends_with('.'))
        })
}

/// The entry as a line of a file, its value replaced if that is a secret.
fn with_secret(entry: &Entry) -> String {
    let value = if is_secret(entry) {
        format!("{} required password=\"{SECRET}\";", entry.value)
    } else {
        entry.value.clone()
    };
    format!("{}={}\n", escaped(&entry.key), escaped(&value))
}

/// Every character as `\uXXXX`, which needs no other escapes.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    for unit in text.encode_utf16() {
        write!(escaped, "\\u{unit:04x}").expect("a string takes all that is written");
    }
    escaped
}
