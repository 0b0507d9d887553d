//! Whose conversations are to be written down.

use std::path::Path;

use super::document::{Document, Raw};
use super::listen::network;
use super::report::Report;
use super::value;
use crate::listener::trace::{Want, usual_folder};

/// Every `[[trace]]`. The folder is one beside the mail, unless another is named.
pub fn read(document: &Document<'_>, spool: Option<&Path>, report: &mut Report) -> Vec<Want> {
    let truth = |raw: Raw<'_>| raw.truth().ok_or_else(|| "expected true or false".to_owned());
    let gateways = &document.environment.gateways;
    let mut wants = Vec::new();
    for table in document.tables("[[trace]]") {
        let networks = table.read("client", |raw| network(raw, gateways), report);
        let folder = table.read("folder", value::path(document.folder()), report);
        let content = table.read("content", truth, report).unwrap_or(true);
        if let Some(folder) = folder.or_else(|| spool.map(usual_folder)) {
            wants.push(Want { networks: networks.unwrap_or_default(), folder, content });
        }
    }
    wants
}
