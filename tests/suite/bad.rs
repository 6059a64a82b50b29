//! The bad situations, with the real program: what it says, what it ends with, and what it left as it was.

mod damaged;
mod deadman;
mod doctor;
mod faults;
mod full;
mod gpu;
mod home;
mod hung;
pub(crate) mod intruders;
mod killed;
mod library;
mod outputs;
mod passes;
mod pins;
mod planted;
mod power;
mod quiet;
mod refused;
mod rollout;
mod sources;
mod unhealthy;
mod writers;
