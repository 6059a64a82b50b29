//! Ordering: the steps that make the changes, and their dependencies.
//!
//! Three phases. **Stage** disturbs no running server. **Switch** stops only what must give something up, writes,
//! reloads and starts. **Prune** stops and removes undeclared resources, once the new generation is verified.

mod all;
mod basis;
mod contention;
mod ends;
mod models;
mod parts;
mod prerequisites;
mod prune;
mod replace;
mod sequence;
mod server;
mod stage;
mod steps;
mod switch;

pub(super) use all::order;
