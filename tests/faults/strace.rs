//! System calls that fail on order. strace counts the calls of each thread by itself, so the n-th call is that of
//! every thread that comes so far.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};

/// Which calls fail: only those that touch the spool, where there is one.
#[derive(Clone, Debug)]
pub struct Fault {
    /// As strace names them, with commas.
    pub calls: &'static str,
    /// `error=EIO:when=3`, as strace has it.
    pub what: String,
}

impl Fault {
    /// The call of this number fails; or as `3+` and `3..9` say.
    pub fn error(calls: &'static str, error: &str, when: &str) -> Fault {
        Fault { calls, what: format!("error={error}:when={when}") }
    }

    fn words(&self, trace: &Path, spool: Option<&Path>) -> Vec<String> {
        let Fault { calls, what } = self;
        let mut words = vec!["-f".to_owned(), "-o".to_owned(), trace.display().to_string()];
        words.extend(["-e".to_owned(), format!("trace={calls}")]);
        words.extend(["-e".to_owned(), format!("inject={calls}:{what}")]);
        for name in ["", "lock", "spool.db", "spool.db-wal", "spool.db-shm", "spool.db-journal"] {
            if let Some(spool) = spool {
                // A path that ends in a slash is another one to strace.
                let path = if name.is_empty() { spool.to_owned() } else { spool.join(name) };
                words.extend(["-P".to_owned(), path.display().to_string()]);
            }
        }
        words
    }
}

/// Whether processes may be traced here at all.
pub fn works() -> bool {
    let strace = Command::new("strace").args(["-D", "-f", "-o", "/dev/null", "true"]).output();
    strace.is_ok_and(|strace| strace.status.success())
}

/// The words that run a program under a fault from its start; it stays the child that was started.
pub fn before(fault: &Fault, trace: &Path, spool: &Path) -> Vec<String> {
    let mut words = vec!["strace".to_owned(), "-D".to_owned()];
    words.extend(fault.words(trace, Some(spool)));
    words
}

/// Whether the fault has happened by now.
pub fn has_struck(trace: &Path) -> bool {
    fs::read_to_string(trace).is_ok_and(|trace| trace.contains("(INJECTED)"))
}

/// Ends the strace of a process that was started under one. A process that is killed before that may stay behind as
/// one that nobody can wait for.
pub fn let_go(process: u32) {
    let tracer = || {
        let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it still runs");
        let line = status.lines().find_map(|line| line.strip_prefix("TracerPid:").map(str::trim).map(str::to_owned));
        line.expect("the kernel names the tracer")
    };
    let first = tracer();
    while tracer() != "0" {
        let _ = Command::new("kill").args(["-KILL", &first]).stderr(Stdio::null()).status();
    }
}

/// strace beside a process that runs, until dropped.
pub struct Attached {
    child: Child,
    /// It goes on to speak, and would end where nobody can hear it.
    said: Option<BufReader<ChildStderr>>,
}

impl Attached {
    /// Returns once the fault is in force.
    pub fn to(process: u32, fault: &Fault, trace: &Path, spool: Option<&Path>) -> Attached {
        let mut strace = Command::new("strace");
        strace.args(fault.words(trace, spool)).args(["-p", &process.to_string()]);
        let mut child = strace.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("there is strace");
        let said = child.stderr.take().map(BufReader::new);
        let mut attached = Attached { child, said };
        let mut line = String::new();
        attached.said.as_mut().expect("it is piped").read_line(&mut line).expect("strace speaks");
        assert!(line.contains(" attached"), "{line}");
        attached
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
