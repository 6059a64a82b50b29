//! The bad situations, with the real program: what it says, what it ends with, and what it left as it was.

mod canary;
mod damaged;
mod deadman;
mod doctor;
mod faults;
mod full;
mod gpu;
mod home;
mod hung;
mod killed;
mod pins;
mod quiet;
mod refused;
mod sources;
mod turns;
mod unhealthy;
mod writers;
