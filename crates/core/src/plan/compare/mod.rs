//! Comparison of each declared resource with its observation, as a decision table per kind.
//!
//! It decides about one resource at a time. The order of steps and interactions between changes are decided
//! elsewhere.

mod all;
mod artifact;
mod case;
mod difference;
mod effective;
mod file;
mod model;
mod run;
mod unseen;
mod verdicts;

pub(super) use all::compare;
pub(super) use difference::{Comparison, Difference, Remedy, RunAction, RunRemedy};
