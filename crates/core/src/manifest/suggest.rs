//! Suggestions: the known word nearest to an unknown one, and names that look like secrets.

/// Returns the nearest of `known`, if it is close enough to be a likely misspelling.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let letters = word.chars().count();
    // A single letter is equally near to all others.
    let allowed = (letters / 3).clamp(1, 3).min(letters.saturating_sub(1));
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
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

/// Counts the letters to insert, drop, replace or swap with their neighbour, ignoring case and `-`/`_`.
fn distance(one: &str, other: &str) -> usize {
    let letters = |text: &str| -> Vec<char> { text.to_lowercase().replace('_', "-").chars().collect() };
    let (one, other) = (letters(one), letters(other));
    let mut table = vec![vec![0; other.len() + 1]; one.len() + 1];
    for i in 0..=one.len() {
        for j in 0..=other.len() {
            table[i][j] = match (i, j) {
                (0, _) => j,
                (_, 0) => i,
                _ => {
                    let replaced = table[i - 1][j - 1] + usize::from(one[i - 1] != other[j - 1]);
                    let best = replaced.min(table[i - 1][j] + 1).min(table[i][j - 1] + 1);
                    let swapped = i > 1 && j > 1 && one[i - 1] == other[j - 2] && one[i - 2] == other[j - 1];
                    if swapped { best.min(table[i - 2][j - 2] + 1) } else { best }
                }
            };
        }
    }
    table[one.len()][other.len()]
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
