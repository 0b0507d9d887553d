//! The log: one line an event on standard error, as text for people or JSON for machines.
//!
//! In JSON: `ts` (RFC 3339), `level`, `event`, then the event's own keys. Nothing but [`crate::event`] writes here.

use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::{Context, SubscriberExt};

use crate::clock::now;
use crate::mail::Timestamp;

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Text on a terminal, JSON otherwise.
    Auto,
    Text,
    Json,
}

/// Sends all events to standard error from now on. A second call changes nothing.
pub fn start(format: Format, level: LevelFilter) {
    let json = match format {
        Format::Auto => !io::stderr().is_terminal(),
        Format::Text => false,
        Format::Json => true,
    };
    let subscriber = tracing_subscriber::registry().with(Lines { json }.with_filter(level));
    // Only a second call can fail, and then the first one stands.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

struct Lines {
    json: bool,
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = *event.metadata().level();
        let line = if self.json { fields.json(now(), level) } else { fields.text(now(), level) };
        // One write a line, so that lines of several threads do not mix. Without a standard error nobody listens.
        let _ = io::stderr().lock().write_all(line.as_bytes());
    }
}

/// The keys of one event, in their order.
#[derive(Default)]
struct Fields {
    keys: Map<String, Value>,
}

impl Fields {
    fn take(&mut self, key: &str) -> Option<String> {
        match self.keys.shift_remove(key) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    fn json(mut self, ts: Timestamp, level: Level) -> String {
        let mut line = Map::new();
        line.insert("ts".to_owned(), Value::from(format!("{ts:.3}")));
        line.insert("level".to_owned(), Value::from(level.as_str().to_ascii_lowercase()));
        let event = self.take("event");
        line.insert("event".to_owned(), Value::from(event));
        self.take("message");
        line.extend(self.keys);
        Value::Object(line).to_string() + "\n"
    }

    /// `07:31:05 accepted id=… client=…`; the sentence of the event stands for its keys where it has one.
    fn text(mut self, ts: Timestamp, level: Level) -> String {
        let mut line = ts.strftime("%Y-%m-%d %H:%M:%SZ ").to_string();
        if level <= Level::WARN {
            line += if level == Level::ERROR { "ERROR " } else { "warning: " };
        }
        let event = self.take("event").unwrap_or_default();
        if let Some(sentence) = self.take("message") {
            return line + &sentence + "\n";
        }
        line += &event;
        for (key, value) in &self.keys {
            let _ = match value {
                Value::String(text) if is_plain(text) => write!(line, " {key}={text}"),
                other => write!(line, " {key}={other}"),
            };
        }
        line + "\n"
    }
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_graphic() && c != '"')
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.keys.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.keys.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.keys.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.keys.insert(field.name().to_owned(), Value::from(value));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.keys.insert(field.name().to_owned(), Value::from(format!("{value:?}")));
    }
}
