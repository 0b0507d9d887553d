//! AUTH as Gmail does it (RFC 4954; gmail.md, section 2): PLAIN and LOGIN with one right pair, tokens never right.

use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::session::Session;
use super::words;

/// User and password as a client gave them.
struct Credentials {
    user: String,
    password: String,
}

/// What came of the exchange; without credentials, the words to say.
type Given = Result<Credentials, &'static str>;

/// Carries the exchange through, but for its last reply: the inner result says which that is.
pub(super) async fn exchange(session: &mut Session, argument: &str) -> io::Result<Result<(), &'static str>> {
    let (mechanism, initial) = match argument.split_once(' ') {
        Some((mechanism, initial)) => (mechanism, Some(initial)),
        None => (argument, None),
    };
    let credentials = match mechanism.to_ascii_uppercase().as_str() {
        "PLAIN" => plain(session, initial).await?,
        "LOGIN" => login(session, initial).await?,
        "XOAUTH2" | "OAUTHBEARER" => token(session, initial).await?,
        "XOAUTH" => Err(words::XOAUTH_OVER),
        _ => Err(words::AUTH_UNKNOWN),
    };
    Ok(match credentials {
        Ok(credentials) if is_right(session, &credentials) => Ok(()),
        Ok(_) => Err(words::BAD_CREDENTIALS),
        Err(refused) => Err(refused),
    })
}

fn is_right(session: &Session, credentials: &Credentials) -> bool {
    // Google shows app passwords in four groups; the blanks between them mean nothing.
    let dense = |password: &str| password.split_whitespace().collect::<String>();
    let options = session.options();
    credentials.user.eq_ignore_ascii_case(&options.user) && dense(&credentials.password) == dense(&options.password)
}

/// RFC 4616: perhaps whom to act for, the user and the password, with NUL between them.
async fn plain(session: &mut Session, initial: Option<&str>) -> io::Result<Given> {
    let response = match initial {
        Some(initial) => initial.to_owned(),
        None => session.ask(words::ASK).await?,
    };
    Ok(decode(&response).and_then(|text| {
        let mut parts = text.split('\0').skip(1).map(str::to_owned);
        match (parts.next(), parts.next(), parts.next()) {
            (Some(user), Some(password), None) => Ok(Credentials { user, password }),
            _ => Err(words::AUTH_UNDECODABLE),
        }
    }))
}

async fn login(session: &mut Session, initial: Option<&str>) -> io::Result<Given> {
    if initial.is_some() {
        return Ok(Err(words::AUTH_LOGIN_ARGUMENT));
    }
    let user = match decode(&session.ask(words::ASK_USER).await?) {
        Ok(user) => user,
        Err(refused) => return Ok(Err(refused)),
    };
    let password = decode(&session.ask(words::ASK_PASSWORD).await?);
    Ok(password.map(|password| Credentials { user, password }))
}

/// Refused in two steps: 334 with the reason in base64, which the client has to answer, then 535.
async fn token(session: &mut Session, initial: Option<&str>) -> io::Result<Given> {
    if initial.is_none() {
        session.ask(words::ASK).await?;
    }
    let reason = format!("334 {}", STANDARD.encode(words::TOKEN_REFUSED));
    session.ask(&reason).await?;
    Ok(Err(words::BAD_CREDENTIALS))
}

fn decode(response: &str) -> Result<String, &'static str> {
    let bytes = STANDARD.decode(response).map_err(|_| words::AUTH_UNDECODABLE)?;
    String::from_utf8(bytes).map_err(|_| words::AUTH_UNDECODABLE)
}
