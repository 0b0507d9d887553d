//! One value at a time: what each kind of setting accepts, and what it says where it finds something else.
//!
//! Every function turns a value into its type, or into the second half of a sentence whose first half is
//! `retry.first is "5 minuts"; …`. Pure.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::mail::Address;
use crate::policy::{AliasKey, Pattern};

use super::document::Raw;
use super::report::{nearest, one_of};

/// A value, or what is expected instead.
pub type Judged<T> = Result<T, String>;

/// One word of a few.
pub fn choice<T: Copy + 'static>(words: &'static [(&'static str, T)]) -> impl Fn(Raw<'_>) -> Judged<T> {
    let names = || words.iter().map(|(name, _)| *name);
    move |raw| {
        let found = raw.text().unwrap_or_default();
        if let Some((_, meaning)) = words.iter().find(|(name, _)| *name == found) {
            return Ok(*meaning);
        }
        let expected = format!("expected {}", one_of(names()));
        let hint = nearest(found, names()).map(|name| format!("; did you mean \"{name}\"?"));
        Err(expected + &hint.unwrap_or_default())
    }
}

/// A whole number in a range; `what` names it.
pub fn number(what: &'static str, range: RangeInclusive<u32>) -> impl Fn(Raw<'_>) -> Judged<u32> {
    move |raw| {
        let number = raw.number().and_then(|number| u32::try_from(number).ok());
        let expected = || format!("expected {what}, {} to {}", range.start(), range.end());
        number.filter(|number| range.contains(number)).ok_or_else(expected)
    }
}

/// The same for what is counted in memory.
pub fn count(what: &'static str, range: RangeInclusive<u32>) -> impl Fn(Raw<'_>) -> Judged<usize> {
    let number = number(what, range);
    move |raw| number(raw).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
}

/// A TCP port to connect to.
pub fn port(raw: Raw<'_>) -> Judged<u16> {
    const EXPECTED: &str = "expected a port number, 1 to 65535";
    let port = raw.number().and_then(|number| u16::try_from(number).ok());
    port.filter(|port| *port != 0).ok_or_else(|| EXPECTED.to_owned())
}

const SECOND: Duration = Duration::from_secs(1);
const YEAR: Duration = Duration::from_hours(365 * 24);

/// `30s`, `5m`, `1h30m`, `5d`: from a second to a year.
pub fn duration(raw: Raw<'_>) -> Judged<Duration> {
    let duration = raw.text().and_then(|text| humantime::parse_duration(text).ok());
    match duration {
        Some(duration) if duration > YEAR => Err("expected at most \"365d\"".to_owned()),
        Some(duration) if duration >= SECOND => Ok(duration),
        _ => Err(r#"expected a duration such as "30s", "5m", "1h" or "5d", at least 1s"#.to_owned()),
    }
}

/// `34MiB`, `25 MB`, or a number of bytes.
pub fn size(raw: Raw<'_>) -> Judged<u64> {
    const EXPECTED: &str = r#"expected a size such as "34MiB", "25 MB" or a number of bytes, at least 1"#;
    let bytes = raw.number().or_else(|| raw.text().and_then(parse_size));
    bytes.filter(|bytes| *bytes > 0).ok_or_else(|| EXPECTED.to_owned())
}

fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1_000,
        "kib" => 1 << 10,
        "mb" => 1_000_000,
        "mib" => 1 << 20,
        "gb" => 1_000_000_000,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// A path; in the file it starts from the folder of the file.
pub fn path(folder: &Path) -> impl Fn(Raw<'_>) -> Judged<PathBuf> {
    move |raw| match (raw, raw.text().filter(|text| !text.is_empty())) {
        (Raw::File(_), Some(text)) => Ok(folder.join(text)),
        (Raw::Environment(_), Some(text)) => Ok(PathBuf::from(text)),
        (_, None) => Err("expected a path".to_owned()),
    }
}

/// What an account is called.
pub fn label(raw: Raw<'_>) -> Judged<String> {
    let fits = |text: &&str| (1..=64).contains(&text.len()) && !text.chars().any(char::is_control);
    raw.text().map(str::trim).filter(fits).map(str::to_owned).ok_or_else(|| "expected a short name".to_owned())
}

/// The name we give ourselves in EHLO. Gmail closes the door on what is no proper name (`gmail.md`, section 1.3).
pub fn our_name(raw: Raw<'_>) -> Judged<String> {
    const EXPECTED: &str = "expected a host name such as \"relay.example.net\"";
    let Some(text) = raw.text() else { return Err(EXPECTED.to_owned()) };
    let name = host_name_form(text);
    let fault = match name.as_str() {
        _ if is_of_localhost(&name) => "Gmail may turn away who calls itself localhost",
        _ if name.parse::<IpAddr>().is_ok() || name.starts_with('[') => "an address is no name",
        _ if name.contains('_') => "a host name has no underscore",
        _ if name.contains(char::is_whitespace) => "a host name has no blanks",
        _ if !name.is_ascii() => "a name that is not ASCII has to be written in its xn-- form",
        _ if is_host_name(&name) => return Ok(name),
        _ => "it is not a host name",
    };
    Err(format!("{fault}; {EXPECTED}"))
}

/// What we call ourselves on a machine of this name when nobody says.
pub fn name_from_machine(machine: &str) -> String {
    let name = host_name_form(machine);
    if name.contains('.') && is_host_name(&name) && !is_of_localhost(&name) {
        return name;
    }
    let short = name.split('.').next().unwrap_or_default();
    let safe: String = short.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(63).collect();
    // "internal" is reserved for private use (ICANN, 29 July 2024), so it can never be a stranger's name.
    match safe.trim_matches('-') {
        "" | "localhost" => "smarthost.internal".to_owned(),
        safe => format!("{safe}.internal"),
    }
}

fn host_name_form(text: &str) -> String {
    let text = text.trim();
    text.strip_suffix('.').unwrap_or(text).to_lowercase()
}

fn is_of_localhost(name: &str) -> bool {
    name.split('.').any(|label| label == "localhost")
}

/// A host name (RFC 1123, section 2.1); the last part has a letter, so that it is never taken for an address.
fn is_host_name(name: &str) -> bool {
    let is_label = |label: &str| {
        let known = label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        (1..=63).contains(&label.len()) && known && !label.starts_with('-') && !label.ends_with('-')
    };
    let last = name.rsplit('.').next().unwrap_or_default();
    name.len() <= 253 && name.split('.').all(is_label) && !last.bytes().all(|b| b.is_ascii_digit())
}

/// A machine to connect to or to listen as: a name in lower case, or an IP address.
pub fn host(raw: Raw<'_>) -> Judged<String> {
    let text = raw.text().unwrap_or_default();
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    parse_domain(text).ok_or_else(|| "expected a host name or an IP address".to_owned())
}

/// A domain for mail addresses.
pub fn domain(raw: Raw<'_>) -> Judged<String> {
    let domain = raw.text().and_then(parse_domain).filter(|domain| domain.parse::<IpAddr>().is_err());
    domain.ok_or_else(|| "expected a domain such as \"example.com\"".to_owned())
}

/// In lower case. Underscores are fine: real machines have them.
pub fn parse_domain(text: &str) -> Option<String> {
    let address = Address::new("somebody", text).ok().filter(|address| !address.has_literal_domain())?;
    Some(address.domain().to_owned())
}

/// A whole address that mail can be sent to through Gmail.
pub fn address(raw: Raw<'_>) -> Judged<Address> {
    const EXPECTED: &str = "expected an address such as \"me@gmail.com\"";
    let address = raw.text().ok_or(EXPECTED)?.parse::<Address>().map_err(|why| format!("{why}; {EXPECTED}"))?;
    if address.has_literal_domain() { Err(EXPECTED.to_owned()) } else { Ok(address) }
}

/// `*`, `*@example.com` or `me@example.com`.
pub fn pattern(raw: Raw<'_>) -> Judged<Pattern> {
    let parse = |text: &str| match text.strip_prefix("*@") {
        _ if text == "*" => Some(Pattern::Everybody),
        Some(domain) => parse_domain(domain).map(Pattern::Domain),
        None => text.parse().ok().filter(|address: &Address| !address.local().contains('*')).map(Pattern::Address),
    };
    let pattern = raw.text().and_then(parse);
    pattern.ok_or_else(|| r#"expected "*", "*@example.com" or "me@example.com""#.to_owned())
}

/// The left side of an alias: `root`, `*@localhost` or `backup@nas.local`; case does not matter.
pub fn alias_key(text: &str) -> Judged<AliasKey> {
    let lower = text.trim().to_lowercase();
    let key = match lower.strip_prefix("*@") {
        // An address in brackets too: `ups@[192.0.2.9]` is how some devices write it.
        Some(domain) => Address::new("somebody", domain).ok().map(|any| AliasKey::Domain(any.domain().to_owned())),
        None if lower.contains('@') => lower.parse().ok().map(AliasKey::Address),
        None => Address::new(&lower, "localhost").ok().map(|address| AliasKey::Local(address.local().to_owned())),
    };
    let key = key.filter(|_| lower.starts_with("*@") || !lower.contains('*'));
    key.ok_or_else(|| r#"expected "root", "*@localhost" or "backup@nas.local""#.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_or_are_bytes() {
        for (text, bytes) in [
            ("34MiB", Some(34 << 20)),
            ("25 MB", Some(25_000_000)),
            (" 1kib ", Some(1024)),
            ("7", Some(7)),
            ("7b", Some(7)),
            ("1GiB", Some(1 << 30)),
            ("0", None),
            ("", None),
            ("MB", None),
            ("1.5MB", None),
            ("-1", None),
            ("34 miles", None),
            ("99999999999999999999", None),
            ("99999999999 GiB", None),
        ] {
            assert_eq!(size(Raw::Environment(text)).ok(), bytes, "{text:?}");
        }
    }

    #[test]
    fn durations_go_from_a_second_to_a_year() {
        for (text, seconds) in [
            ("30s", Some(30)),
            ("5m", Some(300)),
            ("1h30m", Some(5400)),
            ("1h 30m", Some(5400)),
            ("5d", Some(432_000)),
            ("1s", Some(1)),
            ("365d", Some(31_536_000)),
            ("999ms", None),
            ("0s", None),
            ("366d", None),
            ("30", None),
            ("", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(duration(Raw::Environment(text)).ok(), seconds.map(Duration::from_secs), "{text:?}");
        }
    }

    #[test]
    fn a_machine_name_becomes_a_name_that_gmail_accepts() {
        for (machine, name) in [
            ("relay.example.net", "relay.example.net"),
            ("Relay.Example.NET.", "relay.example.net"),
            ("nas", "nas.internal"),
            ("my_nas", "my-nas.internal"),
            ("my_nas.lan", "my-nas.internal"),
            ("3f2a9c81d0e4", "3f2a9c81d0e4.internal"),
            ("localhost", "smarthost.internal"),
            ("localhost.localdomain", "smarthost.internal"),
            ("", "smarthost.internal"),
            ("__", "smarthost.internal"),
            ("10.0.0.5", "10.internal"),
            ("küche", "k-che.internal"),
        ] {
            assert_eq!(name_from_machine(machine), name, "{machine:?}");
            assert_eq!(our_name(Raw::Environment(name)).as_deref(), Ok(name), "a default must be a good setting");
        }
    }

    #[test]
    fn alias_keys_are_addresses_names_or_whole_domains() {
        let address = |text: &str| AliasKey::Address(text.parse().unwrap());
        for (text, key) in [
            ("root", Some(AliasKey::Local("root".to_owned()))),
            ("Root", Some(AliasKey::Local("root".to_owned()))),
            ("*@LocalHost", Some(AliasKey::Domain("localhost".to_owned()))),
            ("Backup@NAS.local", Some(address("backup@nas.local"))),
            ("ups@[192.0.2.9]", Some(address("ups@[192.0.2.9]"))),
            ("*@[192.0.2.9]", Some(AliasKey::Domain("[192.0.2.9]".to_owned()))),
            ("", None),
            ("*", None),
            ("*@", None),
            ("@localhost", None),
            ("ro*t@localhost", None),
        ] {
            assert_eq!(alias_key(text).ok(), key, "{text:?}");
        }
    }
}
