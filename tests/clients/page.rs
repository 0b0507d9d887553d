//! `docs/clients.md` shows the table as it is. To write it again: `CLIENTS_PAGE=write tests/run --test clients page`.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use smarthost::config::{self, Environment};

use super::mails::Kind;
use super::table::{CLIENTS, Client, Connections, Upgrade, version};

const BEGIN: &str = "<!-- written by tests/clients/page.rs -->\n";
const END: &str = "<!-- until here -->\n";

/// The column with the version, which differs from machine to machine.
const VERSION_COLUMN: usize = 2;

fn table() -> String {
    let mut table =
        "| client | version | text | UTF-8 | attachment | to, cc, bcc | twenty messages | TLS | remarks |\n".to_owned();
    table += "| --- | --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for client in CLIENTS {
        let version = version(client.package).unwrap_or_default();
        let _ = write!(table, "| {} | {} |", client.name, upstream_version(&version));
        for kind in Kind::ALL {
            let _ = write!(table, " {} |", result(client, kind));
        }
        let _ = writeln!(table, " {} | {} |", encryption(client), client.note);
    }
    table
}

fn result(client: &Client, kind: Kind) -> &'static str {
    match kind {
        _ if client.lacks.contains(&kind) => "–",
        Kind::Many => match client.many {
            Connections::One => "one connection",
            Connections::Each => "one each",
            Connections::Calls => "a call each",
        },
        _ => "arrives",
    }
}

fn encryption(client: &Client) -> String {
    let names = client.encryption.iter().map(|&tls| match (tls, client.upgrade) {
        ("starttls", _) => "with STARTTLS",
        ("implicit", _) => "with TLS on connect",
        (_, Upgrade::WhereOffered) => "where STARTTLS is offered",
        _ => "without",
    });
    names.collect::<Vec<_>>().join(", ")
}

/// Without what Debian counts: `1:1.8.23-1+b2` is `1.8.23`.
fn upstream_version(version: &str) -> &str {
    let version = version.split_once(':').map_or(version, |(_, rest)| rest);
    let version = version.rsplit_once('-').map_or(version, |(first, _)| first);
    version.split(['+', '~']).next().unwrap_or_default()
}

fn without_versions(table: &str) -> Vec<String> {
    let columns = |line: &str| {
        let cells = line.split(" | ").enumerate().filter(|(number, _)| number + 1 != VERSION_COLUMN);
        cells.map(|(_, cell)| cell).collect::<Vec<_>>().join(" | ")
    };
    table.lines().map(columns).collect()
}

#[test]
fn the_page_shows_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/clients.md");
    let page = fs::read_to_string(&path).expect("there is a page");
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the table");
    let (shown, after) = rest.split_once(END).expect("the table has an end");
    if env::var("CLIENTS_PAGE").is_ok_and(|order| order == "write") {
        fs::write(&path, format!("{before}{BEGIN}\n{}\n{END}{after}", table())).expect("the page can be written");
    } else {
        assert_eq!(without_versions(shown.trim()), without_versions(table().trim()), "write the page again");
    }
}

/// What the page tells to put into relay.toml can be put there.
#[test]
fn the_settings_on_the_page_are_taken() {
    let page = include_str!("../../docs/clients.md");
    let blocks: Vec<&str> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert!(blocks.len() > 1, "the page has settings");
    for block in blocks {
        let folder = tempfile::tempdir().expect("there is room for temporary files");
        let file = folder.path().join("relay.toml");
        fs::write(&file, block).expect("the folder is ours");
        let account = [("GMAIL_USER", "me@gmail.com"), ("GMAIL_APP_PASSWORD", "abcd efgh ijkl mnop")];
        let environment = Environment {
            variables: account.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
            machine_name: "nas".to_owned(),
            system_spool_usable: true,
            ..Environment::default()
        };
        if let Err(mistakes) = config::load(Some(&file), &environment) {
            panic!("{block}\n{mistakes:?}");
        }
    }
}

/// `tests/run` gets every package that a client is from.
#[test]
fn every_package_is_listed() {
    let listed: Vec<&str> = include_str!("packages").lines().map(|line| line.trim_start_matches("unpack ")).collect();
    for client in CLIENTS {
        assert!(listed.contains(&client.package), "{} is not in tests/clients/packages", client.package);
    }
}
