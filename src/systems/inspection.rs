//! The commands with which a user inspects or removes by hand what llamero cannot.

use super::Systems;
use crate::resource::{Kind, ResourceId};

impl Systems {
    /// Returns the command that shows how a resource fares; `None` where there is none.
    #[must_use]
    pub fn inspection(&self, id: &ResourceId) -> Option<String> {
        match id.kind {
            Kind::Unit => Some(format!("systemctl --user status {}.service", id.name)),
            Kind::Container => Some(format!("docker logs {}", id.name)),
            Kind::Process => Some(format!("less {}", self.processes.log(&id.name).display())),
            _ => None,
        }
    }
}

/// Returns the command that removes models from a server that llamero cannot reach.
#[must_use]
pub fn removal(models: &[String]) -> String {
    format!("ollama rm {}", models.join(" "))
}
