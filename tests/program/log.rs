//! The log lines of a process, as they come.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use serde_json::Value;

use super::DEADLINE;

/// Filled by a thread that reads, asked by the test.
#[derive(Debug, Default)]
pub struct Log {
    lines: Mutex<Lines>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Lines {
    text: Vec<String>,
    ended: bool,
}

impl Lines {
    fn events(&self, name: &str) -> Vec<Value> {
        let events = self.text.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        events.filter(|event| event["event"] == name).collect()
    }
}

impl Log {
    pub fn add(&self, line: String) {
        self.lock().text.push(line);
        self.changed.notify_all();
    }

    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// Everything so far.
    pub fn text(&self) -> String {
        self.lock().text.join("\n")
    }

    /// The events of this name so far.
    pub fn events(&self, name: &str) -> Vec<Value> {
        self.lock().events(name)
    }

    /// Waits until there are so many events of this name, and returns them all.
    pub fn wait_for(&self, name: &str, count: usize) -> Vec<Value> {
        let what = format!("{count} × {name}");
        self.wait(&what, |lines| Some(lines.events(name)).filter(|events| events.len() >= count))
    }

    /// Waits for an event of this name that fits, and returns it.
    pub fn wait_for_one(&self, name: &str, fits: impl Fn(&Value) -> bool) -> Value {
        self.wait(name, |lines| lines.events(name).into_iter().find(&fits))
    }

    /// Waits for the first event of this name. `None`: the process has ended without it.
    pub fn wait_for_first(&self, name: &str) -> Option<Value> {
        self.wait(name, |lines| match lines.events(name).into_iter().next() {
            None if lines.ended => Some(None),
            event => event.map(Some),
        })
    }

    /// Waits until the process has closed its standard error.
    pub fn wait_for_end(&self) {
        self.wait("the end", |lines| lines.ended.then_some(()));
    }

    fn wait<T>(&self, what: &str, look: impl Fn(&Lines) -> Option<T>) -> T {
        let lines = self.lock();
        let unmet = |lines: &mut Lines| look(lines).is_none() && !lines.ended;
        let (lines, _) =
            self.changed.wait_timeout_while(lines, DEADLINE, unmet).unwrap_or_else(PoisonError::into_inner);
        let found = look(&lines);
        let text = lines.text.join("\n");
        drop(lines);
        found.unwrap_or_else(|| panic!("waited in vain for {what}; log:\n{text}"))
    }

    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
