//! What is particular to an engine, engine by engine.

mod llama_cpp_python;
mod vllm;
