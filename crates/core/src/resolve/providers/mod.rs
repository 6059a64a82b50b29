//! The servers of providers, and the routes to their models, by what each engine says of itself.

mod add;
mod each;
mod files;
mod gpus;
mod ports;
mod pulled;
mod route;

pub(super) use add::add;
pub(super) use ports::ports;
pub(super) use route::key_variable;
