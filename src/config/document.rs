//! The file and the environment as one: a setting is asked for by its name, and comes with its place.

use std::fmt;
use std::path::Path;

use toml::de::{DeTable, DeValue};

use super::environment::Environment;
use super::keys::{self, Section};
use super::report::{Offset, Report};

/// Everything that was written, by whom ever.
pub struct Document<'a> {
    root: DeTable<'a>,
    /// The file, where there is one.
    pub file: Option<&'a Path>,
    pub environment: &'a Environment,
}

impl<'a> Document<'a> {
    /// Reads the text of the file. Where it is no TOML there is nothing to read; unknown names are only reported.
    pub fn parse(
        text: &'a str,
        file: Option<&'a Path>,
        environment: &'a Environment,
        report: &mut Report,
    ) -> Option<Document<'a>> {
        let (root, faults) = DeTable::parse_recoverable(text);
        for fault in &faults {
            let at = fault.span().map_or(text.len(), |span| span.start);
            let column = report.position(at).1;
            // Only the parser's reason: the line itself may hold a secret.
            report.mistake(Some(at), format!("column {column}: {}", fault.message()));
        }
        if !faults.is_empty() {
            return None;
        }
        keys::check(root.get_ref(), report);
        Some(Document { root: root.into_inner(), file, environment })
    }

    /// The folder that paths in the file start from: its own.
    pub fn folder(&self) -> &Path {
        self.file.and_then(Path::parent).unwrap_or(Path::new(""))
    }

    /// The settings before the first section.
    pub fn top(&self) -> Table<'_> {
        let environment = Some(self.environment);
        Table { section: Section::of(""), at: None, entries: Some(&self.root), environment }
    }

    /// A section that is there once, or not at all.
    pub fn table(&self, header: &str) -> Table<'_> {
        self.tables(header).first().copied().unwrap_or_else(|| self.absent(header))
    }

    /// A section of which nothing is written, so that only the environment speaks.
    pub fn absent(&self, header: &str) -> Table<'_> {
        Table { section: Section::of(header), at: None, entries: None, environment: Some(self.environment) }
    }

    /// A section as often as it is there.
    pub fn tables(&self, header: &str) -> Vec<Table<'_>> {
        let section = Section::of(header);
        let table = |at, entries| Table { section, at, entries, environment: Some(self.environment) };
        let Some((key, value)) = self.root.get_key_value(section.name()) else { return Vec::new() };
        match value.get_ref() {
            DeValue::Table(entries) => vec![table(Some(key.span().start), Some(entries))],
            DeValue::Array(items) => {
                let tables = items.iter().filter_map(|item| Some((item.span().start, item.get_ref().as_table()?)));
                tables.map(|(at, entries)| table(Some(at), Some(entries))).collect()
            }
            _ => Vec::new(),
        }
    }
}

/// One section as it was written, or its absence.
#[derive(Clone, Copy)]
pub struct Table<'a> {
    section: &'static Section,
    /// Where it begins.
    pub at: Offset,
    entries: Option<&'a DeTable<'a>>,
    /// `None`: variables do not count here.
    environment: Option<&'a Environment>,
}

impl<'a> Table<'a> {
    /// The section as the file has it, whatever variables say.
    pub fn without_environment(self) -> Table<'a> {
        Table { environment: None, ..self }
    }

    /// The variables that are set for this section.
    pub fn variables(&self) -> Vec<&'static str> {
        let known = self.section.keys.iter().filter_map(|key| key.variable);
        known.filter(|name| self.environment.is_some_and(|all| all.variable(name).is_some())).collect()
    }

    /// Whether it stands in the file.
    pub fn is_written(&self) -> bool {
        self.entries.is_some()
    }

    /// A setting as it was given: by its variable, else in the file.
    pub fn given(&self, key: &str) -> Option<Given<'a>> {
        let key = self.section.key(key)?;
        let from_environment = || {
            let variable = key.variable?;
            let raw = Raw::Environment(self.environment?.variable(variable)?);
            Some(Given { name: variable.to_owned(), verb: "is", at: None, raw })
        };
        from_environment().or_else(|| self.given_in_file(key.name))
    }

    fn given_in_file(&self, key: &str) -> Option<Given<'a>> {
        let value = self.entries?.get(key)?;
        let name = [self.section.name(), key].join(".").trim_start_matches('.').to_owned();
        Some(Given { name, verb: "is", at: Some(value.span().start), raw: Raw::File(value.get_ref()) })
    }

    /// A setting, where it was given and is right.
    pub fn read<T>(&self, key: &str, kind: impl Fn(Raw<'a>) -> Result<T, String>, report: &mut Report) -> Option<T> {
        self.given(key)?.read(kind, report)
    }

    /// A list, where it was given: what is right of it.
    pub fn list<T>(
        &self,
        key: &str,
        kind: impl Fn(Raw<'a>) -> Result<T, String>,
        report: &mut Report,
    ) -> Option<Vec<T>> {
        let items = self.given(key)?.items(report)?;
        Some(items.iter().filter_map(|item| item.read(&kind, report)).collect())
    }

    /// The same for a list that would shut everybody out if it were empty.
    pub fn list_of_some<T>(
        &self,
        key: &str,
        kind: impl Fn(Raw<'a>) -> Result<T, String>,
        report: &mut Report,
    ) -> Option<Vec<T>> {
        let given = self.given(key)?;
        if given.items(report)?.is_empty() {
            report.mistake(given.at, format!("{} is empty; leave it out to have its default", given.name));
        }
        self.list(key, kind, report)
    }
}

/// A value with its name and its place.
pub struct Given<'a> {
    /// `retry.first`, or the variable.
    pub name: String,
    /// `is`, or `holds` where it is one of a list.
    verb: &'static str,
    pub at: Offset,
    pub raw: Raw<'a>,
}

impl<'a> Given<'a> {
    /// Whether it comes from a variable.
    pub fn is_from_environment(&self) -> bool {
        matches!(self.raw, Raw::Environment(_))
    }

    /// Reads it. `kind` says what is expected where it finds something else.
    pub fn read<T>(&self, kind: impl Fn(Raw<'a>) -> Result<T, String>, report: &mut Report) -> Option<T> {
        let read = kind(self.raw);
        read.map_err(|expected| self.wrong(&expected, report)).ok()
    }

    /// Reports that the value is not right, and why.
    pub fn wrong(&self, why: &str, report: &mut Report) {
        report.mistake(self.at, format!("{} {} {}; {why}", self.name, self.verb, self.raw));
    }

    /// The parts of a list: of an array, or of a variable with commas.
    pub fn items(&self, report: &mut Report) -> Option<Vec<Given<'a>>> {
        let item = |at, raw| Given { name: self.name.clone(), verb: "holds", at, raw };
        match self.raw {
            Raw::Environment(text) => {
                let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
                Some(words.map(|word| item(None, Raw::Environment(word))).collect())
            }
            Raw::File(DeValue::Array(items)) => {
                Some(items.iter().map(|value| item(Some(value.span().start), Raw::File(value.get_ref()))).collect())
            }
            Raw::File(_) => {
                self.wrong("expected a list, such as [\"…\", \"…\"]", report);
                None
            }
        }
    }

    /// The entries of a table with names of the user's own.
    pub fn entries(&self, report: &mut Report) -> Vec<(&'a str, Given<'a>)> {
        let Raw::File(DeValue::Table(entries)) = self.raw else {
            self.wrong("expected a table, such as { root = \"me@gmail.com\" }", report);
            return Vec::new();
        };
        let named = entries.iter().map(|(key, value)| {
            let name = format!("{}.{}", self.name, quoted(key.get_ref()));
            (
                key.get_ref().as_ref(),
                Given { name, verb: "is", at: Some(key.span().start), raw: Raw::File(value.get_ref()) },
            )
        });
        named.collect()
    }
}

/// A value as it was written. A variable knows no types: its text may stand for a number.
#[derive(Clone, Copy)]
pub enum Raw<'a> {
    File(&'a DeValue<'a>),
    Environment(&'a str),
}

impl<'a> Raw<'a> {
    /// The text, where it is one.
    pub fn text(self) -> Option<&'a str> {
        match self {
            Raw::File(value) => value.as_str(),
            Raw::Environment(text) => Some(text),
        }
    }

    /// Whether it was written as a list.
    pub fn is_list(self) -> bool {
        matches!(self, Raw::File(DeValue::Array(_)))
    }

    /// The whole number, where it is one and not below zero.
    pub fn number(self) -> Option<u64> {
        match self {
            Raw::File(DeValue::Integer(number)) => u64::from_str_radix(number.as_str(), number.radix()).ok(),
            Raw::File(_) => None,
            Raw::Environment(text) => text.parse().ok(),
        }
    }

    /// Yes or no.
    pub fn truth(self) -> Option<bool> {
        match self {
            Raw::File(value) => value.as_bool(),
            Raw::Environment(_) => None,
        }
    }
}

/// As it is shown in a mistake. What looks like an app password is not: it may have come into the wrong place.
impl fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Environment(text) => f.write_str(&quoted(text)),
            Raw::File(DeValue::String(text)) => f.write_str(&quoted(text)),
            Raw::File(DeValue::Integer(number)) => number.fmt(f),
            Raw::File(DeValue::Float(number)) => number.fmt(f),
            Raw::File(DeValue::Boolean(truth)) => truth.fmt(f),
            Raw::File(DeValue::Datetime(date)) => date.fmt(f),
            Raw::File(DeValue::Array(_)) => f.write_str("a list"),
            Raw::File(DeValue::Table(_)) => f.write_str("a table"),
        }
    }
}

/// How much of a value is shown.
const SHOWN_CHARACTERS_MAX: usize = 60;

fn quoted(text: &str) -> String {
    if looks_like_app_password(text) {
        return "a text of 16 letters (not shown: it may be an app password)".to_owned();
    }
    let mut characters = text.chars();
    let start: String = characters.by_ref().take(SHOWN_CHARACTERS_MAX).collect();
    let more = if characters.next().is_some() { "…" } else { "" };
    format!("\"{}{more}\"", start.escape_debug())
}

/// Sixteen letters, with or without blanks (`gmail.md`, section 2.1).
pub fn looks_like_app_password(text: &str) -> bool {
    const LETTERS: usize = 16;
    let letters = || text.chars().filter(|c| !c.is_whitespace()).take(LETTERS + 1);
    letters().count() == LETTERS && letters().all(|c| c.is_ascii_alphabetic())
}
