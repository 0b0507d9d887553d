//! What Gmail says about a message or a recipient (gmail.md, sections 5.4 and 5.5), and the 421 that no row knows.

use super::{LESS_AT_ONCE, MAIL, ROW, SEE_FIELDS, SPELLING};
use crate::mail::Enhanced;
use crate::upstream::verdict::{Row, Verdict};

pub(super) const ROWS: &[Row] = &[
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
    // Several of these in a row do not hold the account: one program with bad habits would stop the mail of all.
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
        cure: SPELLING,
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
        enhanced: &[Enhanced(5, 1, 2)],
        example: "553 5.1.2 We weren't able to find the recipient domain.",
        verdict: Verdict::RetryOnce,
        meaning: "The recipient's domain is not in the DNS, or the DNS did not answer Gmail.",
        cure: SPELLING,
        ..ROW
    },
    Row {
        stages: MAIL,
        codes: &[553],
        enhanced: &[Enhanced(5, 1, 3)],
        example: "553 5.1.3 The recipient address is not a valid RFC 5321 address.",
        verdict: Verdict::RefuseRecipient,
        meaning: "The recipient is not an address.",
        cure: SPELLING,
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
    // A 421 closes the connection whatever its words are, and most often because too much comes at once.
    Row {
        codes: &[421],
        example: "421 4.7.0 Try again later, closing connection.",
        verdict: Verdict::SlowAccount,
        meaning: "Gmail closes the connection for now.",
        cure: LESS_AT_ONCE,
        ..ROW
    },
];
