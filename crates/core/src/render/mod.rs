//! Typed values to exact text: markers, quoting, environment files, gateway configs.
//!
//! Everything here is a function from values to text. Nothing is parsed back except the marker, and a gateway's
//! previous configuration.

pub mod launcher;
pub mod marker;
pub mod quote;
pub mod source;
pub mod yaml;
