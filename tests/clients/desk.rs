//! The place where a client is run: its files, and what it is told.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::mails::{FROM, Mail};
use super::program::{Relay, Said, outcome_of};

/// What `scripts/README.md` promises to every script.
pub struct Desk {
    folder: PathBuf,
    settings: BTreeMap<&'static str, String>,
}

/// Programs that cannot be installed beside others are unpacked here by `tests/run`, a folder for each package.
pub fn unpacked() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients")
}

/// The program, which is also `sendmail`.
const PROGRAM: &str = env!("CARGO_BIN_EXE_smarthost");

impl Desk {
    pub fn new(relay: &Relay) -> Desk {
        let folder = relay.folder().join("desk");
        fs::create_dir(&folder).expect("the folder is ours");
        symlink(PROGRAM, folder.join("sendmail")).expect("the folder is ours");
        let spool = relay.spool();
        let config = format!(
            "[[account]]\nuser = \"me@gmail.com\"\napp_password = \"abcd efgh ijkl mnop\"\n[spool]\npath = \"{}\"\n[recipients]\ndefault_domain = \"example.com\"\n",
            spool.display()
        );
        relay.write("desk/relay.toml", &config);
        let settings = surroundings(&folder, relay.port());
        Desk { folder, settings }
    }

    /// Tells the scripts more, or something else.
    pub fn set(&mut self, name: &'static str, value: &str) {
        self.settings.insert(name, value.to_owned());
    }

    fn file(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.folder.join(name);
        fs::write(&path, bytes).expect("the folder is ours");
        path
    }

    /// Runs a script for one mail.
    pub fn run(&self, script: &str, mail: &Mail) -> Said {
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/scripts");
        let mut command = Command::new(scripts.join(script));
        command.current_dir(&self.folder).env_clear().envs(&self.settings);
        command.env("SCRIPTS", scripts).env("UNPACKED", unpacked());
        let subjects: Vec<String> = (1..=mail.times).map(|number| mail.subject(number)).collect();
        command.env("FROM", FROM).env("NAME", mail.name).env("SUBJECTS", subjects.join("\n"));
        command.env("TO", mail.to.join(" ")).env("CC", mail.cc.join(" ")).env("BCC", mail.bcc.join(" "));
        command.env("RECIPIENTS", mail.recipients().join(" ")).env("TIMES", mail.times.to_string());
        command.env("TEXT", self.file("text.txt", mail.text.as_bytes()));
        if let Some(bytes) = &mail.attachment {
            command.env("ATTACHMENT", self.file("scan.bin", bytes));
        }
        for number in 1..=mail.times {
            self.file(&format!("{number}.eml"), &mail.message(number));
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        outcome_of(command)
    }
}

/// Nobody's settings, and the text of today.
fn surroundings(folder: &Path, port: u16) -> BTreeMap<&'static str, String> {
    let path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned();
    BTreeMap::from([
        ("HOST", "127.0.0.1".to_owned()),
        ("PORT", port.to_string()),
        ("HOME", folder.display().to_string()),
        ("LC_ALL", "C.UTF-8".to_owned()),
        ("PYTHONDONTWRITEBYTECODE", "1".to_owned()),
        ("PATH", path),
        ("SENDMAIL", folder.join("sendmail").display().to_string()),
        ("SMARTHOST_CONFIG", folder.join("relay.toml").display().to_string()),
    ])
}
