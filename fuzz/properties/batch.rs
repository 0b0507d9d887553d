//! Messages in files (`queue import`): any file is read to its end or refused with the line, and what was read is
//! written so that it is read again.

use smarthost::cli::batch::{self, ContentReader, Head};
use smarthost::mail::stuffing::Stuffing;
use smarthost::mail::{MessageId, Timestamp};
use smarthost::spool::Restored;

use super::{assert_printable, choices};

pub fn holds(input: &[u8]) {
    let ([piece_bytes], mut file) = choices(input);
    let head = match batch::read_head(&mut file, usual()) {
        Ok(head) => head,
        Err(error) => return assert_printable(&error.to_string()),
    };
    assert!(!head.restored.submission.envelope.recipients.is_empty());
    let content = content_of(file, usize::from(piece_bytes) + 1);
    let Some(content) = content else { return };
    let written = write(&head, &content);
    let mut again = written.as_slice();
    assert_eq!(batch::read_head(&mut again, usual()).expect("what we wrote is read"), head);
    assert_eq!(content_of(again, 1000).as_deref(), Some(content.as_slice()), "content is altered");
}

fn usual() -> Restored {
    batch::unknown(MessageId::from_number(7), "home", Timestamp::UNIX_EPOCH)
}

/// `None` where the file ends too early.
fn content_of(file: &[u8], piece_bytes: usize) -> Option<Vec<u8>> {
    let mut reader = ContentReader::new(file);
    let mut content = Vec::new();
    loop {
        match reader.next(piece_bytes) {
            Ok(piece) if piece.is_empty() => return Some(content),
            Ok(piece) => content.extend(piece),
            Err(error) => {
                assert_printable(&error.to_string());
                return None;
            }
        }
    }
}

fn write(head: &Head, content: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    batch::write_head(&mut file, "relay.example.net", head).unwrap();
    batch::write_piece(&mut file, &mut Stuffing::default(), content).unwrap();
    batch::write_end(&mut file).unwrap();
    file
}
