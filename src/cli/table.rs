//! Tables for people: columns as wide as they need to be.

use std::fmt::Write as _;
use std::io::{self, Write};

use crate::mail::{Client, ReversePath, Timestamp};

/// Prints a heading and rows, columns aligned to the left. The last column is as long as it is.
pub fn print(heading: &[&str], rows: &[Vec<String>]) -> io::Result<()> {
    let mut widths: Vec<usize> = heading.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let heading: Vec<String> = heading.iter().map(ToString::to_string).collect();
    let mut out = io::stdout().lock();
    for row in std::iter::once(&heading).chain(rows) {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            let _ = write!(line, "{cell:width$}  ");
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

/// `3 s`, `5 min`, `2 h`, `4 d`: how long ago, or how long until.
pub fn duration(seconds: i64) -> String {
    match seconds.max(0) {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} min", s / 60),
        s @ 7200..172_800 => format!("{} h", s / 3600),
        s => format!("{} d", s / 86_400),
    }
}

/// From one time to another, in whole seconds.
pub fn seconds(from: Timestamp, to: Timestamp) -> i64 {
    to.as_second() - from.as_second()
}

/// `812 B`, `34.2 MB`.
pub fn size(bytes: u64) -> String {
    let units = ["kB", "MB", "GB", "TB"];
    let (mut tenths, mut unit) = (bytes / 100, 0);
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    while tenths >= 10_000 && unit + 1 < units.len() {
        tenths /= 1000;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, units[unit])
}

/// A sender; nobody is `<>`.
pub fn sender(from: &ReversePath) -> String {
    from.address().map_or_else(|| "<>".to_owned(), ToString::to_string)
}

/// A client, and what it logged in as.
pub fn client(client: &Client) -> String {
    match &client.login {
        Some(login) => format!("{client} as {login}"),
        None => client.to_string(),
    }
}

/// A time as people write it, in UTC.
pub fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%d %H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        let sizes = [0, 999, 1000, 34_200_000, 5_000_000_000].map(size);
        assert_eq!(sizes, ["0 B", "999 B", "1.0 kB", "34.2 MB", "5.0 GB"]);
        assert_eq!([-5, 119, 120, 7200, 200_000].map(duration), ["0 s", "119 s", "2 min", "2 h", "2 d"]);
    }
}
