//! Command lines: whatever they hold, the answer is one printable line, and what was understood is understood again
//! when it is written as it should be.

use smarthost::mail::{Path, Refusal};
use smarthost::smtp::command::{self, Command};
use smarthost::smtp::line::LineEnd;

use super::assert_printable;

/// What the log shows of a command at most, and the longest escape of one character.
const SHOWN_BYTES_MAX: usize = 200 * "\\u{10ffff}".len();

pub fn holds(input: &[u8]) {
    for line in input.split(|&byte| byte == b'\n') {
        let shown = command::shown(line);
        assert_printable(&shown);
        assert!(shown.len() <= SHOWN_BYTES_MAX);
        if command::is_verb(line, "AUTH") {
            assert_eq!(shown, "AUTH", "a secret is shown");
        }
        match command::parse(line, LineEnd::CrLf) {
            Ok(command) => understood(command),
            Err(refusal) => refused(&refusal),
        }
    }
}

fn refused(refusal: &Refusal) {
    let reply = refusal.reply();
    assert!((400..600).contains(&reply.code()), "{reply}");
    assert!(reply.to_string().len() <= 510, "{reply} is longer than RFC 5321 §4.5.3.1.5 allows");
    assert_printable(&reply.to_string());
    assert_printable(&refusal.to_string());
}

fn understood(command: Command) {
    match command {
        Command::Helo(name) | Command::Ehlo(name) => {
            assert!(name.len() <= 255 && name.bytes().all(|byte| byte.is_ascii_graphic()), "{name:?}");
        }
        Command::Mail(mail) => {
            let written = format!("MAIL FROM:<{}>", written(&mail.path));
            match command::parse(written.as_bytes(), LineEnd::CrLf) {
                Ok(Command::Mail(again)) => assert_eq!(again.path, mail.path, "{written}"),
                other => panic!("{written}: {other:?}"),
            }
        }
        Command::Rcpt(paths) => {
            assert!(!paths.is_empty());
            for path in paths {
                let written = format!("RCPT TO:<{}>", written(&path));
                assert_eq!(
                    command::parse(written.as_bytes(), LineEnd::CrLf),
                    Ok(Command::Rcpt(vec![path])),
                    "{written}"
                );
            }
        }
        _ => {}
    }
}

fn written(path: &Path) -> String {
    let written = match path {
        Path::Null => String::new(),
        Path::Mailbox(address) => address.to_string(),
        // In quotes, since single ones around a name are taken for the sender's decoration.
        Path::Local(name) => format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")),
    };
    assert_printable(&written);
    written
}
