//! The stand-in for Gmail, driven by a real TLS client: its rules, its words and its faults on order.

#![allow(clippy::unwrap_used, reason = "the helpers of a test fail as the test does, by panicking")]

use std::io;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use smarthost::standin::{Certificate, Counts, Keep, Options, Rule, Standin, Tally, parse_rules};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

const PATIENCE: Duration = Duration::from_secs(10);
const GOOD: &str = "From: A <a@example.com>\r\nTo: b@example.com\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\
    Message-ID: <1@example.com>\r\nSubject: hello\r\n\r\nbody\r\n..stuffed\r\n.\r\n";

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A client that says lines and reads whole replies.
struct Client {
    stream: Box<dyn Stream>,
    unread: Vec<u8>,
}

fn trusting(standin: &Standin) -> ClientConfig {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(standin.ca_pem().as_bytes()).unwrap()).unwrap();
    ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth()
}

async fn tls<S: Stream + 'static>(standin: &Standin, stream: S) -> io::Result<Box<dyn Stream>> {
    let connector = TlsConnector::from(Arc::new(trusting(standin)));
    let name = ServerName::try_from("localhost").unwrap();
    Ok(Box::new(timeout(PATIENCE, connector.connect(name, stream)).await??))
}

impl Client {
    async fn implicit(standin: &Standin) -> io::Result<Client> {
        let socket = TcpStream::connect(("127.0.0.1", standin.ports().implicit)).await?;
        Ok(Client { stream: tls(standin, socket).await?, unread: Vec::new() })
    }

    async fn plain(standin: &Standin) -> Client {
        let socket = TcpStream::connect(("127.0.0.1", standin.ports().starttls)).await.unwrap();
        Client { stream: Box::new(socket), unread: Vec::new() }
    }

    /// Connected, greeted and logged in.
    async fn ready(standin: &Standin) -> Client {
        let mut client = Client::implicit(standin).await.unwrap();
        client.expect("220 smtp.gmail.com ESMTP ").await;
        client.ask("EHLO relay.example.net", "250").await;
        client.ask(&format!("AUTH PLAIN {}", token("me@gmail.com", "abcdefghijklmnop")), "235 2.7.0 Accepted").await;
        client
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
        self.stream.flush().await.unwrap();
    }

    /// One whole reply, its lines joined with `\n`; `None` when the connection ended.
    async fn reply(&mut self) -> Option<String> {
        loop {
            if let Some(end) = end_of_reply(&self.unread) {
                let reply: Vec<u8> = self.unread.drain(..end).collect();
                return Some(String::from_utf8_lossy(&reply).trim_end().replace("\r\n", "\n"));
            }
            let read = timeout(PATIENCE, self.stream.read_buf(&mut self.unread)).await.expect("an answer in time");
            if !matches!(read, Ok(count) if count > 0) {
                return None;
            }
        }
    }

    async fn expect(&mut self, start: &str) -> String {
        let reply = self.reply().await.unwrap_or_default();
        assert!(reply.starts_with(start), "{start:?} expected, got {reply:?}");
        reply
    }

    async fn ask(&mut self, line: &str, start: &str) -> String {
        self.send(format!("{line}\r\n")).await;
        self.expect(start).await
    }

    async fn is_closed(&mut self) -> bool {
        self.reply().await.is_none()
    }

    /// One message to `recipients`; returns the last reply.
    async fn submit(&mut self, recipients: &[&str], content: &str) -> Option<String> {
        let rcpts = recipients.iter().map(|to| format!("RCPT TO:<{to}>\r\n")).collect::<Vec<_>>().concat();
        self.send(format!("MAIL FROM:<a@example.com>\r\n{rcpts}DATA\r\n")).await;
        for _ in 0..=recipients.len() {
            self.expect("250").await;
        }
        self.expect("354").await;
        self.send(content).await;
        self.reply().await
    }
}

fn end_of_reply(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(length) = bytes[at..].windows(2).position(|pair| pair == b"\r\n") {
        let line = &bytes[at..at + length];
        at += length + 2;
        if line.get(3) != Some(&b'-') {
            return Some(at);
        }
    }
    None
}

fn token(user: &str, password: &str) -> String {
    STANDARD.encode(format!("\0{user}\0{password}"))
}

async fn start(options: Options) -> Standin {
    Standin::start(options).await.unwrap()
}

async fn scripted(rules: &str) -> Standin {
    start(Options { rules: parse_rules(rules).unwrap(), ..Options::default() }).await
}

#[tokio::test]
async fn a_message_goes_through_and_is_remembered_as_it_was_meant() {
    let standin = start(Options::default()).await;
    let mut client = Client::ready(&standin).await;
    client.ask("MAIL FROM:<a@example.com> SIZE=100 BODY=8BITMIME", "250 2.1.0 OK ").await;
    client.ask("RCPT TO:<b@example.com>", "250 2.1.5 OK ").await;
    client.ask("RCPT TO:<c@example.com>", "250 2.1.5 OK ").await;
    let go_ahead = client.ask("DATA", "354 Go ahead ").await;
    assert!(go_ahead.ends_with(" - gsmtp"));
    client.send(GOOD).await;
    client.expect("250 2.0.0 OK  1").await;
    client.ask("QUIT", "221 2.0.0 closing connection ").await;
    assert!(client.is_closed().await);

    standin.wait_for(1, PATIENCE).await.unwrap();
    let received = standin.received();
    assert_eq!(received[0].mail_from, "a@example.com");
    assert_eq!(received[0].mail_parameters, ["SIZE=100", "BODY=8BITMIME"]);
    assert_eq!(received[0].recipients, ["b@example.com", "c@example.com"]);
    assert!(received[0].content.ends_with(b"\r\n\r\nbody\r\n.stuffed\r\n"));
    assert_eq!(received[0].session, 1);
    let transcript = standin.transcripts().concat();
    assert!(transcript.contains("C: AUTH PLAIN ***\nS: 235 2.7.0 Accepted\n"), "{transcript}");
    assert!(!transcript.contains(&token("me@gmail.com", "abcdefghijklmnop")));
    standin.stop().await;
}

#[tokio::test]
async fn ehlo_lists_what_gmail_lists_before_and_after_tls() {
    let standin = start(Options { ipv6: true, ..Options::default() }).await;
    let mut client = Client::plain(&standin).await;
    client.expect("220 ").await;
    let before = client.ask("EHLO relay.example.net", "250-smtp.gmail.com at your service, [127.0.0.1]\n").await;
    assert!(before.contains("\n250-SIZE 35882577\n") && before.contains("STARTTLS") && !before.contains("AUTH"));
    client.ask("AUTH PLAIN x", "530 5.7.0 Must issue a STARTTLS").await;
    client.ask("MAIL FROM:<a@example.com>", "530 5.7.0 Must issue a STARTTLS").await;
    client.ask("STARTTLS now", "501 5.7.11").await;
    client.ask("STARTTLS", "220 2.0.0 Ready to start TLS").await;
    let mut client = Client { stream: tls(&standin, client.stream).await.unwrap(), unread: Vec::new() };
    client.ask("MAIL FROM:<a@example.com>", "503 5.5.1 EHLO/HELO first").await;
    let after = client.ask("EHLO relay.example.net", "250").await;
    assert!(after.contains("\n250-AUTH LOGIN PLAIN XOAUTH2 ") && !after.contains("STARTTLS"));
    assert!(after.ends_with("250 SMTPUTF8"));
    client.ask("STARTTLS", "454 5.5.1").await;
    client.ask("MAIL FROM:<a@example.com>", "530-5.5.1 Authentication Required").await;

    assert!(TcpStream::connect(("::1", standin.ports().implicit)).await.is_ok());
    standin.stop().await;
}

#[tokio::test]
async fn nothing_may_follow_starttls_or_data_unasked() {
    let standin = start(Options::default()).await;
    let mut client = Client::plain(&standin).await;
    client.expect("220").await;
    client.ask("EHLO relay.example.net", "250").await;
    client.send("STARTTLS\r\nEHLO injected\r\n").await;
    client.expect("454 4.5.0").await;
    assert!(client.is_closed().await);

    let mut client = Client::ready(&standin).await;
    client.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA\r\nFrom: early\r\n").await;
    client.expect("250").await;
    client.expect("250").await;
    client.expect("451 4.5.0").await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn login_is_right_or_refused_in_gmails_words() {
    let standin = start(Options::default()).await;
    let mut client = Client::implicit(&standin).await.unwrap();
    client.expect("220").await;
    client.ask("EHLO relay.example.net", "250").await;
    let refused = client.ask(&format!("AUTH PLAIN {}", token("me@gmail.com", "wrong")), "535-5.7.8 Username").await;
    assert!(refused.contains("\n535 5.7.8  https://support.google.com/mail/?p=BadCredentials "), "{refused}");
    client.ask("AUTH PLAIN !", "501 5.5.2").await;
    client.ask("AUTH CRAM-MD5", "504 5.7.4").await;
    client.ask("AUTH LOGIN bWU=", "535 5.5.4").await;
    client.ask("AUTH XOAUTH2 dXNlcj1tZQ==", "334 eyJzdGF0dXMi").await;
    client.ask("", "535-5.7.8").await;
    client.ask("AUTH PLAIN", "334").await;
    client.ask(&token("other@gmail.com", "abcd efgh ijkl mnop"), "535-5.7.8").await;
    client.ask("AUTH LOGIN", "334 VXNlcm5hbWU6").await;
    client.ask(&STANDARD.encode("ME@gmail.com"), "334 UGFzc3dvcmQ6").await;
    client.ask(&STANDARD.encode("abcd efgh ijkl mnop"), "235").await;
    client.ask("AUTH PLAIN", "503 5.7.0 No identity changes").await;
    let Counts { logins, failed_logins, .. } = standin.counts();
    assert_eq!((logins, failed_logins), (1, 6));
    let transcript = standin.transcripts().concat();
    assert!(!transcript.contains(&STANDARD.encode("abcd efgh ijkl mnop")), "{transcript}");
}

#[tokio::test]
async fn bad_names_in_ehlo_end_the_connection() {
    let standin = start(Options::default()).await;
    for (name, start) in [
        ("localhost", "421 4.7.0 Try again later, closing connection. (EHLO)"),
        ("[127.0.0.1]", "421 4.7.0"),
        ("my_host", "501 5.5.4 HELO/EHLO argument \"my_host\" invalid"),
        ("mantis.*", "501 5.5.4"),
        ("", "501 5.5.4 Empty"),
    ] {
        let mut client = Client::plain(&standin).await;
        client.expect("220").await;
        client.ask(&format!("EHLO {name}"), start).await;
        assert!(client.is_closed().await, "{name}");
    }
    let lenient = start(Options { refuse_localhost: false, ..Options::default() }).await;
    let mut client = Client::plain(&lenient).await;
    client.expect("220").await;
    client.ask("EHLO localhost", "250").await;
}

#[tokio::test]
async fn commands_are_judged_as_gmail_judges_them() {
    let leave_out = vec!["SMTPUTF8".into()];
    let standin = start(Options { recipients_max: 2, leave_out, ..Options::default() }).await;
    let mut client = Client::ready(&standin).await;
    for (line, start) in [
        ("RCPT TO:<b@example.com>", "503 5.5.1 MAIL first"),
        ("DATA", "503 5.5.1 MAIL first"),
        ("MAIL FROM: <a@example.com>", "555-5.5.2 Syntax error"),
        ("MAIL FROM:a@example.com", "555-5.5.2"),
        ("MAIL FROM:<a@example.com> RET=HDRS", "555-5.5.2"),
        ("MAIL FROM:<a@example.com> SMTPUTF8", "555-5.5.2"),
        ("MAIL FROM:<a@example.com> SIZE=35882578", "552-5.2.3"),
        ("MAIL FROM:<a@>", "553 5.1.7"),
        ("MAIL FROM:<\u{e4}@example.com>", "553 5.1.7"),
        ("MAIL FROM:<> SIZE=1", "250 2.1.0"),
        ("MAIL FROM:<>", "503 5.5.1"),
        ("DATA", "503 5.5.1 RCPT first"),
        ("RCPT TO:<b@example.com> NOTIFY=NEVER", "555-5.5.2"),
        ("RCPT TO:<root>", "553 5.1.3"),
        ("RCPT TO:<root@localhost>", "553 5.1.2"),
        ("RCPT TO:<\"a > b\"@example.com>", "250 2.1.5"),
        ("RCPT TO:<c@example.com>", "250 2.1.5"),
        ("RCPT TO:<d@example.com>", "452-4.5.3"),
        ("RSET", "250 2.1.5 Flushed"),
        ("DATA", "503 5.5.1"),
        ("NOOP", "250 2.0.0 OK"),
        ("VRFY a", "252 2.1.5"),
        ("EXPN a", "502 5.5.1 Unrecognized command"),
        ("NOOP\rRSET", "502 5.5.1"),
        ("QUIT", "221 2.0.0"),
    ] {
        client.ask(line, start).await;
    }
}

#[tokio::test]
async fn what_the_relay_must_repair_is_refused_and_the_session_goes_on() {
    let standin = start(Options::default()).await;
    let mut client = Client::ready(&standin).await;
    for (from, to, words) in [
        ("Message-ID", "X-Message-ID", "Message-ID"),
        ("\r\nTo:", "\r\nBcc: x@example.com\r\nTo:", "Bcc"),
        ("body\r\n", "body\n", "An LF stands"),
        ("body", "b\u{f6}dy", "8-bit"),
        ("\nSubject", "\nSubject: a\r\nSubject", "multiple Subject"),
    ] {
        let reply = client.submit(&["b@example.com"], &GOOD.replace(from, to)).await.unwrap();
        assert!(reply.starts_with("550-5.7.1") && reply.contains(words), "{words}: {reply}");
    }
    let reply = client.submit(&["b@example.com"], GOOD).await.unwrap();
    assert!(reply.starts_with("250 2.0.0 OK"), "{reply}");
    let Counts { messages, refused, .. } = standin.counts();
    assert_eq!((messages, refused), (1, 5));
}

#[tokio::test]
async fn chunks_are_taken_as_they_are() {
    let standin = start(Options::default()).await;
    let mut client = Client::ready(&standin).await;
    let (first, second) = GOOD.strip_suffix(".\r\n").unwrap().split_at(31);
    client
        .send(format!("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nBDAT {}\r\n{first}", first.len()))
        .await;
    for _ in 0..3 {
        client.expect("250").await;
    }
    client.ask("DATA", "503 5.5.1 Bad sequence of commands: DATA after BDAT").await;
    client.send(format!("BDAT {} LAST\r\n{second}NOOP\r\n", second.len())).await;
    client.expect("250 2.0.0 OK  ").await;
    client.expect("250 2.0.0 OK ").await;
    assert_eq!(standin.received()[0].content, format!("{first}{second}"));
}

#[tokio::test]
async fn an_idle_client_and_a_chatty_one_are_shown_out() {
    let standin = start(Options { idle_timeout: Duration::from_millis(50), ..Options::default() }).await;
    let mut client = Client::ready(&standin).await;
    client.expect("451 4.4.2 Timeout - closing connection").await;
    assert!(client.is_closed().await);

    let standin = start(Options::default()).await;
    let mut client = Client::plain(&standin).await;
    client.expect("220").await;
    for _ in 0..20 {
        client.ask("NOOP", "250").await;
    }
    client.ask("NOOP", "554 5.7.0 Too Many Unauthenticated commands").await;
    assert!(client.is_closed().await);
}

#[tokio::test]
async fn rules_answer_in_place_of_gmail() {
    let standin =
        scripted("rcpt bad@ => 550 5.1.1 no such user\ndot times=1 => 550 5.4.5 Daily user sending limit").await;
    let mut client = Client::ready(&standin).await;
    client.ask("MAIL FROM:<a@example.com>", "250").await;
    client.ask("RCPT TO:<bad@example.com>", "550 5.1.1 no such user").await;
    client.ask("RSET", "250").await;
    assert_eq!(client.submit(&["b@example.com"], GOOD).await.unwrap(), "550 5.4.5 Daily user sending limit");
    assert!(client.submit(&["b@example.com"], GOOD).await.unwrap().starts_with("250"));
    assert_eq!(standin.counts().messages, 1);

    standin.script(parse_rules("mail => 421-4.7.0 one\\n421 4.7.0 two\ndot => 250 2.0.0 queued as 1").unwrap());
    client.ask("MAIL FROM:<a@example.com>", "421-4.7.0 one\n421 4.7.0 two").await;
    standin.script(parse_rules("dot => 250 2.0.0 queued as 1").unwrap());
    assert_eq!(client.submit(&["b@example.com"], GOOD).await.unwrap(), "250 2.0.0 queued as 1");
    assert_eq!(standin.counts().messages, 2);
}

#[tokio::test]
async fn a_connection_can_break_at_the_dot_in_three_ways() {
    for (rule, taken, answered) in [("close", 0, false), ("lose", 1, false), ("close after", 1, true)] {
        let standin = scripted(&format!("dot => {rule}")).await;
        let mut client = Client::ready(&standin).await;
        let reply = client.submit(&["b@example.com"], GOOD).await;
        assert_eq!(reply.is_some(), answered, "{rule}");
        assert!(client.is_closed().await, "{rule}");
        standin.wait_until(|counts| counts.closed == 1, PATIENCE).await.unwrap();
        assert_eq!(standin.counts().messages, taken, "{rule}");
    }
}

#[tokio::test]
async fn content_can_be_cut_off_and_answers_can_be_senseless() {
    let standin = scripted("data => cut 20").await;
    let mut client = Client::ready(&standin).await;
    assert_eq!(client.submit(&["b@example.com"], GOOD).await, None);
    assert_eq!(standin.counts().messages, 0);

    standin.script(parse_rules("rset => close 421 4.3.0 bye\nnoop => garbage").unwrap());
    let mut client = Client::ready(&standin).await;
    client.ask("NOOP", "\u{16}\u{3}\u{1}").await;
    client.ask("RSET", "421 4.3.0 bye").await;
    assert!(client.is_closed().await);

    standin.script(parse_rules("noop => endless\nrset => endless line").unwrap());
    for line in ["NOOP\r\n", "RSET\r\n"] {
        let mut client = Client::ready(&standin).await;
        client.send(line).await;
        let mut flood = vec![0; 1_000_000];
        timeout(PATIENCE, client.stream.read_exact(&mut flood)).await.unwrap().unwrap();
        assert_eq!(end_of_reply(&flood), None, "{line:?}");
    }
}

#[tokio::test]
async fn a_silent_server_is_silent_and_a_slow_one_answers_a_group_at_once() {
    let standin = scripted("noop => silent").await;
    let mut client = Client::ready(&standin).await;
    client.send("NOOP\r\n").await;
    assert!(timeout(Duration::from_millis(100), client.reply()).await.is_err());
    drop(client);
    standin.wait_until(|counts| counts.closed == 1, PATIENCE).await.unwrap();

    standin.script(Vec::new());
    let mut client = Client::ready(&standin).await;
    standin.script(parse_rules("all delay=200ms").unwrap());
    let begin = Instant::now();
    client.send("MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nRCPT TO:<c@example.com>\r\nDATA\r\n").await;
    for start in ["250", "250", "250", "354"] {
        client.expect(start).await;
    }
    let elapsed = begin.elapsed();
    assert!(elapsed >= Duration::from_millis(200) && elapsed < Duration::from_millis(700), "{elapsed:?}");
}

#[tokio::test]
async fn faults_before_the_greeting() {
    let standin = scripted("connect => garbage").await;
    assert!(Client::implicit(&standin).await.is_err());
    standin.script(parse_rules("connect => close").unwrap());
    assert!(Client::implicit(&standin).await.is_err());
    standin.script(parse_rules("greeting starttls => close 554 5.7.1 no").unwrap());
    let mut client = Client::plain(&standin).await;
    client.expect("554 5.7.1 no").await;
    assert!(client.is_closed().await);
    Client::ready(&standin).await;
}

#[tokio::test]
async fn clients_notice_a_bad_certificate() {
    for certificate in [Certificate::Expired, Certificate::OtherName] {
        let standin = start(Options { certificate, ..Options::default() }).await;
        let Err(error) = Client::implicit(&standin).await else { panic!("{certificate:?} was trusted") };
        assert!(error.to_string().contains("certificate"), "{error}");
    }
    let (one, other) = (start(Options::default()).await, start(Options::default()).await);
    let socket = TcpStream::connect(("127.0.0.1", one.ports().implicit)).await.unwrap();
    assert!(tls(&other, socket).await.is_err(), "the authority of another start was trusted");
}

#[tokio::test]
async fn tls_sessions_are_resumed() {
    let standin = start(Options::default()).await;
    let connector = TlsConnector::from(Arc::new(trusting(&standin)));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let socket = TcpStream::connect(("127.0.0.1", standin.ports().implicit)).await.unwrap();
        let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), socket).await.unwrap();
        // The ticket of TLS 1.3 comes with the first data.
        stream.read_u8().await.unwrap();
        kinds.push(stream.get_ref().1.handshake_kind());
    }
    assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
}

#[tokio::test]
async fn counts_alone_keep_nothing_but_counts() {
    let standin = start(Options { keep: Keep::CountsOnly, ..Options::default() }).await;
    let mut client = Client::ready(&standin).await;
    for _ in 0..3 {
        assert!(client.submit(&["b@example.com", "c@example.com"], GOOD).await.unwrap().starts_with("250"));
    }
    let counts = standin.wait_for(3, PATIENCE).await.unwrap();
    let size = GOOD.len() as u64 - ".".len() as u64 - ".\r\n".len() as u64;
    assert_eq!((counts.messages, counts.recipients, counts.bytes), (3, 6, 3 * size));
    assert!(standin.received().is_empty() && standin.transcripts().is_empty());
    assert!(standin.wait_for(4, Duration::from_millis(20)).await.unwrap_err().to_string().contains("messages: 3"));
}

#[tokio::test]
async fn it_runs_until_told_to_stop() {
    let (announce, started) = tokio::sync::oneshot::channel();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn(smarthost::standin::run(
        Options::default(),
        |standin| {
            announce.send(standin.ports()).unwrap();
            Ok(())
        },
        async { stopped.await.unwrap() },
    ));
    let ports = started.await.unwrap();
    let _client = TcpStream::connect(("127.0.0.1", ports.implicit)).await.unwrap();
    stop.send(()).unwrap();
    assert_eq!(running.await.unwrap().unwrap().messages, 0);
    assert!(TcpStream::connect(("127.0.0.1", ports.implicit)).await.is_err());
}

#[tokio::test]
async fn messages_are_written_to_the_folder_before_they_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let standin = start(Options { folder: Some(folder.path().into()), ..Options::default() }).await;
    let mut client = Client::ready(&standin).await;
    client.submit(&["b@example.com"], GOOD).await.unwrap();
    let content = std::fs::read(folder.path().join("1.eml")).unwrap();
    assert_eq!(content, standin.received()[0].content);
    let json = std::fs::read(folder.path().join("1.json")).unwrap();
    let envelope: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(envelope["mail_from"], "a@example.com");
    assert_eq!(envelope["recipients"][0], "b@example.com");
    standin.write_ca(&folder.path().join("ca.pem")).unwrap();
    assert!(std::fs::read_to_string(folder.path().join("ca.pem")).unwrap().contains("BEGIN CERTIFICATE"));
}

#[tokio::test]
async fn every_second_message_is_told_of_as_it_arrives() {
    let (to, mut told) = tokio::sync::mpsc::unbounded_channel();
    let standin = start(Options { tally: Some(Tally { every: 2, to }), ..Options::default() }).await;
    let mut client = Client::ready(&standin).await;
    for _ in 0..5 {
        client.submit(&["b@example.com"], GOOD).await.unwrap();
    }
    for number in [2, 4] {
        let at = standin.received()[number - 1].at;
        assert_eq!(told.recv().await, Some((number as u64, at)));
    }
    assert!(told.try_recv().is_err());
}

#[tokio::test]
async fn dropping_it_ends_every_conversation() {
    let standin = start(Options::default()).await;
    let mut client = Client::ready(&standin).await;
    let ports = standin.ports();
    drop(standin);
    assert!(client.is_closed().await);
    assert!(TcpStream::connect(("127.0.0.1", ports.starttls)).await.is_err());
}

#[test]
fn rules_are_plain_values() {
    let rules: Vec<Rule> = parse_rules("dot times=1 => close").unwrap();
    assert_eq!(rules[0].times, Some(1));
    assert!(
        parse_rules("lunch => close").unwrap_err().to_string().starts_with("rule \"lunch => close\": the stage is")
    );
}
