//! What clients make of a text by themselves, before the relay sees it.

/// What comes of a text whose dots were not doubled: a second dot looks as if the protocol had added it.
pub fn one_dot_of_two(text: &str) -> String {
    text.replace("\n..", "\n.")
}

/// The same of one in which only the dots that stand alone were doubled, where lines end in CRLF.
pub fn no_dot_in_front(text: &str) -> String {
    text.split('\n')
        .map(|line| if line == "." { line } else { line.strip_prefix('.').unwrap_or(line) })
        .collect::<Vec<_>>()
        .join("\n")
}

/// What a generator of mailbox files does.
pub fn from_escaped(text: &str) -> String {
    text.replace("\nFrom ", "\n>From ")
}

/// Long lines in pieces, each but the first with something in front.
pub fn folded(text: &str, width: usize, indent: &str) -> String {
    let mut folded = String::new();
    for line in text.split_inclusive('\n') {
        let (mut rest, mut room) = (line, width);
        while rest.len() > room + 1 {
            let (piece, behind) = rest.split_at(room);
            folded = folded + piece + "\n" + indent;
            (rest, room) = (behind, width - indent.len());
        }
        folded += rest;
    }
    folded
}
