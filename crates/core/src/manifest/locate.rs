//! Locations in the text of a manifest.

use crate::resource::Location;
use std::ops::Range;

/// Returns the location of a byte range in a manifest's text.
#[must_use]
pub fn locate(text: &str, path: &str, span: Range<usize>) -> Location {
    let start = (0..=span.start.min(text.len())).rev().find(|index| text.is_char_boundary(*index)).unwrap_or(0);
    let end = (span.end.min(text.len())..=text.len()).find(|index| text.is_char_boundary(*index)).unwrap_or(start);
    let before = &text[..start];
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    Location { path: path.to_owned(), line, column, span: start..end.max(start) }
}
