//! Files that say what output must be; `UPDATE_GOLDEN=1` rewrites them.

use std::{env, fs, path::Path};

/// Compares `actual` with the file at `path` below the repository's root.
pub(crate) fn assert_golden(path: &str, actual: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if is_updating() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, actual).unwrap();
    }
    let expected = fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("{}: {error}; run with UPDATE_GOLDEN=1", path.display()));
    assert_eq!(
        actual,
        expected,
        "{} differs; if the change is right, run with UPDATE_GOLDEN=1",
        path.display()
    );
}

/// Whether files are to be rewritten.
pub(crate) fn is_updating() -> bool {
    env::var_os("UPDATE_GOLDEN").is_some_and(|value| value == "1")
}
