//! The clients. A row is a test.

use std::env;
use std::fs;
use std::process::Command;

use super::changes::{folded, from_escaped, no_dot_in_front, one_dot_of_two};
use super::desk;
use super::mails::Kind;

/// One mail program, or one library with a few lines that use it.
pub struct Client {
    pub name: &'static str,
    /// The Debian package it is from; `packages` lists it.
    pub package: &'static str,
    pub script: &'static str,
    /// What it cannot be made to send.
    pub lacks: &'static [Kind],
    pub many: Connections,
    /// Whether it sends a message of its own to each recipient.
    pub parts_recipients: bool,
    /// What it makes of the text by itself, before the relay sees it.
    pub text: fn(&str) -> String,
    /// In which ways it is made to use TLS: `TLS` of the script, nothing where it is told nothing.
    pub encryption: &'static [&'static str],
    pub upgrade: Upgrade,
    /// What a reader of the page should know.
    pub note: &'static str,
}

/// How many messages are sent.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Connections {
    /// One after the other, without hanging up.
    One,
    /// Each anew.
    Each,
    /// None: each is a call of `sendmail`.
    Calls,
}

/// When a client that was told nothing begins to use TLS.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Upgrade {
    Never,
    /// STARTTLS in the answer to EHLO is enough.
    WhereOffered,
}

const PLAIN: &[&str] = &[""];
const ALL: &[&str] = &["", "starttls", "implicit"];

const CLIENT: Client = Client {
    name: "",
    package: "",
    script: "",
    lacks: &[],
    many: Connections::One,
    parts_recipients: false,
    text: str::to_owned,
    encryption: &[],
    upgrade: Upgrade::Never,
    note: "",
};

/// The version of a package, as Debian counts; `None` where it is not here.
pub fn version(package: &str) -> Option<String> {
    if let Ok(version) = fs::read_to_string(desk::unpacked().join(package).join("version")) {
        return Some(version.trim().to_owned());
    }
    let asked = Command::new("dpkg-query").args(["-W", "-f=${db:Status-Status} ${Version}", package]).output();
    let answer = String::from_utf8_lossy(&asked.ok()?.stdout).into_owned();
    answer.strip_prefix("installed ").map(str::to_owned)
}

/// Whether `tests/run` said that it could not install it. A client that is missing for any other reason fails its test.
pub fn is_left_out(client: &str, package: &str) -> bool {
    if version(package).is_some() {
        return false;
    }
    let left_out = env::var("CLIENTS_LEFT_OUT").unwrap_or_default();
    let named = left_out.split_whitespace().any(|name| name == package);
    assert!(named, "{client} is not installed: tests/run gets it (the Debian package is {package})");
    eprintln!("skipped: {client} is not tested, for {package} could not be installed");
    true
}

/// Makes a list of the rows, and a test of each.
macro_rules! clients {
    ($($test:ident => $client:expr;)*) => {
        pub const CLIENTS: &[Client] = &[$($client),*];

        mod tests {
            use super::*;
            $(
                #[test]
                fn $test() {
                    crate::prove(&$client);
                }
            )*
        }
    };
}

clients! {
    swaks => Client {
        name: "swaks",
        package: "swaks",
        script: "swaks.sh",
        encryption: ALL,
        many: Connections::Each,
        ..CLIENT
    };
    curl_upload => Client {
        name: "curl --upload-file --crlf",
        package: "curl",
        script: "curl-upload.sh",
        encryption: ALL,
        ..CLIENT
    };
    curl_lf => Client {
        name: "curl --upload-file",
        package: "curl",
        script: "curl-lf.sh",
        text: one_dot_of_two,
        note: "without `--crlf` curl does not double dots where lines end in LF: of two dots in front of a line one is lost",
        ..CLIENT
    };
    curl_form => Client {
        name: "curl --form",
        package: "curl",
        script: "curl-form.sh",
        ..CLIENT
    };
    msmtp => Client {
        name: "msmtp",
        package: "msmtp",
        script: "msmtp.sh",
        encryption: ALL,
        many: Connections::Each,
        ..CLIENT
    };
    ssmtp => Client {
        name: "ssmtp",
        package: "ssmtp",
        script: "ssmtp.sh",
        many: Connections::Each,
        ..CLIENT
    };
    esmtp => Client {
        name: "esmtp",
        package: "esmtp",
        script: "esmtp.sh",
        many: Connections::Each,
        ..CLIENT
    };
    dma => Client {
        name: "dma",
        package: "dma",
        script: "dma.sh",
        many: Connections::Each,
        parts_recipients: true,
        text: |text| folded(text, 900, ""),
        note: "sends a message of its own to each recipient; refuses lines over 998 bytes, so they are folded before",
        ..CLIENT
    };
    nullmailer => Client {
        name: "nullmailer",
        package: "nullmailer",
        script: "nullmailer.sh",
        many: Connections::Each,
        ..CLIENT
    };
    postfix => Client {
        name: "Postfix, as `relayhost`",
        package: "postfix",
        script: "postfix.sh",
        many: Connections::Each,
        text: |text| folded(text, 998, " "),
        note: "breaks lines over 998 bytes, with a blank behind the break",
        ..CLIENT
    };
    exim => Client {
        name: "Exim, as smarthost",
        package: "exim4-daemon-light",
        script: "exim.sh",
        many: Connections::Each,
        note: "with `message_linelength_limit` raised; by default it returns mail with lines over 998 bytes",
        ..CLIENT
    };
    opensmtpd => Client {
        name: "OpenSMTPD, as `relay host`",
        package: "opensmtpd",
        script: "opensmtpd.sh",
        many: Connections::Each,
        text: |text| folded(text, 900, ""),
        note: "its own `sendmail` spoils a multipart message with lines over 998 bytes, so they are folded before",
        ..CLIENT
    };
    s_nail => Client {
        name: "s-nail",
        package: "s-nail",
        script: "s-nail.sh",
        many: Connections::Each,
        note: "with `smtp-auth=none`",
        ..CLIENT
    };
    mailutils => Client {
        name: "GNU Mailutils `mail`",
        package: "mailutils",
        script: "mailutils.sh",
        many: Connections::Each,
        ..CLIENT
    };
    mutt => Client {
        name: "mutt",
        package: "mutt",
        script: "mutt.sh",
        many: Connections::Each,
        note: "with `ssl_force_tls = no`",
        ..CLIENT
    };
    git_send_email => Client {
        name: "git send-email",
        package: "git-email",
        script: "git-send-email.sh",
        lacks: &[Kind::Attachment],
        ..CLIENT
    };
    sendemail => Client {
        name: "sendEmail",
        package: "sendemail",
        script: "sendemail.sh",
        many: Connections::Each,
        text: no_dot_in_front,
        note: "doubles only dots that stand alone: a dot in front of a line is lost",
        ..CLIENT
    };
    smtplib => Client {
        name: "Python smtplib, `send_message`",
        package: "python3",
        script: "python-smtplib.py",
        encryption: ALL,
        text: from_escaped,
        note: "writes `>From` at the beginning of a line",
        ..CLIENT
    };
    smtplib_bytes => Client {
        name: "Python smtplib, bytes with bare LF",
        package: "python3",
        script: "python-bytes.py",
        ..CLIENT
    };
    smtplib_str => Client {
        name: "Python smtplib, str",
        package: "python3",
        script: "python-str.py",
        lacks: &[Kind::Utf8],
        note: "takes ASCII only",
        ..CLIENT
    };
    django => Client {
        name: "Django",
        package: "python3-django",
        script: "python-django.py",
        encryption: ALL,
        ..CLIENT
    };
    aiosmtplib => Client {
        name: "aiosmtplib",
        package: "python3-aiosmtplib",
        script: "python-aiosmtplib.py",
        encryption: ALL,
        ..CLIENT
    };
    phpmailer => Client {
        name: "PHPMailer, kept alive",
        package: "libphp-phpmailer",
        script: "phpmailer.php",
        encryption: ALL,
        upgrade: Upgrade::WhereOffered,
        ..CLIENT
    };
    symfony => Client {
        name: "Symfony Mailer",
        package: "php-symfony-mailer",
        script: "symfony.php",
        encryption: ALL,
        upgrade: Upgrade::WhereOffered,
        ..CLIENT
    };
    nodemailer => Client {
        name: "Nodemailer",
        package: "node-nodemailer",
        script: "nodemailer.js",
        encryption: ALL,
        upgrade: Upgrade::WhereOffered,
        many: Connections::Each,
        ..CLIENT
    };
    nodemailer_pool => Client {
        name: "Nodemailer, pooled",
        package: "node-nodemailer",
        script: "nodemailer-pool.sh",
        ..CLIENT
    };
    net_smtp_perl => Client {
        name: "Perl Net::SMTP",
        package: "perl",
        script: "net-smtp.pl",
        encryption: ALL,
        ..CLIENT
    };
    email_sender => Client {
        name: "Perl Email::Sender",
        package: "libemail-sender-perl",
        script: "email-sender.pl",
        ..CLIENT
    };
    net_smtp_ruby => Client {
        name: "Ruby net/smtp",
        package: "ruby",
        script: "net-smtp.rb",
        encryption: ALL,
        upgrade: Upgrade::WhereOffered,
        ..CLIENT
    };
    mail_gem => Client {
        name: "Ruby mail",
        package: "ruby-mail",
        script: "mail.rb",
        ..CLIENT
    };
    javamail => Client {
        name: "JavaMail 1.6",
        package: "libmail-java",
        script: "javamail.sh",
        encryption: ALL,
        ..CLIENT
    };
    jakarta_mail => Client {
        name: "Jakarta Mail 2.0",
        package: "libjakarta-mail-java",
        script: "jakartamail.sh",
        encryption: ALL,
        ..CLIENT
    };
    go => Client {
        name: "Go net/smtp",
        package: "golang-go",
        script: "go.sh",
        encryption: PLAIN,
        upgrade: Upgrade::WhereOffered,
        ..CLIENT
    };
    mono => Client {
        name: ".NET SmtpClient, of Mono",
        package: "mono-mcs",
        script: "mono.sh",
        encryption: PLAIN,
        many: Connections::Each,
        ..CLIENT
    };
    lua => Client {
        name: "LuaSocket",
        package: "lua-socket",
        script: "socket.lua",
        many: Connections::Each,
        ..CLIENT
    };
    netcat => Client {
        name: "netcat, everything at once",
        package: "netcat-openbsd",
        script: "netcat.sh",
        ..CLIENT
    };
    sendmail_t => Client {
        name: "`sendmail -t`, a message as it is",
        package: "bash",
        script: "sendmail-t.sh",
        many: Connections::Calls,
        ..CLIENT
    };
    sendmail_bs => Client {
        name: "swaks, through `sendmail -bs`",
        package: "swaks",
        script: "sendmail-bs.sh",
        many: Connections::Calls,
        ..CLIENT
    };
    bsd_mailx => Client {
        name: "bsd-mailx, through `sendmail`",
        package: "bsd-mailx",
        script: "bsd-mailx.sh",
        lacks: &[Kind::Attachment],
        many: Connections::Calls,
        ..CLIENT
    };
    php_mail => Client {
        name: "PHP `mail()`, through `sendmail`",
        package: "php-cli",
        script: "mail.php",
        many: Connections::Calls,
        ..CLIENT
    };
    phpmailer_mail => Client {
        name: "PHPMailer through `mail()`, as in WordPress",
        package: "libphp-phpmailer",
        script: "phpmailer-mail.sh",
        many: Connections::Calls,
        ..CLIENT
    };
    mutt_sendmail => Client {
        name: "mutt, through `sendmail`",
        package: "mutt",
        script: "mutt-sendmail.sh",
        many: Connections::Calls,
        ..CLIENT
    };
    git_sendmail => Client {
        name: "git send-email, through `sendmail`",
        package: "git-email",
        script: "git-sendmail.sh",
        lacks: &[Kind::Attachment],
        many: Connections::Calls,
        ..CLIENT
    };
}
