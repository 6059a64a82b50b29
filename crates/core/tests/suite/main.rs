//! The tests of the values: nothing outside this process is touched, and nothing waits.

mod addresses;
mod cases;
mod effects;
mod engines;
mod golden;
mod laws;
mod manifest_cases;
mod origins;
mod planning;
mod replacement;
mod rollout;
mod sample;
mod schema;
mod values;
mod written;
