//! Processor time.

use std::fmt;
use std::str::FromStr;

/// The most processor cores that a limit may name.
const MOST: u32 = 4096;

/// Processor time, in hundredths of a core: as exactly as systemd and container engines both take it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cpus(u32);

impl Cpus {
    /// Returns the percentage of one core.
    #[must_use]
    pub const fn percent(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 100, self.0 % 100) {
            (whole, 0) => write!(f, "{whole}"),
            (whole, part) if part % 10 == 0 => write!(f, "{whole}.{}", part / 10),
            (whole, part) => write!(f, "{whole}.{part:02}"),
        }
    }
}

impl FromStr for Cpus {
    type Err = String;

    /// Reads a decimal such as `1.5`; the error says what is expected.
    fn from_str(text: &str) -> Result<Self, String> {
        let expected = || {
            format!(
                "`{text}` is not a number of cores, such as `1.5`: it is from 0.01 to {MOST}, with at most two decimals"
            )
        };
        let (whole, part) = text.trim().split_once('.').unwrap_or((text.trim(), "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // Zeros at the end say nothing.
        let significant = part.trim_end_matches('0');
        if !digits(whole) || !digits(part) || significant.len() > 2 {
            return Err(expected());
        }
        let whole: u32 = whole.parse().map_err(|_| expected())?;
        let part: u32 = format!("{significant:0<2}").parse().map_err(|_| expected())?;
        let hundredths = whole.checked_mul(100).and_then(|whole| whole.checked_add(part));
        let valid = hundredths.filter(|hundredths| (1..=MOST * 100).contains(hundredths));
        valid.map(Self).ok_or_else(expected)
    }
}

#[cfg(test)]
mod tests {
    use super::Cpus;

    #[test]
    fn cores_are_decimals_of_two_places() {
        for (text, percent, shown) in [
            ("1.5", 150, "1.5"),
            ("2", 200, "2"),
            ("0.01", 1, "0.01"),
            ("0.250", 25, "0.25"),
            ("4096", 409_600, "4096"),
        ] {
            let cpus: Cpus = text.parse().expect(text);
            assert_eq!((cpus.percent(), cpus.to_string().as_str()), (percent, shown));
        }
        for text in
            ["", "0", "0.00", "0.001", "1.555", "-1", "1e3", "4096.01", ".", ".5", "1.", "1.2.3", "all", "99999999999"]
        {
            assert!(text.parse::<Cpus>().is_err(), "{text}");
        }
    }
}
