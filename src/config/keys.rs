//! The names that users may write: every section of `relay.toml`, its keys, and the variables that win over them.

use toml::de::{DeTable, DeValue};

use super::report::{Report, nearest};

/// A part of the file under one heading.
#[derive(Debug)]
pub struct Section {
    /// As it is written: `[retry]` is there once, `[[listen]]` any number of times; empty for the top of the file.
    pub header: &'static str,
    pub keys: &'static [Key],
}

/// One setting.
#[derive(Debug)]
pub struct Key {
    pub name: &'static str,
    /// The environment variable that wins over it.
    pub variable: Option<&'static str>,
}

const fn key(name: &'static str) -> Key {
    Key { name, variable: None }
}

const fn key_or(name: &'static str, variable: &'static str) -> Key {
    Key { name, variable: Some(variable) }
}

/// Everything there is, in the order of the documentation.
pub const SECTIONS: [Section; 11] = [
    Section { header: "", keys: &[key_or("hostname", "SMARTHOST_HOSTNAME")] },
    Section {
        header: "[[listen]]",
        keys: &[
            key_or("address", "SMARTHOST_LISTEN"),
            key("tls"),
            key("auth"),
            key("lf_only"),
            key("proxy"),
            key("proxy_from"),
            key_or("allow", "SMARTHOST_ALLOW"),
        ],
    },
    Section { header: "[tls]", keys: &[key("certificate"), key("key")] },
    Section { header: "[[user]]", keys: &[key("name"), key("password_hash")] },
    Section {
        header: "[[account]]",
        keys: &[
            key("name"),
            key_or("user", "GMAIL_USER"),
            key_or("app_password", "GMAIL_APP_PASSWORD"),
            key_or("app_password_file", "GMAIL_APP_PASSWORD_FILE"),
            key_or("host", "GMAIL_HOST"),
            key_or("port", "GMAIL_PORT"),
            key_or("tls", "GMAIL_TLS"),
            key_or("ca_file", "GMAIL_CA_FILE"),
            key("connections"),
            key("daily_limit"),
            key("from"),
            key("send_as"),
            key("senders"),
            key("clients"),
            key("logins"),
            key("fallback"),
        ],
    },
    Section {
        header: "[recipients]",
        keys: &[
            key_or("default_domain", "SMARTHOST_DEFAULT_DOMAIN"),
            key("alias"),
            key_or("redirect_all", "SMARTHOST_REDIRECT_ALL"),
            key("allow"),
        ],
    },
    Section { header: "[spool]", keys: &[key_or("path", "SMARTHOST_SPOOL"), key("keep_history"), key("keep_content")] },
    Section { header: "[retry]", keys: &[key("first"), key("longest"), key("give_up_after"), key("on_uncertain")] },
    Section {
        header: "[limits]",
        keys: &[
            key("message_size"),
            key("recipients"),
            key("connections"),
            key("connections_per_client"),
            key("messages_per_minute"),
            key("size_per_minute"),
            key("header_size"),
            key("command_size"),
            key("errors"),
            key("hops"),
            key("silence"),
            key("silence_when_full"),
            key("rate_when_full"),
            key("spool_share"),
        ],
    },
    Section { header: "[[trace]]", keys: &[key("client"), key("folder"), key("content")] },
    Section { header: "[log]", keys: &[key_or("format", "SMARTHOST_LOG"), key_or("level", "SMARTHOST_LOG_LEVEL")] },
];

/// Names the configuration file itself.
pub const FILE_VARIABLE: &str = "SMARTHOST_CONFIG";

impl Section {
    /// The one with this heading; the top of the file for a heading that is not known.
    pub fn of(header: &str) -> &'static Section {
        SECTIONS.iter().find(|section| section.header == header).unwrap_or(&SECTIONS[0])
    }

    /// The heading without brackets.
    pub fn name(&self) -> &'static str {
        self.header.trim_matches(['[', ']'])
    }

    /// The key with this name.
    pub fn key(&self, name: &str) -> Option<&'static Key> {
        self.keys.iter().find(|key| key.name == name)
    }

    fn is_repeated(&self) -> bool {
        self.header.starts_with("[[")
    }

    /// Where it is, in a sentence.
    fn place(&self) -> &'static str {
        if self.header.is_empty() { "the top of the file, before any [section]" } else { self.header }
    }
}

/// Reports every name in the file that means nothing, and every section that has the wrong form.
pub(super) fn check(root: &DeTable<'_>, report: &mut Report) {
    let top = &SECTIONS[0];
    for (key, value) in root {
        let (name, at) = (key.get_ref().as_ref(), key.span().start);
        match SECTIONS.iter().skip(1).find(|section| section.name() == name) {
            Some(section) => check_section(section, value.get_ref(), at, report),
            None if top.key(name).is_some() => {}
            None if is_section(value.get_ref()) => report.mistake(Some(at), unknown_section(name)),
            None => report.mistake(Some(at), unknown_key(name, top)),
        }
    }
}

fn is_section(value: &DeValue<'_>) -> bool {
    match value {
        DeValue::Table(_) => true,
        DeValue::Array(items) => items.iter().any(|item| matches!(item.get_ref(), DeValue::Table(_))),
        _ => false,
    }
}

fn check_section(section: &'static Section, value: &DeValue<'_>, at: usize, report: &mut Report) {
    let header = section.header;
    match value {
        DeValue::Table(keys) => {
            if section.is_repeated() {
                report.mistake(Some(at), format!("[{}] needs two brackets: {header}", section.name()));
            }
            check_keys(section, keys, report);
        }
        DeValue::Array(items) if section.is_repeated() && items.iter().all(|item| is_section(item.get_ref())) => {
            let tables = items.iter().filter_map(|item| item.get_ref().as_table());
            tables.for_each(|keys| check_keys(section, keys, report));
        }
        DeValue::Array(_) if is_section(value) => {
            report.mistake(
                Some(at),
                format!("[[{}]] needs single brackets, and can be there once: {header}", section.name()),
            );
        }
        _ if has_key_elsewhere(section.name()) => {
            report.mistake(Some(at), unknown_key(section.name(), &SECTIONS[0]));
        }
        _ => {
            report
                .mistake(Some(at), format!("\"{}\" is a section; write {header}, and its keys below", section.name()));
        }
    }
}

fn check_keys(section: &'static Section, keys: &DeTable<'_>, report: &mut Report) {
    let unknown = keys.keys().filter(|key| section.key(key.get_ref()).is_none());
    unknown.for_each(|key| report.mistake(Some(key.span().start), unknown_key(key.get_ref(), section)));
}

fn has_key_elsewhere(name: &str) -> bool {
    SECTIONS.iter().any(|section| section.key(name).is_some())
}

/// What a user probably wanted: the same name in its right section, a name that is alike here, or else a list.
fn unknown_key(name: &str, section: &'static Section) -> String {
    let found = if section.header.is_empty() {
        format!("unknown key \"{}\" at the top of the file", name.escape_debug())
    } else {
        format!("unknown key \"{}\" in {}", name.escape_debug(), section.header)
    };
    let homes: Vec<&str> = SECTIONS.iter().filter(|home| home.key(name).is_some()).map(Section::place).collect();
    if !homes.is_empty() {
        return format!("{found}; it belongs to {}", homes.join(" or "));
    }
    let known = || section.keys.iter().map(|key| key.name);
    match nearest(name, known()) {
        Some(meant) => format!("{found}; did you mean \"{meant}\"?"),
        None => format!("{found}; known here: {}", known().collect::<Vec<_>>().join(", ")),
    }
}

fn unknown_section(name: &str) -> String {
    let found = format!("unknown section [{}]", name.escape_debug());
    let sections = || SECTIONS.iter().skip(1);
    match nearest(name, sections().map(Section::name)) {
        Some(meant) => {
            let header = sections().find(|section| section.name() == meant).map_or("", |section| section.header);
            format!("{found}; did you mean {header}?")
        }
        None => format!("{found}; known: {}", sections().map(|section| section.header).collect::<Vec<_>>().join(", ")),
    }
}

/// The variable that was probably meant by this name, where it is none of ours but almost. Only near misses count:
/// container platforms set variables of their own, such as `SMARTHOST_PORT`, that are nobody's mistake.
pub fn misspelt_variable(name: &str) -> Option<&'static str> {
    const SLIPS_MAX: usize = 2;
    let known = || {
        let of_keys = SECTIONS.iter().flat_map(|section| section.keys).filter_map(|key| key.variable);
        of_keys.chain([FILE_VARIABLE])
    };
    if known().any(|variable| variable == name) || !(name.starts_with("SMARTHOST_") || name.starts_with("GMAIL_")) {
        return None;
    }
    known().find(|variable| strsim::osa_distance(variable, name) <= SLIPS_MAX)
}
