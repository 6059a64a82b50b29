//! The bad situations, with the real program: what it says, what it ends with, and what it left as it was.

mod home;
mod quiet;
mod refused;
mod sources;
mod unhealthy;
mod writers;
