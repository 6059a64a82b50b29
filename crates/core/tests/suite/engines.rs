//! What is particular to an engine, engine by engine.

mod facts;
mod llama_cpp_python;
mod vllm;
