//! The tests of the values: nothing outside this process is touched, and nothing waits.
#![expect(clippy::too_many_lines, reason = "a case reads its whole folder")]

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
