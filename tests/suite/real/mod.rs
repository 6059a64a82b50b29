//! Tests on real parts: a systemd user manager, and the servers that people run.

mod containers;
mod deadman;
mod docker;
mod doctor;
mod drift;
mod engine;
mod fake_litellm;
mod handoff;
mod home;
mod instances;
mod intruder;
mod kills;
mod launcher;
mod llama_cpp_python;
mod load;
mod ollama;
mod orphans;
mod parts;
mod pins;
mod power;
mod rollout;
mod stack;
mod states;
mod swap;
mod systemd;
mod vllm;
