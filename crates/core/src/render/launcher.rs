//! The launcher that runs a gateway across socket hand-offs between two service instances.
//!
//! It is a text written beside the gateway's configuration and run by the gateway's own Python. Its states are
//! interpreted, and its signals sent, elsewhere.

/// The Python program that serves `LiteLLM` on a private socket first, then on a handed-off one, and drains its
/// connections before it exits.
pub const GATEWAY_LAUNCHER: &str = include_str!("gateway_launcher.py");

/// The environment variable with the longest drain time in seconds.
pub const DRAIN_VARIABLE: &str = "LLAMERO_DRAIN_SECONDS";

/// The environment variable with the idle timeout of a connection in seconds.
pub const KEEP_ALIVE_VARIABLE: &str = "LLAMERO_KEEP_ALIVE_SECONDS";

#[cfg(test)]
mod tests {
    use super::{DRAIN_VARIABLE, GATEWAY_LAUNCHER, KEEP_ALIVE_VARIABLE};

    #[test]
    fn the_launcher_reads_these_variables() {
        for name in [DRAIN_VARIABLE, KEEP_ALIVE_VARIABLE] {
            assert!(GATEWAY_LAUNCHER.contains(&format!("environ.get(\"{name}\",")), "{name}");
        }
    }
}
