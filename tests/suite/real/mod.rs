//! Tests on real parts: a systemd user manager, and the servers that people run.

mod docker;
mod home;
mod ollama;
mod pins;
mod stack;
mod systemd;
mod vllm;
