//! kmirror.
