//! Typed values to exact text: markers, unit files and their quoting, environment files, gateway configs.
//!
//! Everything here is a function from values to text. Nothing is parsed back except the marker, and a gateway's
//! former configuration.

pub mod launcher;
pub mod marker;
pub mod quote;
pub mod source;
pub mod unit;
pub mod yaml;
