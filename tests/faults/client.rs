//! A client that the relay may leave at any moment. Every answer is `None` once it is gone.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use crate::program::DEADLINE;

/// A listener that ends in the middle of a handshake may leave the client connected to nobody: Linux does not tell it.
/// A relay that is there greets within the five seconds that clients may wait for a place.
const GREETING_DEADLINE: Duration = Duration::from_secs(7);

pub struct Client(BufReader<TcpStream>);

impl Client {
    /// Connects and says HELO. `None` also where the greeting is a refusal.
    pub fn connect(port: u16) -> Option<Client> {
        Client::speak(TcpStream::connect(("127.0.0.1", port)).ok()?)
    }

    /// The same, as a machine with this address.
    pub fn connect_from(ip: Ipv4Addr, port: u16) -> Option<Client> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).ok()?;
        socket.bind(&SocketAddr::from((ip, 0)).into()).ok()?;
        socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into()).ok()?;
        Client::speak(socket.into())
    }

    fn speak(stream: TcpStream) -> Option<Client> {
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.set_read_timeout(Some(GREETING_DEADLINE)).unwrap();
        if !matches!(stream.peek(&mut [0]), Ok(1..)) {
            return None;
        }
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut client = Client(BufReader::new(stream));
        let greeted = client.hear()? == 220 && client.say("HELO ups")? == 250;
        greeted.then_some(client)
    }

    /// The code of one reply.
    pub fn hear(&mut self) -> Option<u16> {
        let mut line = String::new();
        match self.0.read_line(&mut line) {
            Ok(_) => line.get(..3)?.parse().ok(),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("the relay neither answers nor goes away")
            }
            Err(_) => None,
        }
    }

    pub fn write(&mut self, bytes: &[u8]) -> Option<()> {
        self.0.get_mut().write_all(bytes).ok()
    }

    pub fn say(&mut self, line: &str) -> Option<u16> {
        self.write(format!("{line}\r\n").as_bytes())?;
        self.hear()
    }

    /// Says who gets a message, up to DATA; the code is 354, or that of a refusal.
    pub fn begin(&mut self, to: &str) -> Option<u16> {
        for command in ["MAIL FROM:<ups@example.org>".to_owned(), format!("RCPT TO:<{to}>")] {
            let code = self.say(&command)?;
            if code != 250 {
                return Some(code);
            }
        }
        self.say("DATA")
    }

    /// Sends a message; the code is that after the final dot, or that of an earlier refusal.
    pub fn send(&mut self, to: &str, content: &str) -> Option<u16> {
        match self.begin(to)? {
            354 => self.say(&format!("{content}.")),
            code => Some(code),
        }
    }
}

/// A message that can be told from all others, of so many bytes or a little more. What follows its header is the same
/// every time, so that it can be seen whether it arrived whole.
pub fn message(subject: &str, bytes: usize) -> String {
    format!("Subject: {subject}\r\n\r\n{}", body(subject, bytes))
}

pub fn body(subject: &str, bytes: usize) -> String {
    let lines = (0..).map(|number| format!("{subject}, line {number}: all work and no play\r\n"));
    let mut body = String::with_capacity(bytes + 100);
    lines
        .take_while(|line| {
            body.push_str(line);
            body.len() < bytes
        })
        .for_each(drop);
    body
}
