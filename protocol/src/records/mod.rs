//! Record batches.

/// How many bytes the header of a record batch takes (magic 2).
pub const HEADER_LEN: usize = 61;
