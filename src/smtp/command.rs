//! Command lines into commands: parsed once, liberal in form, strict in what comes out.
//!
//! Touches nothing. What devices really send is collected in legacy-clients.md, sections 2 and 3; every form of an
//! address there ends as one [`Path`] or as a refusal, never as a guess. Whatever is refused is a [`Refusal`].

use super::line::LineEnd;
use super::login;
use crate::mail::address::AddressError;
use crate::mail::{Address, Path, Refusal};

/// Longest name kept from HELO or EHLO: that of a domain (RFC 5321 §4.5.3.1.2).
const HELO_BYTES_MAX: usize = 255;
/// Characters of a command that the log shows.
const SHOWN_CHARACTERS_MAX: usize = 200;

const MAIL_USAGE: &str = "MAIL FROM:<address>";
const RCPT_USAGE: &str = "RCPT TO:<address>";

/// First words of requests that browsers and health checks send (reliability-security.md, section 6).
const HTTP_METHODS: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "TRACE", "PATCH"];

/// How a remote desktop begins (TPKT, RFC 1006 §6). Scanners of networks try it everywhere.
const RDP_START: &[u8] = b"\x03\0";

/// What a client wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Helo(String),
    Ehlo(String),
    Mail(Mail),
    /// At least one.
    Rcpt(Vec<Path>),
    /// How its line ended: a CR LF there may already be the first half of the end of data.
    Data(LineEnd),
    Auth(login::Request),
    Rset,
    Starttls,
    Noop,
    Vrfy,
    Help,
    Quit,
}

/// What MAIL said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    pub path: Path,
    /// The size that the client announces (RFC 1870), in bytes.
    pub size: Option<u64>,
    /// SMTPUTF8 was asked for (RFC 6531 §3.4).
    pub smtputf8: bool,
}

/// Reads one line, without its end; `end` is what that was.
///
/// # Errors
/// A refusal for what is unknown, malformed or not offered, and for the protocols of others.
pub fn parse(line: &[u8], end: LineEnd) -> Result<Command, Refusal> {
    let (verb, argument) = split_verb(line);
    match verb.to_ascii_uppercase().as_slice() {
        b"HELO" => Ok(Command::Helo(helo_name(argument))),
        b"EHLO" => Ok(Command::Ehlo(helo_name(argument))),
        b"MAIL" => parse_mail(argument).map(Command::Mail),
        b"RCPT" => parse_rcpt(argument).map(Command::Rcpt),
        b"DATA" => Ok(Command::Data(end)),
        b"RSET" => Ok(Command::Rset),
        b"NOOP" => Ok(Command::Noop),
        b"VRFY" => Ok(Command::Vrfy),
        b"HELP" => Ok(Command::Help),
        b"QUIT" => Ok(Command::Quit),
        b"AUTH" => login::parse(argument).map(Command::Auth),
        // RFC 3207 §4.
        b"STARTTLS" if argument.iter().all(|byte| is_blank(char::from(*byte))) => Ok(Command::Starttls),
        b"STARTTLS" => Err(Refusal::Syntax("STARTTLS")),
        b"BDAT" => Err(Refusal::NotOffered("BDAT")),
        b"EXPN" => Err(Refusal::NotOffered("EXPN")),
        _ => Err(refuse_unknown(line)),
    }
}

/// Whether the line is, or began as, this command.
#[must_use]
pub fn is_verb(line: &[u8], verb: &str) -> bool {
    split_verb(line).0.eq_ignore_ascii_case(verb.as_bytes())
}

/// Whether the line is AUTH, or some mistake for it (an indented script, `AUTH=PLAIN`): a password may stand in it.
#[must_use]
pub fn is_meant_as_auth(line: &[u8]) -> bool {
    let start = line.iter().position(u8::is_ascii_alphabetic).unwrap_or(line.len());
    line.get(start..start + 4).is_some_and(|word| word.eq_ignore_ascii_case(b"AUTH"))
}

/// The line as the log may show it: one line, no control characters, no secrets, not too long.
#[must_use]
pub fn shown(line: &[u8]) -> String {
    if is_meant_as_auth(line) {
        return "AUTH".to_owned();
    }
    // No character is longer than four bytes, so the rest cannot be shown anyway.
    let start = line.get(..4 * SHOWN_CHARACTERS_MAX).unwrap_or(line);
    let text = String::from_utf8_lossy(start);
    let mut shown = String::new();
    for c in text.chars().take(SHOWN_CHARACTERS_MAX) {
        match c {
            '"' | '\'' | '\\' => shown.push(c),
            _ => shown.extend(c.escape_debug()),
        }
    }
    shown
}

fn split_verb(line: &[u8]) -> (&[u8], &[u8]) {
    let end = line.iter().position(|&byte| is_blank(char::from(byte))).unwrap_or(line.len());
    line.split_at(end)
}

fn refuse_unknown(line: &[u8]) -> Refusal {
    if line.starts_with(RDP_START) {
        return Refusal::ForeignProtocol("RDP");
    }
    let Ok(text) = str::from_utf8(line) else {
        return Refusal::UnprintableCommand;
    };
    let mut words = text.split_ascii_whitespace();
    let verb = words.next().unwrap_or_default();
    let is_request =
        words.nth(1).is_some_and(|word| word.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("HTTP/")));
    if is_request || HTTP_METHODS.iter().any(|method| verb.eq_ignore_ascii_case(method)) {
        Refusal::ForeignProtocol("HTTP")
    } else if verb.starts_with("SSH-") {
        Refusal::ForeignProtocol("SSH")
    } else if verb == "PROXY" {
        Refusal::ForeignProtocol("the PROXY protocol")
    } else if text.chars().any(is_control) {
        Refusal::UnprintableCommand
    } else {
        Refusal::UnknownCommand(shown(verb.as_bytes()))
    }
}

/// The name in HELO is noise (legacy-clients.md, section 2): what a `Received` field can hold of it is kept, and
/// nothing is refused (RFC 5321 §4.1.4).
fn helo_name(argument: &[u8]) -> String {
    let fits = |byte: &u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(byte);
    let name: String = argument.iter().copied().filter(fits).take(HELO_BYTES_MAX).map(char::from).collect();
    name.trim_end_matches('.').to_owned()
}

fn parse_mail(argument: &[u8]) -> Result<Mail, Refusal> {
    let argument = envelope_text(argument)?;
    let text = behind_keyword(argument, &["FROM"]).ok_or(Refusal::Syntax(MAIL_USAGE))?;
    let (written, parameters) = split_written(text).ok_or(Refusal::Syntax(MAIL_USAGE))?;
    let &[written] = written.as_slice() else {
        return Err(Refusal::Syntax(MAIL_USAGE));
    };
    let mut mail = Mail { path: parse_path(written, MAIL_USAGE)?, size: None, smtputf8: false };
    for (keyword, value) in split_parameters(parameters).ok_or(Refusal::Syntax(MAIL_USAGE))? {
        mail.take_parameter(keyword, value)?;
    }
    Ok(mail)
}

impl Mail {
    /// What is unknown, or was never offered, is ignored: refusing it would lose alerts and protect nobody
    /// (legacy-clients.md, section 3.2).
    fn take_parameter(&mut self, keyword: &str, value: Option<&str>) -> Result<(), Refusal> {
        match keyword.to_ascii_uppercase().as_str() {
            "SIZE" => self.size = Some(value.and_then(parse_size).ok_or(Refusal::Syntax("SIZE=<bytes>"))?),
            "SMTPUTF8" => self.smtputf8 = true,
            // It could only be followed by BDAT (RFC 3030 §3).
            "BODY" if value.is_some_and(|body| body.eq_ignore_ascii_case("BINARYMIME")) => {
                return Err(Refusal::BadParameter("BODY=BINARYMIME".into()));
            }
            _ => {}
        }
        Ok(())
    }
}

/// A number too large for us to count is certainly too large.
fn parse_size(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().unwrap_or(u64::MAX))
}

fn parse_rcpt(argument: &[u8]) -> Result<Vec<Path>, Refusal> {
    let argument = envelope_text(argument)?;
    // CC and BCC are the invention of a Qt library.
    let text = behind_keyword(argument, &["TO", "CC", "BCC"]).ok_or(Refusal::Syntax(RCPT_USAGE))?;
    let (written, parameters) = split_written(text).ok_or(Refusal::Syntax(RCPT_USAGE))?;
    split_parameters(parameters).ok_or(Refusal::Syntax(RCPT_USAGE))?;
    let parse = |text: &str| {
        // A blank in an address is a sender's decoration, but a recipient's ambiguity.
        let is_ambiguous = outside_quotes(text).any(|(_, c)| is_blank(c));
        if is_ambiguous { Err(Refusal::Syntax(RCPT_USAGE)) } else { parse_path(text, RCPT_USAGE) }
    };
    written.into_iter().map(parse).collect()
}

/// The argument of MAIL or RCPT as text. A control character in it is an attack or a bug, and is never repaired.
fn envelope_text(argument: &[u8]) -> Result<&str, Refusal> {
    let refuse = |why| Refusal::BadAddress(shown(argument.trim_ascii()), why);
    let text = str::from_utf8(argument).map_err(|_| refuse(AddressError::NotUtf8))?;
    if text.chars().any(is_control) { Err(refuse(AddressError::Control)) } else { Ok(text) }
}

/// What follows `FROM:`, `FROM :`, `FROM `, or `FROM` where a bracket stands behind it.
fn behind_keyword<'a>(argument: &'a str, keywords: &[&str]) -> Option<&'a str> {
    let argument = argument.trim_start_matches(is_blank);
    let end = argument.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(argument.len());
    let (word, rest) = argument.split_at(end);
    keywords.iter().find(|keyword| word.eq_ignore_ascii_case(keyword))?;
    let behind = rest.trim_start_matches(is_blank);
    let is_separate = rest.starts_with([':', '<', ' ', '\t']);
    is_separate.then(|| behind.strip_prefix(':').unwrap_or(behind))
}

/// Cuts the text behind `FROM:` or `TO:` into addresses as they were written, without brackets, names and routes,
/// and the parameters behind them. Several addresses stand between commas or semicolons, inside of the brackets or
/// out of them: devices whose panel has one field for all of them send that. `None` where there is no address, or
/// a bracket that is not closed.
fn split_written(text: &str) -> Option<(Vec<&str>, &str)> {
    let mut written = Vec::new();
    let mut rest = text.trim_start_matches(is_blank).trim_end_matches(is_filler);
    loop {
        let (path, behind) = first_path(rest)?;
        split_list(path, &mut written);
        let parameters = behind.trim_start_matches(is_blank);
        rest = parameters.trim_start_matches(is_filler);
        if rest.is_empty() || rest.len() == parameters.len() {
            return (!written.is_empty()).then_some((written, parameters));
        }
    }
}

/// A bracket ends the display name in front of it, if there is one. Without brackets an address is one word.
fn first_path(text: &str) -> Option<(&str, &str)> {
    let mut word_end = None;
    let mut before = ' ';
    for (at, c) in outside_quotes(text) {
        match c {
            // Behind `=` it is a value, as in `AUTH=<>`.
            '<' if before != '=' => {
                return bracketed(&text[at..]).map(|(inside, behind)| (without_route(without_name(inside)), behind));
            }
            ',' | ';' => return Some(text.split_at(word_end.unwrap_or(at))),
            _ if is_blank(c) => word_end = word_end.or(Some(at)),
            _ => {}
        }
        before = c;
    }
    (!text.is_empty()).then(|| text.split_at(word_end.unwrap_or(text.len())))
}

/// The inside of the bracket that `text` starts with, and what stands behind it.
fn bracketed(text: &str) -> Option<(&str, &str)> {
    let mut depth = 0_usize;
    for (at, c) in outside_quotes(text) {
        match c {
            '<' => depth += 1,
            '>' if depth == 1 => return Some((&text[1..at], &text[at + 1..])),
            '>' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    None
}

/// `Name <a@b>`, which some write inside of the brackets: the last bracket counts.
fn without_name(inside: &str) -> &str {
    let opening = outside_quotes(inside).filter(|(_, c)| *c == '<').last();
    opening.and_then(|(at, _)| bracketed(&inside[at..])).map_or(inside, |(innermost, _)| innermost)
}

/// `@x,@y:a@b`: a route is to be ignored (RFC 5321 §4.1.1.3, appendix C).
fn without_route(inside: &str) -> &str {
    let inside = inside.trim_matches(is_blank);
    match outside_quotes(inside).find(|(_, c)| *c == ':') {
        Some((at, _)) if inside.starts_with('@') => &inside[at + 1..],
        _ => inside,
    }
}

/// Empty places in a list are left out; a list that is all empty is the null path.
fn split_list<'a>(list: &'a str, written: &mut Vec<&'a str>) {
    if list.is_empty() {
        written.push(list);
    }
    let mut start = 0;
    for (at, c) in outside_quotes(list).chain([(list.len(), ',')]) {
        if c == ',' || c == ';' {
            written.extend(Some(list[start..at].trim_matches(is_blank)).filter(|path| !path.is_empty()));
            start = at + 1;
        }
    }
}

/// The characters that stand in no quotation, with their places.
fn outside_quotes(text: &str) -> impl Iterator<Item = (usize, char)> {
    let mut quoted = false;
    let mut escaped = false;
    text.char_indices().filter(move |&(_, c)| {
        let was_quoted = quoted;
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => {}
        }
        !was_quoted && !quoted
    })
}

fn parse_path(text: &str, usage: &'static str) -> Result<Path, Refusal> {
    let text = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(text);
    let refuse = |why| Refusal::BadAddress(shown(text.as_bytes()), why);
    match text {
        // Lotus Notes writes `<@>` for the null path (legacy-clients.md, section 3.1).
        "" | "@" => Ok(Path::Null),
        _ if outside_quotes(text).any(|(_, c)| c == '<' || c == '>') => Err(Refusal::Syntax(usage)),
        _ if text.contains('@') => text.parse().map(Path::Mailbox).map_err(refuse),
        _ => {
            // The rules for a name are those of a local part, so they are asked there.
            let address: Address = format!("{text}@localhost").parse().map_err(refuse)?;
            Ok(Path::Local(address.local().to_owned()))
        }
    }
}

/// `KEYWORD` or `KEYWORD=value`, between blanks (RFC 5321 §4.1.2). `None` where a word cannot be one: it is part of
/// an address that we did not understand.
fn split_parameters(text: &str) -> Option<Vec<(&str, Option<&str>)>> {
    let words = text.trim_end_matches(is_filler).split(is_blank).filter(|word| !word.is_empty());
    let parameters = words.map(|word| word.split_once('=').map_or((word, None), |(key, value)| (key, Some(value))));
    parameters.map(|pair| (!pair.0.is_empty() && !pair.0.contains(['@', '<', '>', '"', ','])).then_some(pair)).collect()
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

/// What stands between addresses, or is left over behind them.
fn is_filler(c: char) -> bool {
    is_blank(c) || c == ',' || c == ';'
}

fn is_control(c: char) -> bool {
    c.is_control() && c != '\t'
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The path as it was understood, or the code of the refusal.
    fn paths_of(line: &str) -> Result<Vec<String>, String> {
        let shown = |path: &Path| match path {
            Path::Null => "<>".to_owned(),
            Path::Local(name) => name.clone(),
            Path::Mailbox(address) => address.to_string(),
        };
        match parse(line.as_bytes(), LineEnd::CrLf) {
            Ok(Command::Mail(mail)) => Ok(vec![shown(&mail.path)]),
            Ok(Command::Rcpt(paths)) => Ok(paths.iter().map(shown).collect()),
            Ok(other) => panic!("{other:?}"),
            Err(refusal) => Err(refusal.reply().to_string()),
        }
    }

    #[test]
    fn every_way_to_write_an_address() {
        for (line, meant) in [
            ("MAIL FROM:<a@b>", vec!["a@b"]),
            ("MAIL FROM:a@b", vec!["a@b"]),
            ("MAIL FROM: <a@b>", vec!["a@b"]),
            ("mail from:\t<a@b> ", vec!["a@b"]),
            ("MAIL FROM :<a@b>", vec!["a@b"]),
            ("MAIL FROM <a@b>", vec!["a@b"]),
            ("MAIL FROM<a@b>", vec!["a@b"]),
            ("MAIL FROM a@b", vec!["a@b"]),
            ("MAIL FROM:<Alert <a@b>>", vec!["a@b"]),
            ("MAIL FROM:<\"Alert <x>\" <a@b>>", vec!["a@b"]),
            ("MAIL FROM:\"Alert, all\" <a@b> SIZE=5", vec!["a@b"]),
            ("MAIL FROM:The Alert <a@b>", vec!["a@b"]),
            ("MAIL FROM:<>", vec!["<>"]),
            ("MAIL FROM:< >", vec!["<>"]),
            ("MAIL FROM:<@>", vec!["<>"]),
            ("MAIL FROM:<root>", vec!["root"]),
            ("MAIL FROM:root", vec!["root"]),
            ("MAIL FROM:<HP Enclosure@b>", vec!["\"HP Enclosure\"@b"]),
            ("MAIL FROM:a@b AUTH=<>", vec!["a@b"]),
            ("MAIL FROM:<a@b> AUTH=<> RET=HDRS ;", vec!["a@b"]),
            ("MAIL FROM:<${run{/bin/sh}}@b>", vec!["${run{/bin/sh}}@b"]),
            ("RCPT TO:<'a@b'>", vec!["a@b"]),
            ("RCPT TO:<a@b>;", vec!["a@b"]),
            ("RCPT TO:<a@b> ; ", vec!["a@b"]),
            ("RCPT CC:<a@b>", vec!["a@b"]),
            ("rcpt bcc: a@b", vec!["a@b"]),
            ("RCPT TO:<@x,@y:a@b>", vec!["a@b"]),
            ("RCPT TO:<a@b,c@d>", vec!["a@b", "c@d"]),
            ("RCPT TO:<a@b>,<c@d>", vec!["a@b", "c@d"]),
            ("RCPT TO:a@b; c@d NOTIFY=NEVER", vec!["a@b", "c@d"]),
            ("RCPT TO:<a@b>, Name <c@d>; e", vec!["a@b", "c@d", "e"]),
            ("RCPT TO:<a@b , c@d,>", vec!["a@b", "c@d"]),
            ("RCPT TO:<a@b> NOTIFY=NEVER ORCPT=rfc822;a@b", vec!["a@b"]),
            ("RCPT TO:<\"a b\"@c>", vec!["\"a b\"@c"]),
            ("RCPT TO:<\"a\\\"b\"@c>", vec!["\"a\\\"b\"@c"]),
            ("RCPT TO:<\"a>,b\"@c>", vec!["\"a>,b\"@c"]),
            ("RCPT TO:\"a b\"@c NOTIFY=NEVER", vec!["\"a b\"@c"]),
            ("RCPT TO:<u@[192.0.2.9]>", vec!["u@[192.0.2.9]"]),
            ("RCPT TO:<\u{fc}@b>", vec!["\u{fc}@b"]),
        ] {
            let meant: Vec<String> = meant.into_iter().map(str::to_owned).collect();
            assert_eq!(paths_of(line), Ok(meant), "{line}");
        }
    }

    #[test]
    fn what_may_mean_two_things_is_refused() {
        for line in [
            "MAIL",
            "MAIL FROM",
            "MAIL FROM:",
            "MAIL FROM:;",
            "MAIL <a@b>",
            "MAIL FROMAGE:<a@b>",
            "MAIL FROM:<a@b",
            "MAIL FROM:a@b>",
            "MAIL FROM:<a@b,c@d>",
            "MAIL FROM:<a@b> <c@d>",
            "MAIL FROM:HP Enclosure@b",
            "MAIL FROM:AUTH=<>",
            "MAIL FROM:<;touch x;@b>",
            "MAIL FROM:<a\"b@c>",
            "MAIL FROM:<a@b> SIZE",
            "MAIL FROM:<a@b> SIZE=-1",
            "RCPT TO:<a b@c>",
            "RCPT TO:<a\tb@c>",
            "RCPT TO:a b@c",
            "RCPT TO:<a@b\rX>",
            "RCPT TO:<a\0b@c>",
            "RCPT TO:<a@b>\x1b",
            "RCPT TO:<a@@b..c>",
            "RCPT FOR:<a@b>",
        ] {
            let answer = paths_of(line);
            assert!(answer.as_ref().is_err_and(|reply| reply.starts_with("501 5.")), "{line:?}: {answer:?}");
        }
    }

    #[test]
    fn the_log_never_shows_a_login_or_a_control_character() {
        for (line, expected) in [
            (&b"AUTH PLAIN AGEAYg=="[..], "AUTH"),
            (b"auth\tlogin dXNlcg==", "AUTH"),
            (b"VRFY \x1b]0;x\x07\r\xff", "VRFY \\u{1b}]0;x\\u{7}\\r\u{fffd}"),
            (b"RCPT TO:<\"a b\"@c>", "RCPT TO:<\"a b\"@c>"),
        ] {
            assert_eq!(shown(line), expected);
        }
        assert_eq!(shown(&[b'x'; 5000]).len(), SHOWN_CHARACTERS_MAX);
    }

    #[test]
    fn names_in_helo_are_cleaned_and_never_refused() {
        for (line, name) in [
            ("HELO", ""),
            ("HELO ", ""),
            ("EHLO _", "_"),
            ("EHLO host.", "host"),
            ("EHLO FE80::1", "FE80::1"),
            ("EHLO [2001:db8::1]", "[2001:db8::1]"),
            ("EHLO PhpStorm 9.0.3", "PhpStorm9.0.3"),
            ("ehlo a\x01\x1b[31mb", "a[31mb"),
            ("EHLO gr\u{fc}n", "grn"),
        ] {
            let expected = if line.starts_with('H') { Command::Helo(name.into()) } else { Command::Ehlo(name.into()) };
            assert_eq!(parse(line.as_bytes(), LineEnd::CrLf), Ok(expected), "{line:?}");
        }
    }

    #[test]
    fn other_protocols_are_recognised_by_their_first_line() {
        for line in ["GET / HTTP/1.1", "post /x HTTP/1.1", "OPTIONS", "BREW /pot http/1.0", "PRI * HTTP/2.0"] {
            assert_eq!(parse(line.as_bytes(), LineEnd::CrLf), Err(Refusal::ForeignProtocol("HTTP")), "{line}");
        }
        assert_eq!(
            parse(b"PROXY TCP4 192.0.2.1 192.0.2.2 5 25", LineEnd::CrLf),
            Err(Refusal::ForeignProtocol("the PROXY protocol"))
        );
        assert_eq!(parse(b"SSH-2.0-OpenSSH_9.9", LineEnd::CrLf), Err(Refusal::ForeignProtocol("SSH")));
        let desktop = b"\x03\0\0\x2f\x2a\xe0\0\0\0\0\0Cookie: mstshash=user";
        assert_eq!(parse(desktop, LineEnd::CrLf), Err(Refusal::ForeignProtocol("RDP")));
        assert_eq!(parse(b"Host: x", LineEnd::CrLf), Err(Refusal::UnknownCommand("Host:".into())));
    }
}
