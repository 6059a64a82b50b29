//! Decoding of the tree into typed values, with every problem rather than only the first.
//!
//! The types' serde implementations are the only definition of the fields. Serde stops at the first error; so the
//! failed part is noted and left out, and the tree is decoded again without it, until the rest succeeds.

mod decoder;
mod error;
mod findings;
mod key;
mod manifest;
mod word;

pub(super) use manifest::decode;
