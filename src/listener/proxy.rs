//! The PROXY protocol, versions 1 and 2: how a proxy in front tells who the client is.
//! Source: "The PROXY protocol", by the makers of `HAProxy`, 2020, sections 2.1 and 2.2.
//!
//! Pure: takes what has come so far, and says whether that is a header. Whether the one who sent it is to be believed is
//! decided elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// More than any proxy sends. Version 1 ends within 107 bytes; version 2 may carry certificates and much else behind the
/// addresses.
pub const HEADER_BYTES_MAX: usize = 4096;

/// Of version 1, with its line end (section 2.1).
const LINE_BYTES_MAX: usize = 107;
/// How version 2 begins (section 2.2).
const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version and command, family and protocol, length.
const FIXED_BYTES: usize = 16;

/// What the bytes are so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// They may become a header.
    More,
    Header(Header),
    /// Not a header, and never will be.
    Nonsense(&'static str),
}

/// A whole header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who the client is; `None` where the proxy speaks for itself, as with health checks, or cannot say.
    pub client: Option<IpAddr>,
    /// How long it is; mail follows.
    pub bytes: usize,
}

/// Looks for a header at the start of `bytes`.
#[must_use]
pub fn hear(bytes: &[u8]) -> Heard {
    if starts_alike(bytes, SIGNATURE) {
        hear_version_2(bytes)
    } else if starts_alike(bytes, b"PROXY ") {
        hear_version_1(bytes)
    } else {
        Heard::Nonsense("no PROXY header")
    }
}

/// As far as there are bytes of both.
fn starts_alike(bytes: &[u8], start: &[u8]) -> bool {
    bytes.iter().zip(start).all(|(byte, wanted)| byte == wanted)
}

fn hear_version_1(bytes: &[u8]) -> Heard {
    let window = bytes.get(..LINE_BYTES_MAX).unwrap_or(bytes);
    let Some(end) = memchr::memmem::find(window, b"\r\n") else {
        return if window.len() < LINE_BYTES_MAX {
            Heard::More
        } else {
            Heard::Nonsense("a PROXY line that does not end")
        };
    };
    match str::from_utf8(&window[..end]).map_err(|_| MALFORMED_LINE).and_then(client_of_line) {
        Ok(client) => Heard::Header(Header { client, bytes: end + 2 }),
        Err(why) => Heard::Nonsense(why),
    }
}

const MALFORMED_LINE: &str = "a PROXY line that is malformed";

/// `PROXY TCP4 192.0.2.7 192.0.2.1 51000 25`, or `PROXY UNKNOWN` with anything behind.
fn client_of_line(line: &str) -> Result<Option<IpAddr>, &'static str> {
    let words: Vec<&str> = line.split(' ').collect();
    let ip = |word: &str| word.parse::<IpAddr>().map_err(|_| MALFORMED_LINE);
    let is_port = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit()) && word.parse::<u16>().is_ok();
    match words[..] {
        ["PROXY", "UNKNOWN", ..] => Ok(None),
        ["PROXY", family @ ("TCP4" | "TCP6"), source, target, port, target_port]
            if is_port(port) && is_port(target_port) =>
        {
            let (source, target) = (ip(source)?, ip(target)?);
            let fits = [source, target].iter().all(|ip| ip.is_ipv4() == (family == "TCP4"));
            if fits { Ok(Some(source)) } else { Err(MALFORMED_LINE) }
        }
        _ => Err(MALFORMED_LINE),
    }
}

fn hear_version_2(bytes: &[u8]) -> Heard {
    let Some(&[command, family, high, low]) = bytes.get(SIGNATURE.len()..).and_then(<[u8]>::first_chunk) else {
        return Heard::More;
    };
    let length = FIXED_BYTES + usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 {
        return Heard::Nonsense("a PROXY header of an unknown version");
    }
    if length > HEADER_BYTES_MAX {
        return Heard::Nonsense("a PROXY header that is far too long");
    }
    let Some(body) = bytes.get(FIXED_BYTES..length) else { return Heard::More };
    match client_of_body(command & 0x0f, family, body) {
        Ok(client) => Heard::Header(Header { client, bytes: length }),
        Err(why) => Heard::Nonsense(why),
    }
}

fn client_of_body(command: u8, family: u8, body: &[u8]) -> Result<Option<IpAddr>, &'static str> {
    const MALFORMED: &str = "a PROXY header that is malformed";
    match (command, family) {
        // LOCAL, and families that mean nothing to us: the addresses are to be skipped.
        (0, _) | (1, 0x00 | 0x31) => Ok(None),
        (1, 0x11) => {
            let ip = body.get(..12).and_then(<[u8]>::first_chunk::<4>).ok_or(MALFORMED)?;
            Ok(Some(Ipv4Addr::from(*ip).into()))
        }
        (1, 0x21) => {
            let ip = body.get(..36).and_then(<[u8]>::first_chunk::<16>).ok_or(MALFORMED)?;
            Ok(Some(Ipv6Addr::from(*ip).into()))
        }
        _ => Err(MALFORMED),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of version 2 with this command, family and body.
    fn version_2(command: u8, family: u8, body: &[u8]) -> Vec<u8> {
        let length = u16::try_from(body.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, body].concat()
    }

    fn tcp4() -> Vec<u8> {
        // With some bytes of an extension behind the addresses.
        version_2(0x21, 0x11, &[192, 0, 2, 7, 192, 0, 2, 1, 200, 0, 0, 25, 4, 0, 1, 9])
    }

    fn tcp6() -> Vec<u8> {
        let source: Ipv6Addr = "2001:db8::7".parse().unwrap();
        version_2(0x21, 0x21, &[&source.octets()[..], &[0; 16], &[200, 0, 0, 25]].concat())
    }

    fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
        vec![
            (b"PROXY TCP4 192.0.2.7 192.0.2.1 51000 25\r\n".to_vec(), Some("192.0.2.7")),
            (b"PROXY TCP6 2001:db8::7 ::1 51000 25\r\n".to_vec(), Some("2001:db8::7")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (tcp4(), Some("192.0.2.7")),
            (tcp6(), Some("2001:db8::7")),
            (version_2(0x20, 0x00, b""), None),
            (version_2(0x20, 0x11, &[0; 12]), None),
            (version_2(0x21, 0x00, &[1, 2, 3]), None),
            (version_2(0x21, 0x31, &[0; 216]), None),
        ]
    }

    #[test]
    fn a_header_is_heard_once_it_is_whole_whatever_follows() {
        for (header, client) in headers() {
            for end in 0..header.len() {
                assert_eq!(hear(&header[..end]), Heard::More, "{}", header[..end].escape_ascii());
            }
            let client = client.map(|ip| ip.parse().unwrap());
            let whole = Heard::Header(Header { client, bytes: header.len() });
            for behind in [&b""[..], b"EHLO x\r\n", b"\x16\x03\x01", b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n"] {
                assert_eq!(hear(&[&header, behind].concat()), whole, "{}", header.escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_no_header_is_never_taken_for_one() {
        for bytes in [
            &b"EHLO printer\r\n"[..],
            b"\x16\x03\x01\x02\x00",
            b"PROXY\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 51000\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 51000 25 \r\n",
            b"PROXY TCP4 192.0.2.7  192.0.2.1 51000 25\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 51000 +25\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.1 51000 65536\r\n",
            b"PROXY TCP4 2001:db8::7 ::1 51000 25\r\n",
            b"PROXY TCP6 192.0.2.7 192.0.2.1 51000 25\r\n",
            b"PROXY TCP4 192.0.2.007 192.0.2.1 51000 25\r\n",
            b"PROXY TCP5 192.0.2.7 192.0.2.1 51000 25\r\n",
            b"PROXY TCP4 192.0.2.7\n192.0.2.1 51000 25\r\n",
            b"PROXY TCP4 \xff 192.0.2.1 51000 25\r\n",
            b"proxy TCP4 192.0.2.7 192.0.2.1 51000 25\r\n",
            &[b"PROXY UNKNOWN ", &[b'x'; 200][..]].concat(),
            &version_2(0x11, 0x11, &[0; 12]),
            &version_2(0x22, 0x11, &[0; 12]),
            &version_2(0x21, 0x12, &[0; 12]),
            &version_2(0x21, 0x11, &[0; 11]),
            &version_2(0x21, 0x21, &[0; 35]),
            &version_2(0x21, 0x11, &[0; 5000]),
        ] {
            assert!(matches!(hear(bytes), Heard::Nonsense(_)), "{}", bytes.escape_ascii());
        }
    }

    /// No single byte that is wrong makes a header of it that says something else but an address, a port or a length.
    #[test]
    fn a_byte_that_is_wrong_never_makes_a_panic_or_a_header_longer_than_what_came() {
        for (header, _) in headers() {
            for at in 0..header.len() {
                for byte in 0..=255 {
                    let mut wrong = header.clone();
                    wrong[at] = byte;
                    if let Heard::Header(found) = hear(&wrong) {
                        assert!(found.bytes <= wrong.len(), "{}", wrong.escape_ascii());
                    }
                }
            }
        }
    }
}
