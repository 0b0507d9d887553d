//! Gmail's replies and what they mean: the rows that [`super::verdict::judge`] reads from the top.
//!
//! Data only, from gmail.md, section 5; the order within a group is from the particular to the general. Where Google
//! changed codes over the years (`5.7.1` to `5.7.8`, "quota" to "limit"), the words decide and the enhanced code is open.

mod account;
mod message;
mod session;

use super::verdict::{Row, Stage, Verdict};

/// All rows. The first one that a reply fits is the one that counts.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    [session::ROWS, account::ROWS, message::ROWS].into_iter().flatten()
}

const CONNECT: &[Stage] = &[Stage::Connect, Stage::Greeting, Stage::Ehlo];
const BEFORE_RCPT: &[Stage] =
    &[Stage::Connect, Stage::Greeting, Stage::Ehlo, Stage::Starttls, Stage::Auth, Stage::Mail];
const MAIL: &[Stage] = &[Stage::Mail, Stage::Rcpt, Stage::Data, Stage::Dot];
const LATER: &[Stage] = &[Stage::Rcpt, Stage::Data, Stage::Dot];

/// Any stage, any enhanced code, any words, nothing to do: a row below says only what is different.
const ROW: Row = Row {
    stages: &[],
    codes: &[],
    enhanced: &[],
    words: &[],
    example: "",
    verdict: Verdict::RetryLater,
    meaning: "",
    cure: "",
};

const EHLO_NAME: &str = "Set `hostname` to a real host name such as relay.example.net: not localhost, not an address.";
const OUR_BUG: &str = "This should not happen; please report it with the log at level debug.";
const LESS_AT_ONCE: &str = "Nothing to do: the relay sends less at once for a while. If it stays, set `connections` of the \
    account to 1.";
pub(super) const NEW_APP_PASSWORD: &str = "Make a new app password at https://myaccount.google.com/apppasswords (it needs \
    2-Step Verification) and set it as app_password. When the account's password changes, all its app passwords end.";
const SMTP_RELAY: &str = "smtp-relay.gmail.com is for Workspace customers whose administrator registered this machine's \
    address; for any other account set `host` to smtp.gmail.com.";
const WRONG_HOST: &str = "Set `host` to smtp.gmail.com: this reply is for servers that deliver to Gmail without login.";
const WAIT_FOR_LIMIT: &str = "Nothing to do: the limit frees within 24 hours, and the mail goes out then; \
    `smarthost status` shows how much was sent. Set daily_limit to what Gmail really allows.";
const SEE_FIELDS: &str = "`smarthost queue show ID --sent` shows the message as Gmail got it.";
const SPELLING: &str = "Check the spelling of the address in the program that sends, or map it with recipients.alias.";
