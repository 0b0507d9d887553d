//! `relay.toml`: any text is read or refused, with every mistake in one printable line that names its place, and no
//! password in any of them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::PathBuf;

use smarthost::config::{self, Environment, Loaded, Mistakes};

use super::{assert_printable, choices};

/// A line with a password, and what must not be seen of it.
const SECRET_LINE: &str = "app_password = \"abcd efgh ijkl mnop\"";
const SECRET_PART: &str = "ijkl";

pub fn holds(input: &[u8]) {
    let ([rules], text) = choices(input);
    let text = String::from_utf8_lossy(text);
    let environment = environment(rules);
    let (outcome, file) = load(&text, &environment);
    let remarks = match &outcome {
        Ok(loaded) => &loaded.warnings,
        Err(mistakes) => &mistakes.0,
    };
    assert!(outcome.is_ok() || !remarks.is_empty(), "it is refused without a reason");
    let mut last_line = 0;
    for remark in remarks {
        assert_printable(remark);
        let Some(place) = remark.strip_prefix(&format!("{}:", file.display())) else { continue };
        let number = place.split_once(": ").expect("a line number and a text").0;
        let line: usize = number.parse().unwrap_or_else(|_| panic!("{remark}"));
        assert!((1..=text.split('\n').count()).contains(&line), "{remark}");
        assert!(line >= last_line, "out of order: {remark}");
        last_line = line;
    }
    if hides_a_secret(&text) {
        let shown = format!("{remarks:?}{outcome:?}");
        assert!(!shown.contains(SECRET_PART), "a secret is shown: {shown}");
    }
    if let Ok(loaded) = &outcome {
        is_usable(loaded);
    }
}

/// Whether the password stands where it belongs, and nothing like it elsewhere.
fn hides_a_secret(text: &str) -> bool {
    let is_line = text.lines().any(|line| line.trim() == SECRET_LINE);
    let others = text.lines().filter(|line| line.trim() != SECRET_LINE);
    is_line && !text.contains("\"\"\"") && !text.contains("'''") && !others.into_iter().any(|l| l.contains(SECRET_PART))
}

fn environment(rules: u8) -> Environment {
    let account = [("GMAIL_USER", "me@gmail.com"), ("GMAIL_APP_PASSWORD", "qrst uvwx qrst uvwx")];
    let variables = account.into_iter().filter(|_| rules & 1 != 0);
    Environment {
        variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>(),
        machine_name: "nas".to_owned(),
        system_spool_usable: rules & 2 == 0,
        usual_files: Vec::new(),
        gateways: Vec::new(),
        in_container: false,
    }
}

thread_local! {
    static FOLDER: RefCell<Option<tempfile::TempDir>> = const { RefCell::new(None) };
}

fn load(text: &str, environment: &Environment) -> (Result<Loaded, Mistakes>, PathBuf) {
    FOLDER.with_borrow_mut(|folder| {
        let file = folder.get_or_insert_with(super::folder).path().join("relay.toml");
        std::fs::write(&file, text).unwrap();
        (config::load(Some(&file), environment), file)
    })
}

fn is_usable(loaded: &Loaded) {
    let config = &loaded.config;
    assert!(!config.listeners.is_empty());
    let hostname = &config.policy.hostname;
    assert!(!hostname.is_empty() && hostname.len() <= 255 && hostname.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(config.retry.first <= config.retry.longest);
    let limits = &config.policy.limits;
    assert!(limits.message_bytes > 0 && limits.recipients > 0 && limits.connections > 0);
    assert_printable(&config.policy.routes.default);
}
