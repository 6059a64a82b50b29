//! What is particular to an engine, engine by engine.

mod vllm;
