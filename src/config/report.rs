//! Mistakes and warnings, each with its place, told all at once in the order of the file.

use std::fmt;

/// What stops the program: one line for each mistake, never with a secret in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<String>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// A place in the file, as a byte offset; `None` for what is not in the file.
pub type Offset = Option<usize>;

/// Collects what is wrong while the settings are read.
pub struct Report {
    /// The name of the file, as people know it.
    file: String,
    /// The offset at which each line begins.
    line_starts: Vec<usize>,
    mistakes: Vec<Remark>,
    warnings: Vec<Remark>,
}

/// Those in the file come first, by line.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Remark {
    InFile { line: usize, text: String },
    Elsewhere(String),
}

impl Report {
    /// For a file with this name and text.
    pub fn new(file: String, text: &str) -> Report {
        let line_starts = std::iter::once(0).chain(memchr::memchr_iter(b'\n', text.as_bytes()).map(|end| end + 1));
        Report { file, line_starts: line_starts.collect(), mistakes: Vec::new(), warnings: Vec::new() }
    }

    /// Something that must not be started with.
    pub fn mistake(&mut self, at: Offset, text: impl Into<String>) {
        let remark = self.remark(at, text.into());
        self.mistakes.push(remark);
    }

    /// Something that the operator should know.
    pub fn warning(&mut self, at: Offset, text: impl Into<String>) {
        let remark = self.remark(at, text.into());
        self.warnings.push(remark);
    }

    /// The warnings where there is no mistake, else the mistakes.
    pub fn finish(self) -> Result<Vec<String>, Mistakes> {
        if self.mistakes.is_empty() {
            return Ok(in_order(self.warnings, &self.file));
        }
        Err(Mistakes(in_order(self.mistakes, &self.file)))
    }

    /// Line and column of an offset, both from 1; the column counts bytes.
    pub fn position(&self, at: usize) -> (usize, usize) {
        let line = self.line_starts.partition_point(|start| *start <= at);
        let start = line.checked_sub(1).and_then(|index| self.line_starts.get(index)).copied().unwrap_or(0);
        (line, at - start + 1)
    }

    fn remark(&self, at: Offset, text: String) -> Remark {
        match at {
            Some(at) => Remark::InFile { line: self.position(at).0, text },
            None => Remark::Elsewhere(text),
        }
    }
}

/// One value may have been read for several listeners; its mistake is told once.
fn in_order(mut remarks: Vec<Remark>, file: &str) -> Vec<String> {
    remarks.sort();
    remarks.dedup();
    let shown = remarks.into_iter().map(|remark| match remark {
        Remark::InFile { line, text } => format!("{file}:{line}: {text}"),
        Remark::Elsewhere(text) => text,
    });
    shown.collect()
}

/// How alike two names must be for one to be meant by the other, by Jaro's measure: 1 is the same.
const ALIKE: f64 = 0.75;

/// The known name that was most likely meant.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let found = found.to_lowercase();
    let known: Vec<&str> = known.into_iter().collect();
    // One slip is the surest sign; long names with the same words are all alike.
    if let Some(meant) = known.iter().find(|name| strsim::osa_distance(&found, name) == 1) {
        return Some(meant);
    }
    let scored = known.into_iter().map(|name| (strsim::jaro(&found, name), name));
    scored.filter(|(score, _)| *score >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name)
}

/// `"a", "b" or "c"`
pub fn one_of<'a>(words: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = words.into_iter().map(|word| format!("\"{word}\"")).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}
