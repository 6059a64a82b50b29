//! Capabilities of a server beyond serving, as plain data that its engine writes.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The HTTP calls by which a server gives its GPU's memory back without ending, and takes it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SleepCalls {
    /// The server's address without a path.
    pub endpoint: String,
    /// The path that is posted to for sleep.
    pub sleep: String,
    /// The path that is posted to for waking.
    pub wake: String,
    /// The path that answers with a JSON object that says whether the server sleeps.
    pub state: String,
    /// The key of that object.
    pub key: String,
}

/// The claim of a server on the memory of its GPUs when it starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum GpuClaim {
    /// The engine's own default share.
    Default,
    /// A share of the total, in millionths.
    Share(u32),
}

impl GpuClaim {
    /// Returns the claim of a share between 0 and 1; the engine's default where the text is none.
    #[must_use]
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 1,000,000")]
    pub fn parse(share: &str) -> Self {
        let share = share.parse::<f64>().ok().filter(|share| (0.0..=1.0).contains(share));
        share.map_or(Self::Default, |share| Self::Share((share * 1e6).round() as u32))
    }
}

/// The fields and headers by which a gateway is tried with real requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GatewayApi {
    /// Fields that every request has beyond those of the protocol, so that only the model itself can answer.
    pub fields: Map<String, Value>,
    /// The header of an answer that names the model that answered.
    pub answered_by: String,
}
