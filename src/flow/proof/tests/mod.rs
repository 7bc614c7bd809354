//! The proof, rule by rule and at random.
