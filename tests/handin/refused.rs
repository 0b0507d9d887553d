//! What cannot be taken, and how the caller learns it: by the status, and by one sentence.

use super::program::{Gmail, outcome_of};
use super::{TEXT, mailer, relay, sendmail};

#[test]
fn each_mistake_has_its_status_and_its_words() {
    let gmail = Gmail::start();
    let mut relay = relay(&gmail);
    relay.unset("SMARTHOST_DEFAULT_DOMAIN");
    let circle = "Received: from x\n".repeat(60) + TEXT;
    let many: Vec<String> = (0..1001).map(|number| format!("a{number}@example.org")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    for (arguments, text, status, words) in [
        (&[][..], TEXT, 64, "no recipient is given"),
        (&["-t"], TEXT, 64, "the header names no recipient"),
        (&["-t"], "", 64, "the header names no recipient"),
        (&["-t"], "To: undisclosed-recipients:;\n\nx\n", 64, "the header names no recipient"),
        (&["-bd"], TEXT, 64, "smarthost run"),
        (&["-q30m"], "", 64, "smarthost queue retry"),
        (&["-bt"], "", 64, "another mailer"),
        (&["-f"], TEXT, 64, "-f needs a value"),
        (&["root"], TEXT, 67, "root: 550 5.1.3"),
        (&["a@b@"], TEXT, 65, "a@b@: 5"),
        (&["a@example.org\r\nRCPT TO:<thief@example.org>"], TEXT, 65, "5.1.3"),
        (&["-f", "a\nb", "c@example.org"], TEXT, 65, "no address"),
        (&["a@example.org"], &circle, 65, "5.4.6"),
        (&many, TEXT, 65, "a1000@example.org: 452"),
    ] {
        let said = sendmail(&relay, arguments, text);
        let shown = &arguments[..arguments.len().min(3)];
        assert_eq!(said.status, status, "{shown:?}: {}", said.stderr);
        assert!(said.stdout.is_empty() && said.stderr.contains(words), "{shown:?}: {}", said.stderr);
    }
    let taken = relay.wait_for_queue(1);
    assert_eq!(taken[0]["to"].as_array().map(Vec::len), Some(1000), "those who fit get it");
}

#[test]
fn what_is_too_large_is_refused_and_what_just_fits_is_taken() {
    let gmail = Gmail::start();
    let mut relay = relay(&gmail);
    let large = |bytes: usize| [TEXT.as_bytes(), &b"0123456789abcde\n".repeat(bytes / 16)].concat();
    for bytes in [50_000_000, 100_000_000] {
        let said = outcome_of(mailer(&relay, &["root"], &large(bytes)));
        assert_eq!(said.status, 65, "{said:?}");
        assert!(said.stderr.contains("552 5.3.4"), "{said:?}");
    }
    relay.wait_for_queue(0);
    assert_eq!(outcome_of(mailer(&relay, &["root"], &large(20_000_000))).status, 0);
    assert!(relay.wait_for_queue(1)[0]["size"].as_u64().is_some_and(|size| size > 21_000_000));
    relay.start();
    assert!(gmail.wait_for(1)[0].content.ends_with(b"\r\n0123456789abcde\r\n"));
    relay.stop();
}

#[test]
fn a_configuration_that_is_wrong_is_told_without_its_secret() {
    let gmail = Gmail::start();
    let mut relay = relay(&gmail);
    relay.set("SMARTHOST_LISTEN", "localhost:1");
    relay.unset("GMAIL_APP_PASSWORD");
    let config =
        relay.write("other.toml", "[[account]]\nuser = 7\napp_password = \"very secret\"\n[limits]\nrecipients = 0\n");
    relay.set("SMARTHOST_CONFIG", &config.display().to_string());
    let said = sendmail(&relay, &["root"], TEXT);
    assert_eq!(said.status, 78, "{said:?}");
    assert!(said.stderr.contains("other.toml:5: limits.recipients"), "{said:?}");
    assert!(!said.stderr.contains("secret"), "{said:?}");
    // What is wrong with the account is the relay's affair: the message waits for it.
    relay.write("other.toml", "[[account]]\nuser = 7\napp_password = \"very secret\"\n");
    assert_eq!(sendmail(&relay, &["root"], TEXT).status, 0);
}
