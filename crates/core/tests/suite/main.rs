//! The tests of the values: nothing outside this process is touched, and nothing waits.

mod addresses;
mod cases;
mod edges;
mod effects;
mod engines;
mod given;
mod golden;
mod laws;
mod manifest_cases;
mod origins;
mod planning;
mod replacement;
mod rollout;
mod sample;
mod schema;
mod since;
mod values;
mod written;
