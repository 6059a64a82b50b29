//! A server's log: a file that the server itself appends to, so that no line is lost with the supervisor.
//!
//! The price is that it can only be turned over while the server does not run: at every start, once it is large.

use crate::resource::Bytes;
use crate::systems::files;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

pub(super) const LOG: &str = "log";
const EARLIER: &str = "log.1";
/// The beginning of the line that stands before everything that a start printed.
const START: &str = "llamero: starting ";
const LARGE: Bytes = Bytes(10 << 20);
/// The most bytes read from the end of a log.
const TAIL: u64 = 256 << 10;

/// Opens the log for a server that is about to start, and turns it over first if it is large.
pub(super) fn open(folder: &Path) -> Result<File, files::Error> {
    let path = folder.join(LOG);
    let refused = |operation| {
        let path = path.clone();
        move |source| files::Error::Refused { operation, path, source }
    };
    if fs::metadata(&path).is_ok_and(|live| live.len() > LARGE.0) {
        fs::rename(&path, folder.join(EARLIER)).map_err(refused("turn over"))?;
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(files::PRIVATE).open(&path).map_err(refused("open"))
}

/// Notes that a server is about to start.
pub(super) fn note_start(folder: &Path, program: &str) {
    note(folder, &format!("{}{program}", START.trim_start_matches("llamero: ")));
}

/// Adds a line of the supervisor's own. It is for people, so it may fail.
pub(super) fn note(folder: &Path, line: &str) {
    if let Ok(mut log) = OpenOptions::new().append(true).open(folder.join(LOG)) {
        let _ = log.write_all(format!("llamero: {line}\n").as_bytes());
    }
}

/// Returns the last `count` lines, or fewer where they are very long.
pub(super) fn last_lines(folder: &Path, count: usize) -> Vec<String> {
    let mut lines = tail(&folder.join(LOG), count);
    if lines.len() < count {
        let mut earlier = tail(&folder.join(EARLIER), count - lines.len());
        earlier.append(&mut lines);
        lines = earlier;
    }
    lines
}

fn tail(path: &Path, count: usize) -> Vec<String> {
    let read = || -> std::io::Result<Vec<String>> {
        let mut file = File::open(path)?;
        let skipped = file.metadata()?.len().saturating_sub(TAIL);
        file.seek(SeekFrom::Start(skipped))?;
        let mut bytes = Vec::new();
        file.take(TAIL).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut lines: Vec<&str> = text.lines().collect();
        if skipped > 0 && lines.len() > 1 {
            // Its beginning was not read.
            lines.remove(0);
        }
        // What comes before the last start is of an earlier life.
        let start = lines.iter().rposition(|line| line.starts_with(START)).map_or(0, |index| index + 1);
        let lines = lines.split_off(start);
        let first = lines.len().saturating_sub(count);
        Ok(lines.into_iter().skip(first).map(str::to_owned).collect())
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{LARGE, last_lines, note, open};
    use std::fs;
    use std::io::Write;

    #[test]
    fn a_large_log_is_turned_over_and_its_end_is_still_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut log = open(folder.path()).expect("a log");
        let line = "x".repeat(1023);
        for _ in 0..=LARGE.0 / 1024 {
            writeln!(log, "{line}").expect("written");
        }
        write!(log, "the end").expect("written");
        assert_eq!(last_lines(folder.path(), 2), [line, "the end".to_owned()]);
        open(folder.path()).expect("a log");
        assert_eq!(fs::metadata(folder.path().join("log")).expect("a log").len(), 0);
        note(folder.path(), "started");
        assert_eq!(last_lines(folder.path(), 2), ["the end", "llamero: started"]);
        assert!(last_lines(folder.path(), 100_000).len() < 300);
    }
}
