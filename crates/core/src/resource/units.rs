//! Quantities as users write them: sizes in binary units, durations in seconds.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// A number of bytes, written `512MiB`, `22GiB`, `1.5GiB`, `10GB` or as a plain number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

const SIZES: [(&str, u64); 9] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl fmt::Display for Bytes {
    /// Writes the size in the largest binary unit that keeps it above one, with one decimal where it is not whole.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = SIZES[..5].iter().rev().find(|(_, factor)| self.0 >= *factor).copied().unwrap_or(("B", 1));
        if self.0.is_multiple_of(factor) {
            return f.pad(&format!("{} {unit}", self.0 / factor));
        }
        #[expect(clippy::cast_precision_loss, reason = "one decimal is printed")]
        let value = self.0 as f64 / factor as f64;
        f.pad(&format!("{value:.1} {unit}"))
    }
}

impl Bytes {
    /// Returns the size without rounding it: two sizes never read the same.
    #[must_use]
    pub fn exact(self) -> String {
        let text = self.to_string();
        if text.parse() == Ok(self) { text } else { format!("{} B", self.0) }
    }
}

impl std::iter::Sum for Bytes {
    /// Adds sizes; on overflow the sum is the largest number, which exceeds every budget.
    fn sum<I: Iterator<Item = Self>>(sizes: I) -> Self {
        sizes.fold(Self(0), |sum, size| Self(sum.0.saturating_add(size.0)))
    }
}

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || format!("`{text}` is not a size, such as `512MiB` or `22GiB`");
        let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
        let (number, unit) = (&text[..end], text[end..].trim());
        let factor = match unit {
            "" => 1,
            unit => SIZES.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?.1,
        };
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        let whole: u64 = whole.parse().map_err(|_| expected())?;
        let mut bytes = whole.checked_mul(factor).ok_or_else(expected)?;
        if number.contains('.') {
            let digits = u32::try_from(fraction.len()).ok().filter(|digits| (1..=9).contains(digits));
            let scale = 10_u64.pow(digits.ok_or_else(expected)?);
            let fraction: u64 = fraction.parse().map_err(|_| expected())?;
            let part = u128::from(fraction) * u128::from(factor) / u128::from(scale);
            bytes = u64::try_from(part).ok().and_then(|part| bytes.checked_add(part)).ok_or_else(expected)?;
        }
        Ok(Self(bytes))
    }
}

/// A duration in milliseconds, written `30s`, `500ms`, `5m`, `1h30m`, `2d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seconds {
    /// The whole duration in milliseconds.
    pub milliseconds: u64,
}

const DURATIONS: [(&str, u64); 5] = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

impl Seconds {
    /// Returns a duration of whole seconds.
    #[must_use]
    pub const fn new(seconds: u64) -> Self {
        Self { milliseconds: seconds * 1000 }
    }

    /// Returns the duration in whole seconds, rounded up.
    #[must_use]
    pub const fn whole(self) -> u64 {
        self.milliseconds.div_ceil(1000)
    }

    /// Returns it as the standard library's duration.
    #[must_use]
    pub const fn duration(self) -> Duration {
        Duration::from_millis(self.milliseconds)
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.milliseconds == 0 {
            return f.pad("0s");
        }
        let mut rest = self.milliseconds;
        let mut text = String::new();
        for (unit, factor) in DURATIONS {
            let count = rest / factor;
            rest %= factor;
            if count > 0 {
                text += &count.to_string();
                text += unit;
            }
        }
        f.pad(&text)
    }
}

impl FromStr for Seconds {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = || format!("`{text}` is not a duration, such as `30s`, `5m` or `1h30m`");
        let mut rest = text;
        let mut milliseconds: u64 = 0;
        if rest.is_empty() {
            return Err(expected());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(expected)?;
            let number: u64 = rest[..digits].parse().map_err(|_| expected())?;
            rest = &rest[digits..];
            let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let factor = DURATIONS.iter().find(|(unit, _)| *unit == &rest[..end]).ok_or_else(expected)?.1;
            milliseconds =
                number.checked_mul(factor).and_then(|part| milliseconds.checked_add(part)).ok_or_else(expected)?;
            rest = &rest[end..];
        }
        Ok(Self { milliseconds })
    }
}

#[cfg(test)]
mod tests {
    use super::{Bytes, Seconds};

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes) in [("512MiB", 512 << 20), ("1.5GiB", 3 << 29), ("10GB", 10_000_000_000), ("7", 7)] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)));
        }
        for bad in ["", "GiB", "1.GiB", "1,5GiB", "-1GiB", "1 gib", "99999999999TiB", "1.2.3GiB"] {
            assert!(bad.parse::<Bytes>().is_err(), "{bad}");
        }
        assert_eq!(Bytes(253_113_024).to_string(), "241.4 MiB");
        assert_eq!(Bytes(0).to_string(), "0 B");
        assert_eq!(Bytes(22 << 30).to_string(), "22 GiB");
        assert_eq!([Bytes(1), Bytes(2)].into_iter().sum::<Bytes>(), Bytes(3));
        assert_eq!([Bytes(u64::MAX), Bytes(2)].into_iter().sum::<Bytes>(), Bytes(u64::MAX));
    }

    #[test]
    fn durations_read_and_print() {
        for (text, ms) in [("30s", 30_000), ("1h30m", 5_400_000), ("250ms", 250), ("2d", 172_800_000)] {
            assert_eq!(text.parse(), Ok(Seconds { milliseconds: ms }));
            assert_eq!(Seconds { milliseconds: ms }.to_string(), text);
        }
        for bad in ["", "30", "s", "1.5h", "3 s", "5x", "99999999999999999999s"] {
            assert!(bad.parse::<Seconds>().is_err(), "{bad}");
        }
    }
}
