//! A client that speaks over anything: TCP, a Unix socket, TLS.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use crate::program::{DEADLINE, device};

/// One conversation.
pub struct Talk<S> {
    pub stream: BufReader<S>,
}

/// A TCP connection that does not wait for ever.
pub fn tcp(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("the relay listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
    stream.set_write_timeout(Some(DEADLINE)).expect("a timeout can be set");
    stream
}

/// The same over a Unix socket.
pub fn unix(path: &Path) -> UnixStream {
    let stream = UnixStream::connect(path).expect("the relay listens");
    stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
    stream
}

impl<S: Read + Write> Talk<S> {
    pub fn over(stream: S) -> Talk<S> {
        Talk { stream: BufReader::new(stream) }
    }

    /// One reply with all its lines; what there is of it, where the relay closes the connection.
    pub fn hear(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line).unwrap_or_default();
            reply += &line;
            if read == 0 || line.get(3..4) != Some("-") {
                return reply.trim_end().to_owned();
            }
        }
    }

    pub fn write(&mut self, bytes: &[u8]) {
        let written = self.stream.get_mut().write_all(bytes).and_then(|()| self.stream.get_mut().flush());
        written.expect("the relay reads");
    }

    pub fn say(&mut self, command: &str) -> String {
        self.write(format!("{command}\r\n").as_bytes());
        self.hear()
    }

    /// Whether the relay says nothing more and closes the connection; waits for it.
    pub fn hears_the_end(&mut self) -> bool {
        let mut rest = Vec::new();
        // A connection closed over bytes that nobody read is reset.
        let _ = self.stream.read_to_end(&mut rest);
        rest.is_empty()
    }

    /// Hands a message in, without any greeting before.
    pub fn send(&mut self, subject: &str) {
        for command in ["MAIL FROM:<printer@nas.local>", "RCPT TO:<you@example.com>", "DATA"] {
            let reply = self.say(command);
            assert!(reply.starts_with(['2', '3']), "{command}: {reply}");
        }
        self.write(device::message(subject).as_bytes());
        let reply = self.say(".");
        assert!(reply.starts_with("250 "), "{reply}");
    }
}
