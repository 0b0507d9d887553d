//! An old device: one command, one reply, no TLS, no login.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};

use socket2::{Domain, Socket, Type};

use super::DEADLINE;

/// One connection to the relay.
#[derive(Debug)]
pub struct Device {
    stream: BufReader<TcpStream>,
}

impl Device {
    /// Connects and hears the greeting.
    pub fn connect(port: u16) -> Device {
        let mut device = Device::connect_without_listening(port);
        let greeting = device.hear();
        assert!(greeting.starts_with("220 "), "{greeting}");
        device
    }

    /// Connects from this address of the machine, and hears the greeting.
    pub fn connect_from(from: IpAddr, port: u16) -> Device {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("there are sockets");
        socket.bind(&SocketAddr::from((from, 0)).into()).expect("it is an address of ours");
        let relay = SocketAddr::from(([127, 0, 0, 1], port));
        socket.connect(&relay.into()).expect("the relay listens");
        let mut device = Device::over(socket.into());
        let greeting = device.hear();
        assert!(greeting.starts_with("220 "), "{greeting}");
        device
    }

    /// Connects; what is said first is left to be heard.
    pub fn connect_without_listening(port: u16) -> Device {
        Device::over(TcpStream::connect(("127.0.0.1", port)).expect("the relay listens"))
    }

    fn over(stream: TcpStream) -> Device {
        stream.set_read_timeout(Some(DEADLINE)).expect("a timeout can be set");
        stream.set_write_timeout(Some(DEADLINE)).expect("a timeout can be set");
        Device { stream: BufReader::new(stream) }
    }

    /// One reply with all its lines; what there is of it, where the relay closes the connection.
    pub fn hear(&mut self) -> String {
        let mut reply = String::new();
        loop {
            let mut line = String::new();
            let read = self.stream.read_line(&mut line).expect("the relay answers in time");
            reply += &line;
            if read == 0 || line.get(3..4) != Some("-") {
                return reply.trim_end().to_owned();
            }
        }
    }

    /// Whether the relay has closed the connection; waits for it.
    pub fn hears_the_end(&mut self) -> bool {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).is_ok() && rest.is_empty()
    }

    /// For what a device does to its connection, and not on it.
    pub fn stream(&mut self) -> &mut TcpStream {
        self.stream.get_mut()
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.get_mut().write_all(bytes).expect("the relay reads");
    }

    /// The same to a relay that may be gone.
    pub fn try_write(&mut self, bytes: &[u8]) {
        let _ = self.stream.get_mut().write_all(bytes);
    }

    /// Says a command, and returns the reply.
    pub fn say(&mut self, command: &str) -> String {
        self.write(format!("{command}\r\n").as_bytes());
        self.hear()
    }

    /// Says a command that must be obeyed.
    pub fn order(&mut self, command: &str) -> String {
        let reply = self.say(command);
        assert!(reply.starts_with(['2', '3']), "{command}: {reply}");
        reply
    }

    /// Sends a message up to DATA.
    pub fn begin(&mut self, from: &str, to: &[&str]) {
        self.order(&format!("MAIL FROM:<{from}>"));
        for to in to {
            self.order(&format!("RCPT TO:<{to}>"));
        }
        self.order("DATA");
    }

    /// Sends a message, which must be accepted; returns its id. `content` ends in CRLF, and no line of it begins with
    /// a dot.
    pub fn send(&mut self, from: &str, to: &[&str], content: &str) -> String {
        self.begin(from, to);
        self.write(content.as_bytes());
        let reply = self.order(".");
        reply.rsplit(' ').next().expect("the reply ends in the id").to_owned()
    }
}

/// What a printer sends: hardly a header, and a line of text.
pub fn message(subject: &str) -> String {
    format!("From: Printer <printer@nas.local>\r\nSubject: {subject}\r\n\r\nToner is low.\r\n")
}

/// Sends such a message over a connection of its own, from a sender that cannot receive.
pub fn send_one(port: u16, subject: &str, to: &[&str]) -> String {
    let mut device = Device::connect(port);
    device.order("HELO printer");
    let id = device.send("printer@nas.local", to, &message(subject));
    device.order("QUIT");
    id
}
