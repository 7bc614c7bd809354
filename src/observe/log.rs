//! The log: one line an event on standard error, with time, level and flow.

use std::io::IsTerminal;

use tracing_subscriber::{
    EnvFilter,
    filter::{LevelFilter, ParseError},
};

/// Why a filter is none.
#[derive(Debug, thiserror::Error)]
pub enum BadFilter {
    /// A word stands where a level must; the parser would take it for a module's name.
    #[error("{0:?} is not a level; use error, warn, info, debug or trace")]
    Level(String),
    /// It is not of the form.
    #[error("{0}")]
    Form(#[from] ParseError),
}

/// Starts logging what `filter` lets through, such as `info` or `info,kmirror::cluster=debug`.
///
/// # Errors
///
/// When `filter` is not of that form.
pub fn start(filter: &str) -> Result<(), BadFilter> {
    let mut words = filter.split(',').map(str::trim);
    let is_unknown = |word: &&str| !word.contains('=') && word.parse::<LevelFilter>().is_err();
    if let Some(word) = words.find(is_unknown) {
        return Err(BadFilter::Level(word.to_owned()));
    }
    let filter = EnvFilter::builder().parse(filter)?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    Ok(())
}
