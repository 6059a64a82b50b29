//! The commands with which a user removes by hand what llamero cannot.

/// Returns the command that removes models from a server that llamero cannot reach.
#[must_use]
pub fn removal(models: &[String]) -> String {
    format!("ollama rm {}", models.join(" "))
}
