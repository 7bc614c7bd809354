//! Where config providers look: files, directories, and the environment of the process.

use std::{env, fs, io, path::Path};

/// What a path leads to; links are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PathKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Neither.
    Other,
}

/// What a process can read beyond its properties file. Changes nothing.
pub(crate) trait Outside {
    /// Says what is at `path`; `None` if nothing is, or nothing that can be seen.
    fn kind(&self, path: &Path) -> Option<PathKind>;

    /// Reads a whole file.
    ///
    /// # Errors
    /// What the system says of it.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// Lists the names in a directory.
    ///
    /// # Errors
    /// What the system says of it.
    fn names(&self, path: &Path) -> io::Result<Vec<String>>;

    /// Gives the value of an environment variable.
    fn variable(&self, name: &str) -> Option<String>;
}

/// The system that the process runs on.
pub(crate) struct System;

impl Outside for System {
    fn kind(&self, path: &Path) -> Option<PathKind> {
        let metadata = fs::metadata(path).ok()?;
        Some(if metadata.is_file() {
            PathKind::File
        } else if metadata.is_dir() {
            PathKind::Directory
        } else {
            PathKind::Other
        })
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        fs::read(path)
    }

    fn names(&self, path: &Path) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| {
            entry.map(|entry| entry.file_name().to_string_lossy().into_owned())
        };
        fs::read_dir(path)?.map(name).collect()
    }

    fn variable(&self, name: &str) -> Option<String> {
        env::var_os(name).map(|value| value.to_string_lossy().into_owned())
    }
}

/// A place without files and variables, for texts that are to depend on nothing else.
pub(crate) struct Nowhere;

impl Outside for Nowhere {
    fn kind(&self, _: &Path) -> Option<PathKind> {
        None
    }

    fn read(&self, _: &Path) -> io::Result<Vec<u8>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn names(&self, _: &Path) -> io::Result<Vec<String>> {
        Err(io::ErrorKind::NotFound.into())
    }

    fn variable(&self, _: &str) -> Option<String> {
        None
    }
}
