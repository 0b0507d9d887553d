//! Programs that send only what they want to send.

use mailparse::MailHeaderMap;

use super::desk::Desk;
use super::mails::{Kind, Mail};
use super::may_not_mount;
use super::program::{Gmail, Relay};
use super::table::is_left_out;

/// legacy-clients.md, case 145: with `require_tls: false` it gets through.
#[test]
fn alertmanager_sends_an_alert_without_tls() {
    if is_left_out("Alertmanager", "prometheus-alertmanager") {
        return;
    }
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let said = Desk::new(&relay).run("alertmanager.sh", &Mail::of(Kind::Text));
    if may_not_mount("Alertmanager", &said) {
        return;
    }
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.stdout.contains("Notify success"), "{said:?}");
    let received = gmail.wait_for(1).remove(0);
    let alert = mailparse::parse_mail(&received.content).expect("it can be parsed");
    let subject = alert.headers.get_first_value("Subject").expect("there is a subject");
    assert!(subject.contains("ToBeMailed"), "{subject}");
    assert_eq!(received.recipients, ["you@example.com"]);
    relay.stop();
}

/// legacy-clients.md, section 3.3: curl stops where it hears 502.
#[test]
fn curl_without_an_upload_asks_about_the_recipient_and_is_content() {
    if is_left_out("curl", "curl") {
        return;
    }
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let said = Desk::new(&relay).run("curl-vrfy.sh", &Mail::of(Kind::Text));
    assert_eq!(said.status, 0, "{said:?}");
    assert!(said.stdout.starts_with("252 "), "{said:?}");
    relay.stop();
    assert_eq!(gmail.counts().messages, 0);
}

/// The whole way of cron's mail: the daemon, `/usr/sbin/sendmail` as it calls it, and `root` as the recipient.
#[test]
fn cron_mails_what_a_job_says() {
    if is_left_out("cron", "cron") {
        return;
    }
    let gmail = Gmail::start();
    let mut relay = Relay::start_new(&gmail);
    let said = Desk::new(&relay).run("cron.sh", &Mail::of(Kind::Text));
    if may_not_mount("cron", &said) {
        return;
    }
    assert_eq!(said.status, 0, "{said:?}");
    let received = gmail.wait_for(1).remove(0);
    let mail = mailparse::parse_mail(&received.content).expect("it can be parsed");
    assert_eq!(received.recipients, ["root@example.com"]);
    let field = |name| mail.headers.get_first_value(name).unwrap_or_default();
    assert!(field("Subject").contains("echo 'Die Platte ist zu 97 % voll: Größe prüfen.'"), "{}", field("Subject"));
    assert!(field("From").contains("Cron Daemon") && field("From").contains("me@gmail.com"), "{}", field("From"));
    assert_eq!(mail.get_body().expect("it can be decoded").trim_end(), "Die Platte ist zu 97 % voll: Größe prüfen.");
    relay.stop();
}
