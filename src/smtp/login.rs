//! AUTH (RFC 4954): PLAIN (RFC 4616) and LOGIN, as programs speak them and not only as they should.
//!
//! Touches nothing. What a client says here may be a password: it becomes [`Credentials`], which cannot be printed, or
//! nothing. The forms are collected in legacy-clients.md, section 4. No mechanism is ever offered that needs the
//! password in clear on our side, and no other answer is given than those two prompts that devices compare.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use secrecy::{ExposeSecret, SecretSlice};

use crate::mail::Refusal;

/// `Username:` and `Password:`. Some devices give up at anything else.
const ASK_NAME: &str = "334 VXNlcm5hbWU6";
const ASK_PASSWORD: &str = "334 UGFzc3dvcmQ6";
/// With the blank behind it, without which some clients wait for ever.
const ASK_PLAIN: &str = "334 ";

/// Characters kept of a name: more than any name in use.
const NAME_CHARACTERS_MAX: usize = 64;

/// Lenient in what libraries get wrong: the padding, and the bits behind the last byte.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Who somebody says to be, and what is to prove it.
#[derive(Debug)]
pub struct Credentials {
    /// Made safe for a log line; empty where none was usable.
    pub name: String,
    pub password: SecretSlice<u8>,
}

impl PartialEq for Credentials {
    fn eq(&self, other: &Credentials) -> bool {
        self.name == other.name && self.password.expose_secret() == other.password.expose_secret()
    }
}

impl Eq for Credentials {}

/// What is waited for.
#[derive(Clone, Debug)]
pub enum Exchange {
    /// Name and password in one answer.
    Plain,
    /// LOGIN asks for the name first.
    Name,
    /// Then for the password.
    Password { name: String },
}

/// What an answer of the client leads to.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Say this, and wait for the next answer.
    Ask(&'static str),
    /// Everything was said.
    Done(Credentials),
    /// It was not understood.
    Unreadable,
}

/// How an answer is read that is no base64, or has not the parts that it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// It counts as empty: nothing depends on it.
    Liberal,
    Strict,
}

/// A mechanism, with the first answer where the client did not wait to be asked (RFC 4954 §4).
#[derive(Clone, PartialEq, Eq)]
pub struct Request {
    mechanism: Mechanism,
    initial: Option<Vec<u8>>,
}

/// Shows no answer: it may be a password.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Request {{ {:?} }}", self.mechanism)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mechanism {
    Plain,
    Login,
}

/// Reads what stands behind AUTH.
///
/// # Errors
/// A refusal for a mechanism that is not offered, after which clients try the next one.
pub fn parse(argument: &[u8]) -> Result<Request, Refusal> {
    let argument = argument.trim_ascii();
    let end = argument.iter().position(u8::is_ascii_whitespace).unwrap_or(argument.len());
    let (mechanism, initial) = argument.split_at(end);
    let mechanism = match mechanism.to_ascii_uppercase().as_slice() {
        b"PLAIN" => Mechanism::Plain,
        b"LOGIN" => Mechanism::Login,
        b"" => return Err(Refusal::Syntax("AUTH PLAIN or AUTH LOGIN")),
        _ => return Err(Refusal::UnknownMechanism),
    };
    let initial = Some(initial.trim_ascii()).filter(|initial| !initial.is_empty()).map(<[u8]>::to_vec);
    Ok(Request { mechanism, initial })
}

impl Request {
    /// Begins the exchange. A client that said its first answer already is not asked for it.
    pub fn begin(self, manner: Manner) -> (Exchange, Step) {
        let (mut exchange, ask) = match self.mechanism {
            Mechanism::Plain => (Exchange::Plain, ASK_PLAIN),
            Mechanism::Login => (Exchange::Name, ASK_NAME),
        };
        let step = match self.initial {
            None => Step::Ask(ask),
            // One sign of equality is an answer that is empty.
            Some(initial) => exchange.hear(if initial == b"=" { b"" } else { &initial }, manner),
        };
        (exchange, step)
    }
}

impl Exchange {
    /// Takes the next answer.
    pub fn hear(&mut self, answer: &[u8], manner: Manner) -> Step {
        let answer = match (BASE64.decode(answer.trim_ascii()), manner) {
            (Ok(answer), _) => answer,
            (Err(_), Manner::Liberal) => Vec::new(),
            (Err(_), Manner::Strict) => return Step::Unreadable,
        };
        match self {
            Exchange::Plain => match (plain(&answer), manner) {
                (Some(credentials), _) => Step::Done(credentials),
                (None, Manner::Liberal) => Step::Done(Credentials { name: String::new(), password: Vec::new().into() }),
                (None, Manner::Strict) => Step::Unreadable,
            },
            Exchange::Name => {
                *self = Exchange::Password { name: name(&answer) };
                Step::Ask(ASK_PASSWORD)
            }
            Exchange::Password { name } => {
                Step::Done(Credentials { name: std::mem::take(name), password: answer.into() })
            }
        }
    }
}

/// `[whom to act as] NUL name NUL password`. To act as somebody else gives no other right here, so it is not looked at.
fn plain(answer: &[u8]) -> Option<Credentials> {
    let mut parts = answer.splitn(3, |byte| *byte == 0);
    let (_act_as, named, password) = (parts.next()?, parts.next()?, parts.next()?);
    Some(Credentials { name: name(named), password: password.to_vec().into() })
}

/// A name as it can stand in a log line.
fn name(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.trim().chars().filter(|c| !c.is_control()).take(NAME_CHARACTERS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(name: &str, password: &[u8]) -> Step {
        Step::Done(Credentials { name: name.to_owned(), password: password.to_vec().into() })
    }

    /// What the last of these answers leads to.
    fn last(argument: &str, answers: &[&str], manner: Manner) -> Step {
        let (mut exchange, mut step) = parse(argument.as_bytes()).unwrap().begin(manner);
        for answer in answers {
            assert!(matches!(step, Step::Ask(_)), "{argument}: {step:?}");
            step = exchange.hear(answer.as_bytes(), manner);
        }
        step
    }

    #[test]
    fn every_way_to_log_in() {
        for (argument, answers, expected) in [
            (" LOGIN", &[][..], Step::Ask("334 VXNlcm5hbWU6")),
            (" LOGIN", &["YQ=="], Step::Ask("334 UGFzc3dvcmQ6")),
            (" LOGIN", &["YQ==", "Yg=="], done("a", b"b")),
            ("\tlogin dXNlcg==", &[], Step::Ask("334 UGFzc3dvcmQ6")),
            (" login  dXNlcg== ", &["Yg"], done("user", b"b")),
            (" LOGIN =", &["="], Step::Unreadable),
            (" LOGIN =", &[""], done("", b"")),
            (" LOGIN", &["", ""], done("", b"")),
            (" PLAIN", &[], Step::Ask("334 ")),
            (" PLAIN", &["AGEAYg=="], done("a", b"b")),
            (" plain AGEAYg", &[], done("a", b"b")),
            // `x NUL a NUL b NUL c`
            (" PLAIN eABhAGIAYw==", &[], done("a", b"b\0c")),
            (" PLAIN =", &[], Step::Unreadable),
            (" PLAIN YQ==", &[], Step::Unreadable),
            (" PLAIN !!!", &[], Step::Unreadable),
            (" LOGIN !!!", &[], Step::Unreadable),
            // The name is `ESC [31m a LF`.
            (" LOGIN G1szMW1hCg==", &["/w=="], done("[31ma", b"\xff")),
        ] {
            assert_eq!(last(argument, answers, Manner::Strict), expected, "{argument} {answers:?}");
        }
    }

    #[test]
    fn where_nothing_depends_on_it_every_answer_will_do() {
        for (argument, answers, expected) in [
            ("PLAIN", &["!!!"][..], done("", b"")),
            ("PLAIN YQ==", &[], done("", b"")),
            ("LOGIN !!!", &[], Step::Ask("334 UGFzc3dvcmQ6")),
            ("LOGIN", &["YQ==", "!!!"], done("a", b"")),
            ("PLAIN AGEAYg==", &[], done("a", b"b")),
        ] {
            assert_eq!(last(argument, answers, Manner::Liberal), expected, "{argument} {answers:?}");
        }
    }

    #[test]
    fn what_is_not_offered_and_what_is_missing() {
        for mechanism in ["NTLM", "CRAM-MD5", "XOAUTH2 abc", "PLAINER"] {
            assert_eq!(parse(mechanism.as_bytes()), Err(Refusal::UnknownMechanism));
        }
        assert!(matches!(parse(b"  "), Err(Refusal::Syntax(_))));
    }

    #[test]
    fn nothing_that_is_printed_holds_a_password() {
        let request = parse(b"PLAIN AGEAc2VjcmV0").unwrap();
        let shown = format!("{request:?} {:?}", request.clone().begin(Manner::Strict));
        assert!(!shown.contains("secret") && !shown.contains("c2VjcmV0") && !shown.contains("115"), "{shown}");
    }
}
