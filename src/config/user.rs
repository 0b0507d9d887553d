//! Who may log in where `auth` is "required".

use crate::listener::{PasswordHash, Users};

use super::document::{Document, Table};
use super::report::Report;
use super::value;

/// Every `[[user]]`, by name.
pub fn read(document: &Document<'_>, report: &mut Report) -> Users {
    let mut users = Users::new();
    for table in document.tables("[[user]]") {
        let Some((name, hash)) = user(table, report) else { continue };
        if users.insert(name.clone(), hash).is_some() {
            report.mistake(table.at, format!("the user \"{}\" is there twice", name.escape_debug()));
        }
    }
    users
}

fn user(table: Table<'_>, report: &mut Report) -> Option<(String, PasswordHash)> {
    for key in ["name", "password_hash"] {
        if table.given(key).is_none() {
            report.mistake(table.at, format!("[[user]] has no {key}"));
        }
    }
    let name = table.read("name", value::label, report);
    let given = table.given("password_hash")?;
    // What stands there may be the password itself, so it is never shown.
    let hash = given.raw.text().ok_or("expected a text").and_then(PasswordHash::parse);
    let hash =
        hash.map_err(|why| report.mistake(given.at, format!("{} cannot be used (not shown); {why}", given.name)));
    Some((name?, hash.ok()?))
}
