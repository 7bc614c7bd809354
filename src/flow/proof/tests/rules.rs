//! The rules of the proof, case by case.
