//! Gmail's replies and what they mean: the rows that [`super::verdict::judge`] reads from the top.
//!
//! Data only, from gmail.md, section 5; the order within a group is from the particular to the general. Where Google
//! changed codes over the years (`5.7.1` to `5.7.8`, "quota" to "limit"), the words decide and the enhanced code is open.

use super::verdict::{Row, Stage, Verdict};
use crate::mail::Enhanced;

const CONNECT: &[Stage] = &[Stage::Connect, Stage::Greeting, Stage::Ehlo];
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
const NEW_APP_PASSWORD: &str = "Make a new app password at https://myaccount.google.com/apppasswords (it needs 2-Step \
    Verification) and set it as app_password. When the account's password changes, all its app passwords end.";
const SMTP_RELAY: &str = "smtp-relay.gmail.com is for Workspace customers whose administrator registered this machine's \
    address; for any other account set `host` to smtp.gmail.com.";
const WRONG_HOST: &str = "Set `host` to smtp.gmail.com: this reply is for servers that deliver to Gmail without login.";
const WAIT_FOR_LIMIT: &str = "Nothing to do: the limit frees within 24 hours, and the mail goes out then. Set daily_limit \
    below Gmail's own limit to spread mail over the day.";
const SEE_FIELDS: &str = "`smarthost queue show ID --sent` shows the message as Gmail got it.";

/// `x.7.23` to `x.7.32`: what a server that delivers without login has to fulfil (gmail.md, section 5.6).
const SENDER_RULES: [Enhanced; 20] = {
    let mut codes = [Enhanced(4, 7, 23); 20];
    let mut nth: u16 = 0;
    while nth < 10 {
        codes[nth as usize] = Enhanced(4, 7, 23 + nth);
        codes[nth as usize + 10] = Enhanced(5, 7, 23 + nth);
        nth += 1;
    }
    codes
};

/// What Gmail says on submission. The first row that a reply fits is the one that counts.
pub const TABLE: &[Row] = &[
    // 5.1: connection and protocol.
    Row {
        stages: CONNECT,
        codes: &[421],
        words: &["(ehlo)", "try again later, closing connection"],
        example: "421 4.7.0 Try again later, closing connection. (EHLO)",
        verdict: Verdict::HoldAccount,
        meaning: "Gmail does not accept the name that the relay greets it with, or is flooded.",
        cure: EHLO_NAME,
        ..ROW
    },
    Row {
        codes: &[421],
        words: &["connection expired"],
        example: "421 4.7.0 Connection expired, try reconnecting.",
        verdict: Verdict::Reconnect,
        meaning: "The connection was open for as long as Gmail allows.",
        ..ROW
    },
    Row {
        codes: &[421, 451],
        words: &["temporary system problem", "server busy", "server temporarily rejected"],
        example: "421 4.3.0 Temporary System Problem. Try again later (10).",
        verdict: Verdict::RetryLater,
        meaning: "Gmail is busy or has a fault, or finds that too much comes at once.",
        cure: "If it stays, set `connections` of the account to 1.",
        ..ROW
    },
    Row {
        codes: &[421],
        words: &["not in whitelist for rcpt domain", "tls required for rcpt domain"],
        example: "421 4.7.0 TLS required for RCPT domain, closing connection.",
        verdict: Verdict::RetryLater,
        meaning: "The recipient's domain has a rule that this connection does not meet.",
        cure: "The recipient's administrator can tell which.",
        ..ROW
    },
    Row {
        codes: &[451],
        words: &["timeout - closing connection"],
        example: "451 4.4.2 Timeout - closing connection.",
        verdict: Verdict::Reconnect,
        meaning: "The connection was idle for longer than Gmail allows.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[451],
        words: &["multiple destination domains per transaction"],
        example: "451 4.3.0 Multiple destination domains per transaction is unsupported. Please try again.",
        verdict: Verdict::Split,
        meaning: "Gmail wants the domains of the recipients one by one.",
        ..ROW
    },
    Row {
        codes: &[451],
        words: &["protocol violation"],
        example: "451 4.5.0 SMTP protocol violation, visit https://support.google.com/a/answer/3221692.",
        verdict: Verdict::RetryLater,
        meaning: "Gmail finds that the relay broke the protocol.",
        cure: OUR_BUG,
        ..ROW
    },
    Row {
        codes: &[454, 523, 525],
        words: &["no commands allowed to pipeline after starttls"],
        example: "454 4.5.0 SMTP protocol violation, no commands allowed to pipeline after STARTTLS, see RFC 3207.",
        verdict: Verdict::PauseAccount,
        meaning: "Gmail received something in the clear behind STARTTLS: something on the way adds to what we say.",
        cure: "Use port 465, where TLS starts at once, and look for a proxy or firewall that changes mail traffic.",
        ..ROW
    },
    Row {
        codes: &[454, 501],
        words: &["starttls may not be repeated", "no parameters allowed"],
        example: "454 5.5.1 STARTTLS may not be repeated.",
        verdict: Verdict::PauseAccount,
        meaning: "TLS was asked for twice, or in a form that Gmail does not take.",
        cure: OUR_BUG,
        ..ROW
    },
    Row {
        stages: &[Stage::Auth],
        codes: &[501],
        words: &["cannot decode"],
        example: "501 5.5.2 Cannot Decode response.",
        verdict: Verdict::PauseAccount,
        meaning: "Gmail could not read the login.",
        cure: "Check user and app_password for characters that do not belong there.",
        ..ROW
    },
    Row {
        stages: CONNECT,
        codes: &[501],
        words: &["helo/ehlo argument"],
        example: "501 5.5.4 HELO/EHLO argument \"my_host\" invalid, closing connection.",
        verdict: Verdict::PauseAccount,
        meaning: "The name that the relay greets Gmail with is not a host name.",
        cure: EHLO_NAME,
        ..ROW
    },
    Row {
        codes: &[502, 503],
        example: "503 5.5.1 Bad sequence of commands.",
        verdict: Verdict::Reconnect,
        meaning: "Gmail and the relay disagree about where the conversation stands.",
        ..ROW
    },
    Row {
        stages: &[Stage::Auth],
        codes: &[504],
        example: "504 5.7.4 Unrecognized Authentication Type.",
        verdict: Verdict::PauseAccount,
        meaning: "The server does not offer the kind of login that the relay uses.",
        cure: "Check that `host` is smtp.gmail.com.",
        ..ROW
    },
    Row {
        codes: &[554],
        words: &["too many unauthenticated commands"],
        example: "554 5.7.0 Too Many Unauthenticated commands.",
        verdict: Verdict::PauseAccount,
        meaning: "The relay talked to Gmail for too long without a login.",
        cure: "Check that user and app_password of the account are set.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[555],
        words: &["syntax error", "cannot decode response"],
        example: "555 5.5.2 Syntax error, cannot decode response.",
        verdict: Verdict::RefuseMessage,
        meaning: "Gmail cannot read an address of the envelope.",
        cure: "Correct the address in the program that sends.",
        ..ROW
    },
    // 5.2: login. Never the fault of a message.
    Row {
        stages: &[Stage::Auth],
        codes: &[334],
        words: &["eyj"],
        example: "334 eyJzdGF0dXMiOiI0MDAiLCJzY2hlbWVzIjoiQmVhcmVyIn0=",
        verdict: Verdict::PauseAccount,
        meaning: "Gmail refused an access token: expired, of another user, or without the scope https://mail.google.com/.",
        cure: "Use an app password, or make a new token with that scope for this user.",
        ..ROW
    },
    Row {
        codes: &[454],
        words: &["too many login attempts"],
        example: "454 4.7.0 Too many login attempts, please try again later.",
        verdict: Verdict::HoldAccount,
        meaning: "There were more logins than Gmail allows in so short a time.",
        cure: "Stop other programs that log in to this account; every try prolongs it.",
        ..ROW
    },
    Row {
        codes: &[454],
        words: &["cannot authenticate due to temporary system problem"],
        example: "454 4.7.0 Cannot authenticate due to temporary system problem. Try again later.",
        verdict: Verdict::RetryLater,
        meaning: "Gmail cannot check logins now.",
        ..ROW
    },
    Row {
        codes: &[530],
        words: &["starttls"],
        example: "530 5.7.0 Must issue a STARTTLS command first.",
        verdict: Verdict::PauseAccount,
        meaning: "Gmail wants TLS before anything else.",
        cure: "Set `port` to 465, or `tls` of the account to \"starttls\".",
        ..ROW
    },
    Row {
        codes: &[530],
        example: "530 5.5.1 Authentication Required. For more information, go to \
            https://support.google.com/mail/?p=WantAuthError",
        verdict: Verdict::PauseAccount,
        meaning: "Gmail wants a login, and none was made.",
        cure: "Check that user and app_password of the account are set, and that `host` is smtp.gmail.com.",
        ..ROW
    },
    Row {
        codes: &[534, 535],
        words: &["application-specific password required", "p=invalidsecondfactor"],
        example: "534 5.7.9 Application-specific password required. For more information, go to \
            https://support.google.com/mail/?p=InvalidSecondFactor",
        verdict: Verdict::PauseAccount,
        meaning: "The account's own password was used where Gmail wants an app password.",
        cure: NEW_APP_PASSWORD,
        ..ROW
    },
    Row {
        codes: &[534, 535],
        words: &["web browser", "p=webloginrequired"],
        example: "534 5.7.9 Please log in with your web browser and then try again. For more information, go to \
            https://support.google.com/mail/?p=WebLoginRequired",
        verdict: Verdict::PauseAccount,
        meaning: "Google does not trust this login.",
        cure: "Sign in to the account with a browser, confirm the security alert, and use an app password.",
        ..ROW
    },
    Row {
        codes: &[535],
        words: &["optional argument not permitted"],
        example: "535 5.5.4 Optional Argument not permitted for that AUTH mode.",
        verdict: Verdict::PauseAccount,
        meaning: "Gmail does not take the login in this form.",
        cure: OUR_BUG,
        ..ROW
    },
    Row {
        codes: &[534, 535],
        example: "535 5.7.8 Username and Password not accepted. For more information, go to \
            https://support.google.com/mail/?p=BadCredentials",
        verdict: Verdict::PauseAccount,
        meaning: "Gmail does not accept this user with this password.",
        cure: NEW_APP_PASSWORD,
        ..ROW
    },
    // 5.3: limits and policy of the account. Never the fault of a message, whatever the first digit says.
    Row {
        codes: &[550],
        words: &["daily smtp relay"],
        example: "550 5.4.5 Daily SMTP relay limit exceeded for user.",
        verdict: Verdict::HoldAccount,
        meaning: "This user or organisation has relayed as much mail as Google allows in 24 hours.",
        cure: WAIT_FOR_LIMIT,
        ..ROW
    },
    Row {
        codes: &[550],
        words: &["sending limit exceeded", "sending quota exceeded", "p=dailylimit"],
        example: "550 5.4.5 Daily user sending limit exceeded.",
        verdict: Verdict::HoldAccount,
        meaning: "The account has sent as much mail as Gmail allows in 24 hours.",
        cure: WAIT_FOR_LIMIT,
        ..ROW
    },
    Row {
        codes: &[550],
        enhanced: &[Enhanced(5, 4, 5)],
        example: "550 5.4.5 You have reached a limit for sending mail.",
        verdict: Verdict::HoldAccount,
        meaning: "The account has sent as much mail as Gmail allows for now.",
        cure: WAIT_FOR_LIMIT,
        ..ROW
    },
    Row {
        codes: &[450],
        words: &["peak smtp relay limit exceeded"],
        example: "450 4.2.1 Peak SMTP relay limit exceeded for customer.",
        verdict: Verdict::HoldAccount,
        meaning: "This organisation relays more mail at once than Google allows in ten minutes.",
        cure: "Nothing to do: it frees within ten minutes.",
        ..ROW
    },
    Row {
        codes: &[550],
        words: &["email quota exceeded"],
        example: "550 5.7.1 Email quota exceeded.",
        verdict: Verdict::HoldAccount,
        meaning: "A limit of the account was reached: on sending, or on storage.",
        cure: "See whether the storage of the account is full at https://one.google.com/storage; if not, just wait.",
        ..ROW
    },
    Row {
        codes: &[550],
        words: &["mail sending denied"],
        example: "550 5.7.0 Mail Sending denied.",
        verdict: Verdict::PauseAccount,
        meaning: "The account may not send mail: it was disabled, or is not a member of the Workspace domain.",
        cure: "Sign in to the account with a browser, or ask the administrator of the domain.",
        ..ROW
    },
    Row {
        codes: &[550],
        words: &["mail relay denied"],
        example: "550 5.7.0 Mail relay denied [203.0.113.7].",
        verdict: Verdict::PauseAccount,
        meaning: "Google does not know this machine as one that may relay.",
        cure: SMTP_RELAY,
        ..ROW
    },
    Row {
        codes: &[550],
        words: &["invalid credentials for relay"],
        example: "550 5.7.1 Invalid credentials for relay [203.0.113.7].",
        verdict: Verdict::PauseAccount,
        meaning: "The machine is known to Google, but the sender's domain is not one of this customer.",
        cure: SMTP_RELAY,
        ..ROW
    },
    Row {
        codes: &[421, 550],
        words: &["same message-id"],
        example: "421 4.7.28 Gmail has detected this message exceeded its quota for sending messages with the same \
            Message-ID.",
        verdict: Verdict::RetryLater,
        meaning: "Too many messages had the same Message-ID.",
        cure: "Make the program that sends give each message a Message-ID of its own, or none.",
        ..ROW
    },
    Row {
        codes: &[421, 550],
        words: &["unusual rate of"],
        example: "550 5.7.1 Our system has detected an unusual rate of unsolicited mail originating from your IP address.",
        verdict: Verdict::HoldAccount,
        meaning: "Gmail finds the amount of mail unusual and wants less.",
        cure: "See which client sends so much with `smarthost history`, and lower daily_limit.",
        ..ROW
    },
    Row {
        stages: LATER,
        codes: &[452],
        words: &["too many recipients"],
        example: "452 4.5.3 Your message has too many recipients.",
        verdict: Verdict::Split,
        meaning: "The transaction has more recipients than Gmail takes at once.",
        ..ROW
    },
    Row {
        stages: LATER,
        codes: &[550],
        words: &["too many recipients"],
        example: "550 5.5.3 Too many recipients for this sender.",
        verdict: Verdict::Split,
        meaning: "The transaction has more recipients than Gmail takes from this sender.",
        cure: "If it stays, the account has reached its limit; wait, or lower daily_limit.",
        ..ROW
    },
    Row {
        stages: LATER,
        codes: &[452],
        words: &["domain policy size per transaction exceeded"],
        example: "452 4.5.3 Domain policy size per transaction exceeded, please try this recipient in a separate \
            transaction.",
        verdict: Verdict::Split,
        meaning: "A domain wants this recipient in a transaction of its own.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[550],
        words: &["policy that prohibited the mail"],
        example: "550 5.7.1 The user or domain that you are sending to (or from) has a policy that prohibited the mail \
            that you sent. - gcdp",
        verdict: Verdict::RefuseMessage,
        meaning: "A rule that an administrator made, of the sender's or the recipient's domain, forbids this message.",
        cure: "The administrator of the domain can tell which rule.",
        ..ROW
    },
    // 5.6: what only servers without login should hear. A recipient is not to blame for it.
    Row {
        codes: &[421, 450, 550],
        words: &["not authorized to send email directly", "ipv6 sending guidelines"],
        example: "550 5.7.1 The IP you're using to send mail is not authorized to send email directly to our servers.",
        verdict: Verdict::PauseAccount,
        meaning: "The relay talks to a server of Gmail's that takes mail from other providers only.",
        cure: WRONG_HOST,
        ..ROW
    },
    Row {
        codes: &[421, 450, 451, 550],
        enhanced: &SENDER_RULES,
        example: "550 5.7.26 Your email has been blocked because the sender is unauthenticated.",
        verdict: Verdict::PauseAccount,
        meaning: "Gmail wants SPF, DKIM, DMARC, TLS or a host name, as of a server that delivers without login.",
        cure: WRONG_HOST,
        ..ROW
    },
    // 5.4: the message.
    Row {
        stages: MAIL,
        codes: &[552],
        words: &["message size limits", "p=maxsizeerror"],
        example: "552 5.2.3 Your message exceeded Google's message size limits. For more information, go to \
            https://support.google.com/mail/?p=MaxSizeError",
        verdict: Verdict::RefuseMessage,
        meaning: "The message is larger than Gmail allows: 25 MB of attachments, which base64 makes 35 MB.",
        cure: "Send less, or a link. Set limits.message_size lower to refuse such mail at once.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[552],
        words: &["potential security issue", "illegal attachment", "p=blockedmessage"],
        example: "552 5.7.0 This message was blocked because its content presents a potential security issue. For more \
            information, go to https://support.google.com/mail/?p=BlockedMessage",
        verdict: Verdict::RefuseMessage,
        meaning: "The message holds a kind of file that Gmail blocks, such as programs, scripts or disk images.",
        cure: "https://support.google.com/mail/answer/6590 lists the kinds; archives are searched for them too.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[552],
        enhanced: &[Enhanced(5, 3, 4)],
        example: "552 5.3.4 The number of attachments (1001) exceeds Google's limit of 1000 attachments.",
        verdict: Verdict::RefuseMessage,
        meaning: "A header field, the whole header or the number of attachments is larger than Gmail allows.",
        cure: SEE_FIELDS,
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[550],
        words: &["message-id header"],
        example: "550 5.7.1 Messages missing a valid Message-ID header are not accepted.",
        verdict: Verdict::RefuseMessage,
        meaning: "The message has no Message-ID that Gmail accepts.",
        cure: SEE_FIELDS,
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[550],
        words: &["from: header", "'from' header", "from header", "multiple addresses in from"],
        example: "550 5.7.1 Messages with multiple addresses in From: header are not accepted.",
        verdict: Verdict::RefuseMessage,
        meaning: "The From field is missing, is not an address, or names more than one.",
        cure: SEE_FIELDS,
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[550],
        words: &["unicode", "encoded-word", "encoded word"],
        example: "550 5.7.1 This message contains a Unicode character in a disallowed header.",
        verdict: Verdict::RefuseMessage,
        meaning: "A header field holds characters that are not allowed in it.",
        cure: SEE_FIELDS,
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[550],
        words: &["rfc 5322", "rfc 2822", "duplicate headers", "p=rfcmessagenoncompliant"],
        example: "550 5.7.1 Our system has detected that this message is not RFC 5322 compliant: duplicate headers.",
        verdict: Verdict::RefuseMessage,
        meaning: "The header of the message breaks the rules: most often a field that may stand once stands twice.",
        cure: SEE_FIELDS,
        ..ROW
    },
    Row {
        codes: &[421],
        words: &["unsolicited mail", "low reputation", "suspicious"],
        example: "421 4.7.0 Our system has detected that this message is suspicious due to the nature of the content.",
        verdict: Verdict::RetryLater,
        meaning: "Gmail suspects spam, and may think better of it later.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[550],
        words: &["unsolicited mail", "low reputation", "suspicious"],
        example: "550 5.7.1 Our system has detected that this message is likely unsolicited mail.",
        verdict: Verdict::RefuseMessage,
        meaning: "Gmail takes the message for spam.",
        cure: "Look at its links and wording; short mail with a bare link is refused most often.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[554],
        words: &["malformed"],
        example: "554 5.6.0 Mail message is malformed. Not accepted.",
        verdict: Verdict::RefuseMessage,
        meaning: "Gmail cannot read the message.",
        cure: SEE_FIELDS,
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[554],
        words: &["50 hops", "mail loop"],
        example: "554 5.4.6 Message exceeded 50 hops, this may indicate a mail loop.",
        verdict: Verdict::RefuseMessage,
        meaning: "The message went through more than 50 servers: it runs in a circle.",
        cure: "Look for a forwarding rule that leads back here.",
        ..ROW
    },
    // 5.5: the recipient. Speed before state, as both come with 5.2.1.
    Row {
        stages: MAIL,
        codes: &[450, 550],
        words: &["receiving mail too quickly", "receiving mail at a rate"],
        example: "550 5.2.1 The user you are trying to contact is receiving mail at a rate that prevents additional \
            messages from being delivered.",
        verdict: Verdict::RetryLater,
        meaning: "The recipient gets more mail than Gmail allows at once.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[550],
        enhanced: &[Enhanced(5, 1, 1)],
        example: "550 5.1.1 The email account that you tried to reach does not exist.",
        verdict: Verdict::RefuseRecipient,
        meaning: "There is no such mailbox.",
        cure: "Check the spelling of the address in the program that sends, or map it with recipients.alias.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[550],
        enhanced: &[Enhanced(5, 2, 1)],
        example: "550 5.2.1 The email account that you tried to reach is disabled.",
        verdict: Verdict::RefuseRecipient,
        meaning: "The recipient's mailbox is disabled.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[452],
        enhanced: &[Enhanced(4, 2, 2)],
        example: "452 4.2.2 The recipient's inbox is out of storage space.",
        verdict: Verdict::RetryLater,
        meaning: "The recipient's mailbox is full.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[552],
        enhanced: &[Enhanced(5, 2, 2)],
        example: "552 5.2.2 The recipient's inbox is out of storage space and inactive.",
        verdict: Verdict::RefuseRecipient,
        meaning: "The recipient's mailbox is full, and nobody empties it.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[553],
        enhanced: &[Enhanced(5, 1, 2), Enhanced(5, 1, 3)],
        example: "553 5.1.2 We weren't able to find the recipient domain.",
        verdict: Verdict::RefuseRecipient,
        meaning: "The recipient is not an address that exists: its domain is not in the DNS, or it is no address at all.",
        cure: "Check the spelling of the address in the program that sends, or map it with recipients.alias.",
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[553],
        enhanced: &[Enhanced(5, 1, 7)],
        example: "553 5.1.7 The sender address is not a valid RFC 5321 address.",
        verdict: Verdict::RefuseMessage,
        meaning: "The sender is not an address.",
        cure: "Correct the sender in the program that sends.",
        ..ROW
    },
];
