//! What the configuration is told from outside its file: variables, and a few facts about this machine.
//!
//! Plain values, so that a test is data; [`Environment::of_this_process`] is the one place that looks around.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use super::container;

/// Where a service keeps its state (file-hierarchy standard, section 5.8).
pub const SYSTEM_SPOOL: &str = "/var/lib/smarthost";

/// Where the configuration is looked for when nobody says where it is.
const USUAL_FILES: [&str; 2] = ["relay.toml", "/etc/smarthost/relay.toml"];

/// Everything around the program that can change its settings.
#[derive(Clone, Default)]
pub struct Environment {
    /// The environment variables. Some are secrets.
    pub variables: BTreeMap<String, String>,
    /// What this machine calls itself; fit for nothing until it was checked.
    pub machine_name: String,
    /// Whether [`SYSTEM_SPOOL`] can be written, or made.
    pub system_spool_usable: bool,
    /// Where the configuration is looked for, in this order.
    pub usual_files: Vec<PathBuf>,
    /// Whether this process is in a container.
    pub in_container: bool,
    /// The default gateways of this machine.
    pub gateways: Vec<IpAddr>,
}

impl Environment {
    /// The real one.
    #[must_use]
    pub fn of_this_process() -> Environment {
        let variables = std::env::vars_os();
        let text = |word: std::ffi::OsString| word.to_string_lossy().into_owned();
        Environment {
            variables: variables.map(|(name, value)| (text(name), text(value))).collect(),
            machine_name: text(gethostname::gethostname()),
            system_spool_usable: is_usable(Path::new(SYSTEM_SPOOL)),
            usual_files: USUAL_FILES.map(PathBuf::from).to_vec(),
            in_container: container::is_around_us(),
            gateways: container::gateways(),
        }
    }

    /// A variable, without blanks around it. An empty one counts as not set: container files often pass on
    /// variables that nobody filled in.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|value| value.trim()).filter(|value| !value.is_empty())
    }
}

/// Tries it: rights, read-only file systems and sandboxes are all in the answer. The file has no name, and is gone.
fn is_usable(folder: &Path) -> bool {
    let nearest = if folder.exists() { Some(folder) } else { folder.parent() };
    nearest.is_some_and(|folder| tempfile::tempfile_in(folder).is_ok())
}

/// Names only: values may be secrets.
impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("machine_name", &self.machine_name)
            .field("system_spool_usable", &self.system_spool_usable)
            .field("usual_files", &self.usual_files)
            .field("in_container", &self.in_container)
            .field("gateways", &self.gateways)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_real_one_knows_its_machine_and_hides_its_values() {
        let environment = Environment::of_this_process();
        let path = environment.variable("PATH").expect("there is always a PATH");
        assert!(!environment.machine_name.is_empty());
        assert_eq!(environment.usual_files, [Path::new("relay.toml"), Path::new("/etc/smarthost/relay.toml")]);
        assert!(!format!("{environment:?}").contains(path));
    }

    #[test]
    fn a_folder_is_usable_where_it_is_or_can_be_made() {
        let folder = tempfile::tempdir().unwrap();
        assert!(is_usable(folder.path()));
        assert!(is_usable(&folder.path().join("new")));
        assert!(!is_usable(&folder.path().join("new/below")));
        assert_eq!(folder.path().read_dir().unwrap().count(), 0, "nothing is left behind");
    }
}
