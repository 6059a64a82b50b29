//! Suggestions: the known word nearest to an unknown one, and names that look like secrets.

/// Returns the nearest of `known`, if it is close enough to be a likely misspelling: by the letters to insert, drop, replace
/// or swap with their neighbour.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = word.chars().count();
    // A single letter is equally near to all others.
    let allowed = (letters / 3).clamp(1, 3).min(letters.saturating_sub(1));
    let word = plain(word);
    known
        .into_iter()
        .filter(|candidate| candidate.chars().count().abs_diff(letters) <= allowed)
        .map(|candidate| (strsim::osa_distance(&word, &plain(candidate)), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Returns a hint that names the nearest of `known`, or lists them all when none is near.
#[must_use]
pub fn hint(word: &str, known: &[&str], what: &str) -> Option<String> {
    if let Some(nearest) = nearest(word, known.iter().copied()) {
        return Some(format!("did you mean `{nearest}`?"));
    }
    let listed: Vec<String> = known.iter().map(|known| format!("`{known}`")).collect();
    (!listed.is_empty()).then(|| format!("{what}: {}", listed.join(", ")))
}

/// Returns whether a name looks like a secret's.
pub(super) fn looks_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase().replace('-', "_");
    let public = name.ends_with("PUBLIC_KEY");
    !public
        && ["_KEY", "APIKEY", "TOKEN", "PASSWORD", "PASSWD", "SECRET", "CREDENTIALS"]
            .iter()
            .any(|ending| name.ends_with(ending))
}

/// Returns a word without what misspellings do not differ in.
fn plain(word: &str) -> String {
    word.to_lowercase().replace('_', "-")
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn only_near_words_are_suggested() {
        let known = ["llama-cpp", "ollama", "vllm", "openai"];
        assert_eq!(nearest("llamacpp", known), Some("llama-cpp"));
        assert_eq!(nearest("llama_cpp", known), Some("llama-cpp"));
        assert_eq!(nearest("olama", known), Some("ollama"));
        assert_eq!(nearest("triton", known), None);
        assert_eq!(nearest("prot", ["port", "path"]), Some("port"));
    }
}
