//! `docs/clients.md` shows the table as it is. To write it again: `CLIENTS_PAGE=write tests/run --test clients page`.

use std::env;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::mails::Kind;
use super::table::{CLIENTS, Client, Connections};

const BEGIN: &str = "<!-- written by tests/clients/page.rs -->\n";
const END: &str = "<!-- until here -->\n";

/// The column with the version, which differs from machine to machine.
const VERSION_COLUMN: usize = 2;

fn table() -> String {
    let mut table =
        "| client | version | text | UTF-8 | attachment | to, cc, bcc | twenty messages | remarks |\n".to_owned();
    table += "| --- | --- | --- | --- | --- | --- | --- | --- |\n";
    for client in CLIENTS {
        let version = client.version().unwrap_or_default();
        let _ = write!(table, "| {} | {} |", client.name, upstream_version(&version));
        for kind in Kind::ALL {
            let _ = write!(table, " {} |", result(client, kind));
        }
        let _ = writeln!(table, " {} |", client.note);
    }
    table
}

fn result(client: &Client, kind: Kind) -> &'static str {
    match kind {
        _ if client.lacks.contains(&kind) => "–",
        Kind::Many if client.many == Connections::One => "over one connection",
        Kind::Many => "over one each",
        _ => "arrives",
    }
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

/// `tests/run` gets every package that a client is from.
#[test]
fn every_package_is_listed() {
    let listed: Vec<&str> = include_str!("packages").lines().map(|line| line.trim_start_matches("unpack ")).collect();
    for client in CLIENTS {
        assert!(listed.contains(&client.package), "{} is not in tests/clients/packages", client.package);
    }
}
