//! Failures, with the real program: its messages, its exit codes, and the state it leaves untouched.

mod causes;
mod damaged;
mod deadman;
mod doctor;
mod externals;
mod faults;
mod full;
mod gpu;
pub(crate) mod home;
mod hung;
pub(crate) mod intruders;
mod killed;
mod library;
mod outputs;
mod passes;
mod pins;
mod planted;
mod power;
mod purge;
mod quiet;
mod refused;
mod rollout;
mod sources;
mod terminal;
mod unhealthy;
mod unknown;
mod writers;
