//! kmirror.
fn main() {}
