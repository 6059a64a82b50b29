//! The settings of vLLM that a manifest may say: each is a flag of `vllm serve` in snake case, and has a type.
//!
//! What the manifest has a word of its own for is not among them, and what is not here goes under `args`.

use super::suggest;
use crate::resource::{Bytes, Note};
use serde_json::Value;

/// What a setting holds.
#[derive(Debug, Clone, Copy)]
enum Shape {
    /// `true` or `false`: the flag, or the flag with `no-`.
    Switch,
    /// A whole number.
    Count,
    /// A number above 0 and up to 1.
    Share,
    /// A size, which vLLM is told in bytes.
    Size,
    /// A word.
    Text,
}

const SETTINGS: [(&str, Shape); 17] = [
    ("cpu_offload_gb", Shape::Count),
    ("dtype", Shape::Text),
    ("enable_auto_tool_choice", Shape::Switch),
    ("enable_chunked_prefill", Shape::Switch),
    ("enable_prefix_caching", Shape::Switch),
    ("enforce_eager", Shape::Switch),
    ("gpu_memory_utilization", Shape::Share),
    ("kv_cache_memory_bytes", Shape::Size),
    ("load_format", Shape::Text),
    ("max_num_batched_tokens", Shape::Count),
    ("pipeline_parallel_size", Shape::Count),
    ("quantization", Shape::Text),
    ("reasoning_parser", Shape::Text),
    ("seed", Shape::Count),
    ("tensor_parallel_size", Shape::Count),
    ("tool_call_parser", Shape::Text),
    ("trust_remote_code", Shape::Switch),
];

/// What vLLM calls otherwise than the manifest, and where the manifest says it.
const ELSEWHERE: [(&str, &str); 4] = [
    ("kv_cache_dtype", "`kv_cache_type` of a model"),
    ("max_model_len", "`context` of a model"),
    ("max_num_seqs", "`parallel` of a model"),
    ("port", "`port` of the provider or of a model"),
];

/// A setting as a flag of `vllm serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VllmFlag {
    /// The flag with its dashes.
    pub flag: String,
    /// Its value; `None` of a switch.
    pub value: Option<String>,
    /// The setting's name.
    pub setting: String,
    /// The setting's value as the manifest writes it.
    pub written: String,
}

/// Returns the flags that settings become on the command line of `vllm serve`, and for each setting that cannot be one,
/// what is wrong with it.
#[must_use]
pub fn vllm_flags(settings: &Value) -> (Vec<VllmFlag>, Vec<(String, Note)>) {
    let (mut flags, mut problems) = (Vec::new(), Vec::new());
    for (name, value) in settings.as_object().into_iter().flatten() {
        match SETTINGS.iter().find(|(known, _)| known == name) {
            Some((_, shape)) => match shape.flag(name, value) {
                Ok((flag, text)) => {
                    let written = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                    flags.push(VllmFlag { flag, value: text, setting: name.clone(), written });
                }
                Err(expected) => {
                    let note = Note::error("bad-value", format!("`{name}` does not fit here"));
                    problems.push((name.clone(), note.hint(format!("it is {expected}"))));
                }
            },
            None => problems.push((name.clone(), unknown(name))),
        }
    }
    (flags, problems)
}

fn unknown(name: &str) -> Note {
    let note = Note::error("unknown-key", format!("`{name}` is not a setting of vLLM that llamero knows"));
    if let Some((_, place)) = ELSEWHERE.iter().find(|(elsewhere, _)| *elsewhere == name) {
        return note.hint(format!("write {place}"));
    }
    match suggest::nearest(name, SETTINGS.iter().map(|(known, _)| *known)) {
        Some(nearest) => note.hint(format!("did you mean `{nearest}`?")),
        None => note.hint(format!("other flags of `vllm serve` go under `args`, as `--{}`", name.replace('_', "-"))),
    }
}

impl Shape {
    /// Returns the flag and its value, or what was expected.
    fn flag(self, name: &str, value: &Value) -> Result<(String, Option<String>), &'static str> {
        let flag = name.replace('_', "-");
        let text = match self {
            Self::Switch => {
                let on = value.as_bool().ok_or("`true` or `false`")?;
                return Ok((if on { format!("--{flag}") } else { format!("--no-{flag}") }, None));
            }
            Self::Count => value.as_u64().ok_or("an integer")?.to_string(),
            Self::Share => {
                let share = value.as_f64().filter(|share| *share > 0.0 && *share <= 1.0);
                share.ok_or("a number above 0 and up to 1, such as `0.9`")?.to_string()
            }
            Self::Size => {
                let size = value.as_u64().or_else(|| Some(value.as_str()?.parse::<Bytes>().ok()?.0));
                size.filter(|size| *size > 0).ok_or("a size, such as `4GiB`")?.to_string()
            }
            // What begins with `-` would be another flag.
            Self::Text => {
                let text = value.as_str().filter(|text| !text.is_empty() && !text.starts_with('-'));
                text.ok_or("a word")?.to_owned()
            }
        };
        Ok((format!("--{flag}"), Some(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::{ELSEWHERE, SETTINGS, vllm_flags};
    use serde_json::json;

    #[test]
    fn settings_become_flags() {
        let (flags, problems) = vllm_flags(&json!({
            "dtype": "bfloat16",
            "enable_prefix_caching": false,
            "enforce_eager": true,
            "gpu_memory_utilization": 0.5,
            "kv_cache_memory_bytes": "1GiB",
            "tensor_parallel_size": 2,
        }));
        assert!(problems.is_empty(), "{problems:?}");
        let expected = "--dtype bfloat16 --no-enable-prefix-caching --enforce-eager --gpu-memory-utilization 0.5 \
                        --kv-cache-memory-bytes 1073741824 --tensor-parallel-size 2";
        let words: Vec<String> =
            flags.into_iter().flat_map(|flag| std::iter::once(flag.flag).chain(flag.value)).collect();
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn the_settings_are_sorted_and_unique() {
        assert!(SETTINGS.is_sorted_by(|one, other| one.0 < other.0));
        assert!(ELSEWHERE.iter().all(|(name, _)| !SETTINGS.iter().any(|(setting, _)| setting == name)));
    }
}
