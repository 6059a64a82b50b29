//! The excerpt of a failed server's log: its last lines, and an earlier line that names the cause.
//!
//! A server of several processes ends with the message that one of them failed; that process's own error is further
//! up. Each engine knows which lines name a cause.

/// The number of lines searched for the cause.
pub(super) const SEARCHED: usize = 200;

/// The number of last lines shown.
const SHOWN: usize = 12;

/// Returns the line that names the cause, unless it is among the last lines anyway, and the last lines.
pub(super) fn excerpt(mut lines: Vec<String>, names_cause: impl Fn(&str) -> bool) -> Vec<String> {
    let last = lines.split_off(lines.len().saturating_sub(SHOWN));
    if last.iter().any(|line| names_cause(line)) {
        return last;
    }
    lines.into_iter().rfind(|line| names_cause(line)).into_iter().chain(last).collect()
}

#[cfg(test)]
mod tests {
    use super::{SHOWN, excerpt};
    use crate::engines;

    fn names_cause(line: &str) -> bool {
        engines::find("vllm").is_some_and(|engine| engine.names_cause(line))
    }

    /// Returns what is shown of a cause that stands far above other lines.
    fn first_shown(cause: &str, ending: &str) -> String {
        let frames = (0..40).map(|number| format!("  File \"core.py\", line {number}, in raise_error"));
        let mut lines = vec!["INFO starting".to_owned(), cause.to_owned()];
        lines.extend(frames.chain([ending.to_owned()]));
        excerpt(lines, names_cause).swap_remove(0)
    }

    #[test]
    fn a_cause_far_above_comes_first() {
        let ending = "RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {}";
        for cause in [
            "(EngineCore pid=7) ERROR 11-24 15:01:02 [core.py:9] RuntimeError: Cannot find any model weights with `/m`",
            "ERROR [core.py:9] ValueError: To serve at least one request with the models's max seq len (65536), more",
            "  Value error, User-specified max_model_len (200000) is greater than the derived max_model_len",
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
            "OSError: [Errno 98] Address already in use",
        ] {
            assert_eq!(first_shown(cause, ending), cause);
        }
    }

    #[test]
    fn a_traceback_or_a_summary_is_not_the_cause() {
        for line in
            ["    raise ValueError(", "    raise RuntimeError(f\"{x}: y\") from error", "Error: no", "ValueError:"]
        {
            assert!(first_shown(line, "the end").starts_with("  File"), "{line}");
        }
    }

    #[test]
    fn a_cause_among_the_last_lines_is_not_repeated() {
        let lines: Vec<String> = ["OSError: an earlier one"]
            .into_iter()
            .chain([" a frame"; 20])
            .chain(["OSError: this"])
            .map(str::to_owned)
            .collect();
        let shown = excerpt(lines.clone(), names_cause);
        assert_eq!(shown, lines[lines.len() - SHOWN..]);
        assert_eq!(excerpt(lines[..3].to_vec(), names_cause), lines[..3]);
        assert!(excerpt(Vec::new(), names_cause).is_empty());
    }
}
