//! Keeps the house in order: who may import whom, what a pure part may name, how long things may become, and under
//! which licences we build. Every message says what to do instead.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Who may name whom among the top-level modules; ARCHITECTURE.md draws it. What is not listed here names nobody.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("mail", &[]),
    ("clock", &["mail"]),
    ("event", &["mail"]),
    ("policy", &["mail"]),
    ("log", &["clock", "mail"]),
    ("spool", &["event", "mail"]),
    ("smtp", &["mail", "policy", "spool"]),
    ("upstream", &["mail"]),
    ("standin", &["mail"]),
    ("listener", &["clock", "event", "mail", "policy", "smtp", "spool"]),
    ("delivery", &["event", "mail", "policy", "spool", "upstream"]),
    ("config", &["delivery", "listener", "log", "mail", "policy", "smtp", "upstream"]),
    ("daemon", &["clock", "config", "delivery", "event", "listener", "mail", "policy", "smtp", "spool", "upstream"]),
    (
        "cli",
        &[
            "clock", "config", "daemon", "delivery", "event", "listener", "log", "mail", "policy", "smtp", "spool",
            "standin", "upstream",
        ],
    ),
];

/// Parts that decide, and so must not look around.
const PURE: &[&str] = &[
    "src/mail",
    "src/policy",
    "src/listener/crowd.rs",
    "src/smtp",
    "src/listener/trace/transcript.rs",
    "src/cli/sendmail/arguments.rs",
    "src/cli/sendmail/compose.rs",
    "src/cli/sendmail/status.rs",
    "src/listener/proxy.rs",
    "src/delivery/repair",
    "src/delivery/schedule.rs",
    "src/delivery/notice.rs",
    "src/delivery/account.rs",
    "src/delivery/ledger.rs",
    "src/upstream/verdict.rs",
    "src/upstream/replies",
    "src/upstream/trouble.rs",
    "src/upstream/fault.rs",
    "src/upstream/symptoms.rs",
];

/// What a pure part has no use for.
const IMPURE: &[&str] =
    &["tokio", "async ", ".await", "std::fs", "std::net::Tcp", "std::thread", "std::env", "fastrand", "::now("];

const LINES_MAX: usize = 600;
const FUNCTION_LINES_MAX: usize = 70;

/// The licences that a program under MIT or Apache-2.0 may be built from, as the house has it.
const LICENCES: &[&str] =
    &["MIT", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "ISC", "Zlib", "Unicode-3.0", "CDLA-Permissive-2.0"];

fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    assert!(!found.is_empty(), "no sources in {folder}");
    found
}

/// All of it, tests and what else belongs to them included.
fn everything_written() -> Vec<(PathBuf, String)> {
    ["src", "tests", "benches", "fuzz/properties", "fuzz/targets"].into_iter().flat_map(sources).collect()
}

/// The code of a file, without its tests and comments.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]").next().unwrap_or_default();
    let lines = text.lines().map(|line| if line.trim_start().starts_with("//") { "" } else { line });
    lines.collect::<Vec<_>>().join("\n")
}

fn module_of(path: &Path) -> String {
    let part = path.components().nth(1).unwrap().as_os_str().to_str().unwrap();
    part.trim_end_matches(".rs").to_owned()
}

/// The top-level modules that a piece of code names.
fn imports(code: &str) -> BTreeSet<String> {
    let mut named = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        let rest = &code[at + "crate::".len()..];
        let list = match rest.strip_prefix('{') {
            Some(inside) => inside.split('}').next().unwrap_or_default(),
            None => rest.split([':', ';', ' ', ',', '<', '(', ')', '\n']).next().unwrap_or_default(),
        };
        let first = list.split(',').map(|name| name.trim().split("::").next().unwrap_or_default());
        named.extend(first.filter(|name| !name.is_empty()).map(str::to_owned));
    }
    named
}

#[test]
fn imports_point_one_way() {
    let allowed: BTreeMap<&str, &[&str]> = MAY_IMPORT.iter().copied().collect();
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        let module = module_of(&path);
        if ["main", "lib"].contains(&module.as_str()) {
            continue;
        }
        let Some(allowed) = allowed.get(module.as_str()) else {
            wrong.push(format!("{}: add the module {module} to MAY_IMPORT and to ARCHITECTURE.md", path.display()));
            continue;
        };
        for named in imports(&code(&text)) {
            if named != module && !allowed.contains(&named.as_str()) {
                wrong.push(format!(
                    "{}: {module} may not name {named}; move what both need further down, or hand it in",
                    path.display()
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn pure_parts_do_not_look_around() {
    let mut wrong = Vec::new();
    for (path, text) in sources("src") {
        if !PURE.iter().any(|pure| path.starts_with(pure)) {
            continue;
        }
        let code = code(&text);
        for word in IMPURE {
            if code.contains(word) {
                wrong.push(format!("{}: `{word}` has no place in a pure part; hand the value in", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    for pure in PURE {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(pure).exists(), "{pure} is gone: strike it from PURE");
    }
}

#[test]
fn files_and_functions_fit_in_the_head() {
    let mut wrong = Vec::new();
    for (path, text) in everything_written() {
        let lines = text.lines().count();
        if lines > LINES_MAX {
            wrong.push(format!("{}: {lines} lines; part it by what the parts are for", path.display()));
        }
        let mut begun: Option<(usize, String)> = None;
        for (number, line) in text.lines().enumerate() {
            let indent = line.len() - line.trim_start().len();
            if line.contains("fn ") && line.trim_end().ends_with('{') && !line.trim_start().starts_with("//") {
                begun = Some((number, " ".repeat(indent) + "}"));
            }
            if let Some((start, end)) = &begun
                && line == end
            {
                // A table in a test is as long as it is.
                if number - start >= FUNCTION_LINES_MAX && !path.starts_with("tests") {
                    wrong.push(format!("{}:{}: {} lines in one function", path.display(), start + 1, number - start));
                }
                begun = None;
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> = sources("src")
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//!"))
        .map(|(path, _)| format!("{}: begin with `//!` and say what it is for", path.display()))
        .collect();
    assert!(silent.is_empty(), "\n{}", silent.join("\n"));
}

#[test]
fn nothing_is_left_unfinished_and_no_name_says_nothing() {
    let unfinished = ["todo!(", "unimplemented!(", "dbg!(", "#[ignore", "FIXME", "XXX"];
    let empty_names = ["util", "utils", "helper", "helpers", "common", "misc", "manager", "handler", "data", "info"];
    let mut wrong = Vec::new();
    for (path, text) in everything_written() {
        let name = path.file_stem().unwrap().to_str().unwrap();
        if empty_names.contains(&name) {
            wrong.push(format!("{}: name it for what it does", path.display()));
        }
        if path.ends_with("tidy.rs") {
            continue;
        }
        for word in unfinished.iter().filter(|word| text.contains(**word)) {
            wrong.push(format!("{}: finish or remove `{word}`", path.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Each `OR` gives a choice; each `AND` must be allowed.
fn is_allowed(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], " ");
    expression.split(" AND ").all(|part| part.split(" OR ").any(|licence| LICENCES.contains(&licence.trim())))
}

#[test]
fn dependencies_have_licences_that_we_may_use_and_come_from_the_registry() {
    let tree = cargo(&["tree", "--locked", "--edges", "normal,build", "--prefix", "none", "--format", "{p}|{l}|{r}"]);
    let mut seen = 0;
    for line in tree.lines().map(|line| line.trim_end_matches(" (*)")).filter(|line| !line.is_empty()) {
        let mut parts = line.split('|');
        let (package, licence) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        assert!(is_allowed(licence), "{package}: licence \"{licence}\" is not one of {LICENCES:?}");
        assert!(!package.contains("git+"), "{package}: take it from the registry");
        seen += 1;
    }
    assert!(seen > 50, "the tree has only {seen} lines");
}

/// One TLS library, one cryptography, and no package in three versions.
#[test]
fn the_tree_of_dependencies_stays_in_order() {
    let tree = cargo(&["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"]);
    let mut versions: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for line in tree.lines() {
        let mut words = line.split(' ');
        if let (Some(name), Some(version)) = (words.next(), words.next()) {
            versions.entry(name).or_default().insert(version);
        }
    }
    for unwanted in ["native-tls", "openssl", "openssl-sys", "aws-lc-rs", "aws-lc-sys"] {
        assert!(!versions.contains_key(unwanted), "{unwanted} came in: switch the feature off that wants it");
    }
    let many: Vec<_> = versions.iter().filter(|(_, versions)| versions.len() > 2).collect();
    assert!(many.is_empty(), "in more than two versions: {many:?}");
}

/// The page about the log knows every event and no other; their keys are checked where they are written.
#[test]
fn the_page_about_the_log_is_current() {
    let read = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let (source, page) = (read("src/event.rs"), read("docs/log.md"));
    let logged: BTreeSet<&str> = source.split("event = \"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let told: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    assert!(logged.len() > 10, "{logged:?}");
    assert_eq!(told, logged, "docs/log.md and src/event.rs");
}
