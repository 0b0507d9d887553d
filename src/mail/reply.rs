//! Replies: what we say to clients, and what Gmail says to us.
//!
//! What we refuse is one [`Refusal`]; one `match` turns it into its [`Reply`]. On the wire a refusal is bland and
//! tells the person at the device what to do; its `Display` is exact and is for the log.

use std::fmt;

use super::address::AddressError;

/// An enhanced status code, `class.subject.detail` (RFC 3463).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Enhanced(pub u8, pub u16, pub u16);

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

impl Enhanced {
    /// Reads `5.7.8`; anything else is `None`.
    #[must_use]
    pub fn parse(word: &str) -> Option<Enhanced> {
        let mut parts = word.split('.');
        let class = parts.next()?.parse().ok().filter(|class| [2, 4, 5].contains(class))?;
        let enhanced = Enhanced(class, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        // A number could begin with a sign or a zero otherwise (RFC 3463 §2 allows neither).
        (enhanced.to_string() == word).then_some(enhanced)
    }
}

/// A reply of either side: a code, perhaps an enhanced code, and its words on one line.
///
/// The text never holds a control character: whatever the other side sent, it can neither forge a log line nor
/// drive a terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<Enhanced>,
    text: String,
}

impl Reply {
    /// A reply without an enhanced code: greeting, EHLO, 354 (RFC 2034 §4).
    #[must_use]
    pub fn plain(code: u16, text: impl Into<String>) -> Reply {
        Reply { code, enhanced: None, text: printable(&text.into()) }
    }

    /// A reply with its enhanced code.
    #[must_use]
    pub fn new(code: u16, enhanced: Enhanced, text: impl Into<String>) -> Reply {
        Reply { code, enhanced: Some(enhanced), text: printable(&text.into()) }
    }

    /// A reply that came in: the enhanced code, where there is one, is the first word of the text and may stand
    /// again at the start of each further line.
    #[must_use]
    pub fn received(code: u16, text: &str) -> Reply {
        let text = printable(text);
        let (first, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match Enhanced::parse(first) {
            None => Reply { code, enhanced: None, text },
            Some(enhanced) => {
                let words: Vec<&str> = rest.split(' ').filter(|word| !word.is_empty() && *word != first).collect();
                Reply { code, enhanced: Some(enhanced), text: words.join(" ") }
            }
        }
    }

    /// The three digits.
    #[must_use]
    pub fn code(&self) -> u16 {
        self.code
    }

    /// The enhanced code, where there is one.
    #[must_use]
    pub fn enhanced(&self) -> Option<Enhanced> {
        self.enhanced
    }

    /// The words, without any code.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// 2yz or 3yz.
    #[must_use]
    pub fn is_positive(&self) -> bool {
        (200..400).contains(&self.code)
    }
}

/// As it goes over the wire, without the line end.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.enhanced {
            Some(enhanced) => write!(f, "{} {} {}", self.code, enhanced, self.text),
            None => write!(f, "{} {}", self.code, self.text),
        }
    }
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}

/// What to tell the owner of a client that has ended a message with LF alone, and waits (legacy-clients.md, case 95).
pub const LF_ENDS_NOTHING: &str = "LF . LF, which does not end a message: let the client end its lines with CR LF or, where it \
    ends all of them with LF alone, list its address in `lf_only` of this listener";

/// Why we do not do what a client asks. `Display` is for the operator's log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("{0} may not connect: it is not in `allow` of this listener")]
    ClientNotAllowed(String),
    #[error(
        "{0} may not connect: it is the gateway of this container, and strangers who come through a published port look \
         like it. Publish the port for this machine alone (-p 127.0.0.1:25:25) and add \"gateway\" to `allow`, or share the \
         host's network"
    )]
    ClientIsGateway(String),
    #[error("{0} may not say who a client is: it is not in `proxy_from` of this listener")]
    ProxyNotTrusted(String),
    #[error(
        "{0}: on a listener with `proxy = true` the PROXY protocol comes first; switch it on in the proxy \
         (\"send-proxy\", \"proxy_protocol on\"), or let this client use another listener"
    )]
    NotAnnounced(&'static str),
    #[error("more than {0} connections (`limits.connections`)")]
    TooManyConnections(usize),
    #[error("more than {0} connections from one client (`limits.connections_per_client`)")]
    TooManyConnectionsOfClient(usize),
    #[error("spoke {0} on a mail port")]
    ForeignProtocol(&'static str),
    #[error(
        "spoke TLS on a mail port (implicit TLS, or \"SSL\"): switch it off in the client or let it use STARTTLS where that \
         is offered, or give it a listener with tls = \"implicit\""
    )]
    TlsInTheClear,
    #[error(
        "plain text behind STARTTLS: somebody puts words into this client's mouth, or it does not wait for the reply"
    )]
    PlaintextAfterStarttls,
    #[error("unknown command \"{0}\"")]
    UnknownCommand(String),
    #[error("command line longer than {0} bytes (`limits.command_size`)")]
    LineTooLong(usize),
    #[error("a command that is not UTF-8 or holds a control character")]
    UnprintableCommand,
    #[error("syntax of {0}")]
    Syntax(&'static str),
    #[error("{0} is not offered here")]
    NotOffered(&'static str),
    #[error("{0} is out of place: {1}")]
    OutOfOrder(&'static str, &'static str),
    #[error("address \"{0}\": {1}")]
    BadAddress(String, AddressError),
    #[error("parameter {0} of MAIL")]
    BadParameter(String),
    #[error("recipient \"{0}\" has no domain, and `recipients.default_domain` is not set")]
    RecipientWithoutDomain(String),
    #[error("recipient {0} is an address literal, and no alias maps it")]
    RecipientLiteral(String),
    #[error("recipient {0} is not in `recipients.allow`")]
    RecipientNotAllowed(String),
    #[error("more than {0} recipients (`limits.recipients`)")]
    TooManyRecipients(usize),
    #[error("every recipient was refused")]
    NoRecipient,
    #[error("message larger than {0} bytes (`limits.message_size`)")]
    MessageTooLarge(u64),
    #[error("more than {0} Received fields (`limits.hops`): the mail runs in a circle")]
    TooManyHops(usize),
    #[error("header larger than {0} bytes (`limits.header_size`)")]
    HeaderTooLarge(usize),
    #[error(
        "did not log in, and this listener has auth = \"required\": let the device log in as one of [[user]], or set auth = \"off\" \
         and list its address in `allow`"
    )]
    LoginRequired,
    #[error("AUTH without TLS on a listener that has it: let the device use STARTTLS, or TLS on connect")]
    LoginNeedsTls,
    #[error("a mechanism of AUTH other than PLAIN and LOGIN")]
    UnknownMechanism,
    #[error("an answer in AUTH that is no base64, or no name and password")]
    LoginUnreadable,
    #[error("gave up logging in")]
    LoginCancelled,
    #[error("login as \"{0}\": no [[user]] has this name and this password")]
    LoginFailed(String),
    #[error("failed login number {0} of one connection")]
    TooManyLogins(usize),
    #[error("{0} failed logins from this address within {1} minutes")]
    TooManyLoginsOfClient(u32, u64),
    #[error("too many logins are being checked at the same time")]
    TooManyLoginsAtOnce,
    #[error("the spool is full: {0}")]
    SpoolFull(String),
    #[error("the spool cannot take mail: {0}")]
    SpoolFailed(String),
    #[error("more than {0} errors in one connection (`limits.errors`)")]
    TooManyErrors(usize),
    #[error("silent for {0} seconds (`limits.silence`)")]
    Silent(u64),
    #[error(
        "silent or too slow while nearly all places are taken (`limits.silence_when_full`, `limits.rate_when_full`)"
    )]
    TooSlow,
    #[error("{0}, behind {LF_ENDS_NOTHING}")]
    LfEndsNothing(Box<Refusal>),
    #[error("more than {0} messages from one client within a minute (`limits.messages_per_minute`)")]
    TooManyMessages(u32),
    #[error("more than {0} bytes from one client within a minute (`limits.size_per_minute`)")]
    TooManyBytes(u64),
    #[error("the relay is stopping")]
    Stopping,
}

impl Refusal {
    /// The reply this refusal causes.
    #[must_use]
    pub fn reply(&self) -> Reply {
        use Refusal as R;
        let (code, enhanced, text): (u16, (u8, u16, u16), String) = match self {
            R::ClientNotAllowed(_) | R::ClientIsGateway(_) | R::ProxyNotTrusted(_) => {
                (554, (5, 7, 1), "You may not send mail through this relay".into())
            }
            R::TooManyConnections(_) => (421, (4, 3, 2), "Too many connections, try again later".into()),
            R::TooManyConnectionsOfClient(_) => {
                (421, (4, 7, 0), "Too many connections from your address, try again later".into())
            }
            R::NotAnnounced(_) => (421, (4, 7, 0), "This port is for a proxy, use another one".into()),
            R::TlsInTheClear => (421, (4, 5, 0), "This is a mail port, it does not speak TLS".into()),
            R::PlaintextAfterStarttls => (421, (4, 7, 0), "Nothing may follow STARTTLS before the handshake".into()),
            R::ForeignProtocol(name) => (421, (4, 5, 0), format!("This is a mail port, it does not speak {name}")),
            R::UnknownCommand(_) => (500, (5, 5, 1), "Unknown command".into()),
            R::LineTooLong(_) => (500, (5, 5, 2), "Line too long".into()),
            R::UnprintableCommand => (500, (5, 5, 2), "Command is not printable UTF-8".into()),
            R::Syntax(usage) => (501, (5, 5, 4), format!("Syntax: {usage}")),
            R::NotOffered(command) => (502, (5, 5, 1), format!("{command} is not offered here")),
            R::OutOfOrder(_, cure) => (503, (5, 5, 1), (*cure).into()),
            R::BadAddress(_, why) => (501, (5, 1, 3), format!("Bad address: {why}")),
            R::BadParameter(parameter) => (555, (5, 5, 4), format!("Parameter not supported: {parameter}")),
            R::RecipientWithoutDomain(_) => (
                550,
                (5, 1, 3),
                "Recipient has no domain; use a whole address, or set recipients.default_domain".into(),
            ),
            R::RecipientLiteral(_) => {
                (550, (5, 1, 2), "Cannot send to an address literal; use a domain, or add an alias for it".into())
            }
            R::RecipientNotAllowed(_) => (550, (5, 7, 1), "This relay does not send to that recipient".into()),
            R::TooManyRecipients(_) => (452, (4, 5, 3), "Too many recipients".into()),
            R::NoRecipient => (554, (5, 5, 1), "No valid recipients".into()),
            R::MessageTooLarge(limit) => (552, (5, 3, 4), format!("Message too large, the limit is {limit} bytes")),
            R::TooManyHops(_) => (554, (5, 4, 6), "Too many hops, this mail runs in a circle".into()),
            R::HeaderTooLarge(limit) => (552, (5, 3, 4), format!("Header too large, the limit is {limit} bytes")),
            R::LoginRequired => (530, (5, 7, 0), "Log in first: this relay wants a name and a password".into()),
            R::LoginNeedsTls => (538, (5, 7, 11), "Begin TLS first, then log in".into()),
            R::UnknownMechanism => (504, (5, 5, 4), "Use AUTH PLAIN or AUTH LOGIN".into()),
            R::LoginUnreadable => (501, (5, 5, 2), "This is not base64 of a name and a password".into()),
            R::LoginCancelled => (501, (5, 7, 0), "Login cancelled".into()),
            R::LoginFailed(_) => (535, (5, 7, 8), "Wrong name or password".into()),
            R::TooManyLogins(_) => (421, (4, 7, 0), "Too many failed logins, closing the connection".into()),
            R::TooManyLoginsOfClient(..) => {
                (421, (4, 7, 0), "Too many failed logins from your address, try again later".into())
            }
            R::TooManyLoginsAtOnce => (454, (4, 7, 0), "Too many logins at once, try again".into()),
            R::SpoolFull(_) => (452, (4, 3, 1), "Not enough space on the relay, try again later".into()),
            R::SpoolFailed(_) => (451, (4, 3, 0), "The relay cannot store mail now, try again later".into()),
            R::TooManyErrors(_) => (421, (4, 7, 0), "Too many errors, closing the connection".into()),
            R::Silent(_) => (421, (4, 4, 2), "Timeout, closing the connection".into()),
            R::TooSlow => (421, (4, 4, 2), "Too slow while others wait, closing the connection".into()),
            R::LfEndsNothing(why) => return why.reply(),
            R::TooManyMessages(_) => {
                (451, (4, 7, 1), "Too many messages from your address within a minute, try again later".into())
            }
            R::TooManyBytes(_) => {
                (451, (4, 7, 1), "Too much mail from your address within a minute, try again later".into())
            }
            R::Stopping => (421, (4, 3, 2), "The relay is stopping, try again later".into()),
        };
        Reply::new(code, Enhanced(enhanced.0, enhanced.1, enhanced.2), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gmails_repeated_enhanced_codes_are_read_once() {
        let reply = Reply::received(535, "5.7.8 Username and Password not accepted. Go to 5.7.8 https://x/ - gsmtp");
        assert_eq!(reply.enhanced(), Some(Enhanced(5, 7, 8)));
        assert_eq!(reply.text(), "Username and Password not accepted. Go to https://x/ - gsmtp");
        assert_eq!(reply.to_string(), "535 5.7.8 Username and Password not accepted. Go to https://x/ - gsmtp");
    }

    #[test]
    fn an_enhanced_code_is_written_in_one_way() {
        assert_eq!(Enhanced::parse("5.7.8"), Some(Enhanced(5, 7, 8)));
        for word in ["+5.7.8", "5.+7.8", "05.7.8", "5.7.08", "5.7.8.0", "5.7", "3.0.0"] {
            assert_eq!(Enhanced::parse(word), None, "{word}");
        }
    }

    #[test]
    fn a_reply_without_enhanced_code_keeps_its_words() {
        let reply = Reply::received(220, "smtp.gmail.com ESMTP ready");
        assert_eq!((reply.enhanced(), reply.text()), (None, "smtp.gmail.com ESMTP ready"));
    }

    #[test]
    fn control_characters_of_the_other_side_end_here() {
        let reply = Reply::received(550, "5.1.1 no\r\n250 such\x1b[31m\0user");
        assert!(!reply.to_string().chars().any(char::is_control));
    }
}
