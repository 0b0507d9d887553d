//! The certificate for clients: where its files are. Whether they fit is found out where they are used, since they change.

use crate::listener::tls::CertificateFiles;

use super::document::Document;
use super::report::Report;
use super::value;

/// `[tls]`; `None` where it is not written.
pub fn read(document: &Document<'_>, report: &mut Report) -> Option<CertificateFiles> {
    let table = document.table("[tls]");
    table.at?;
    for key in ["certificate", "key"] {
        if table.given(key).is_none() {
            report.mistake(table.at, format!("[tls] has no `{key}`; it needs certificate and key, both PEM files"));
        }
    }
    let certificate = table.read("certificate", value::path(document.folder()), report);
    let key = table.read("key", value::path(document.folder()), report);
    Some(CertificateFiles { certificate: certificate?, key: key? })
}
