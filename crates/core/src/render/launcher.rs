//! The program that runs a gateway between two service instances and one listening socket.
//!
//! It is text that is written beside the gateway's configuration and run by the gateway's own Python. What its states
//! mean, and when it is told to go on or to stop, is decided elsewhere.

/// The Python program that serves `LiteLLM` on a private socket first, then on a handed-over one, and ends without
/// cutting anybody off.
pub const GATEWAY_LAUNCHER: &str = include_str!("gateway_launcher.py");

/// The environment variable with the most seconds that its end may take.
pub const DRAIN_VARIABLE: &str = "LLAMERO_DRAIN_SECONDS";

/// The environment variable with the seconds after which it closes an idle connection.
pub const KEEP_ALIVE_VARIABLE: &str = "LLAMERO_KEEP_ALIVE_SECONDS";

#[cfg(test)]
mod tests {
    use super::{DRAIN_VARIABLE, GATEWAY_LAUNCHER, KEEP_ALIVE_VARIABLE};

    #[test]
    fn the_program_reads_the_variables_that_are_named_here() {
        for name in [DRAIN_VARIABLE, KEEP_ALIVE_VARIABLE] {
            assert!(GATEWAY_LAUNCHER.contains(&format!("environ.get(\"{name}\",")), "{name}");
        }
    }
}
