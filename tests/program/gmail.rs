//! The stand-in for Gmail inside the test process, for tests that do not speak async themselves.

use smarthost::standin::{Counts, Options, Ports, Received, Standin, parse_rules};
use tokio::runtime::Runtime;

use super::DEADLINE;

/// What opens the account at the stand-in.
pub const APP_PASSWORD: &str = "abcd efgh ijkl mnop";

/// A stand-in with the threads it lives on.
pub struct Gmail {
    standin: Standin,
    runtime: Runtime,
}

impl Gmail {
    pub fn start() -> Gmail {
        Gmail::with(Options::default())
    }

    pub fn with(options: Options) -> Gmail {
        let options = Options { password: APP_PASSWORD.to_owned(), ..options };
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder.worker_threads(1).enable_all().build().expect("there are threads");
        let standin = runtime.block_on(Standin::start(options)).expect("there are free ports");
        Gmail { standin, runtime }
    }

    pub fn ports(&self) -> Ports {
        self.standin.ports()
    }

    /// Who may log in.
    pub fn user(&self) -> &str {
        &self.standin.options().user
    }

    pub fn ca_pem(&self) -> &str {
        self.standin.ca_pem()
    }

    /// Replaces all rules, from the next command on; see `standin::parse_rules`.
    pub fn script(&self, rules: &str) {
        self.standin.script(parse_rules(rules).expect("the test writes rules that can be read"));
    }

    pub fn received(&self) -> Vec<Received> {
        self.standin.received()
    }

    pub fn counts(&self) -> Counts {
        self.standin.counts()
    }

    pub fn transcripts(&self) -> Vec<String> {
        self.standin.transcripts()
    }

    /// Waits until so many messages were accepted, and returns all of them.
    pub fn wait_for(&self, messages: u64) -> Vec<Received> {
        self.wait_until(|counts| counts.messages >= messages);
        self.received()
    }

    pub fn wait_until(&self, met: impl Fn(&Counts) -> bool) -> Counts {
        let counts = self.runtime.block_on(self.standin.wait_until(met, DEADLINE));
        counts.unwrap_or_else(|late| panic!("{late}; conversations:\n{}", self.transcripts().join("\n")))
    }
}
