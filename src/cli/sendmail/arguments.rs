//! The command line of sendmail, as every program that sends mail writes it: cron, PHP, mailx, git.
//!
//! Pure. Letters may stand together (`-ti`), a value may stand with its letter or behind it (`-fme`, `-f me`), options and
//! recipients may be mixed, and `--` ends the options. Options that only other mailers have a use for are passed over; which of
//! them take a value is the union of what Sendmail, Postfix and Exim document in their manual pages.

/// What is wished for.
#[derive(Debug, PartialEq, Eq)]
pub enum Wish {
    /// Hand in what comes on standard input.
    Send(Sending),
    /// `-bs`: speak SMTP on standard input and output.
    Session,
    /// `-bp`: show what waits.
    Queue,
    /// `-bi`: nothing, since the aliases are in the configuration.
    Aliases,
    Help,
    /// Something that others do and we do not; the sentence says what to do instead.
    Refused(String),
}

/// How a message is to be handed in.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Sending {
    /// `-f`, `-r`: the sender of the envelope.
    pub from: Option<String>,
    /// `-F`: the name of the sender.
    pub full_name: Option<String>,
    /// `-t`: the header names recipients, too.
    pub read_recipients: bool,
    /// `-i`: a line with nothing but a dot is text like any other.
    pub keep_dots: bool,
    /// As they were given; each may be a list.
    pub recipients: Vec<String>,
}

/// The words that this program was called with, apart: those for the command line of ours, and what is said to a mailer.
#[derive(Debug, PartialEq, Eq)]
pub struct Call {
    pub ours: Vec<String>,
    /// Behind `sendmail`.
    pub mailers: Vec<String>,
    /// By one of the names that a mailer is called by.
    pub by_name: bool,
}

/// Reads how this program was called: by a name that packages link to mailers (bsd-mailx says `send-mail`), or as
/// `smarthost sendmail …`.
#[must_use]
pub fn call(words: &[String]) -> Call {
    let called = |ours: &[&str], mailers: &[String]| Call {
        ours: ours.iter().map(|&word| word.to_owned()).collect(),
        mailers: mailers.to_vec(),
        by_name: true,
    };
    let behind = words.get(1..).unwrap_or_default();
    match words.first().and_then(|name| name.rsplit('/').next()) {
        Some("sendmail" | "send-mail") => return called(&["smarthost", "sendmail"], behind),
        Some("mailq") => return called(&["smarthost", "queue", "list"], &[]),
        Some("newaliases") => return called(&["smarthost", "sendmail"], &["-bi".to_owned()]),
        _ => {}
    }
    let mut at = 1;
    while let Some(word) = words.get(at) {
        at += match word.as_str() {
            "sendmail" => {
                let (ours, mailers) = words.split_at(at + 1);
                return Call { ours: ours.to_vec(), mailers: mailers.to_vec(), by_name: false };
            }
            "-c" | "--config" | "--log" => 2,
            option if option.starts_with('-') => 1,
            _ => break,
        };
    }
    Call { ours: words.to_vec(), mailers: Vec::new(), by_name: false }
}

/// Whose value stands with the letter or is the next argument.
const WITH_VALUE: &str = "ABbCDefFhLMNOopRrVX";
/// Whose value can only stand with the letter, if there is one.
const WITH_VALUE_ATTACHED: &str = "dEJQqx";

/// Reads the arguments behind the name of the program.
#[must_use]
pub fn read(arguments: &[String]) -> Wish {
    let mut reader = Reader { sending: Sending::default(), other: None };
    let mut rest = arguments.iter().map(String::as_str);
    while let Some(argument) = rest.next() {
        match argument.strip_prefix('-') {
            Some("-help") => return Wish::Help,
            Some("-") => {
                reader.sending.recipients.extend(rest.by_ref().map(str::to_owned));
            }
            // Long options are of no mailer that we take the place of.
            Some(long) if long.starts_with('-') => {}
            Some(letters) if !letters.is_empty() => {
                if let Err(sentence) = reader.cluster(letters, &mut rest) {
                    return Wish::Refused(sentence);
                }
            }
            _ => reader.sending.recipients.push(argument.to_owned()),
        }
    }
    reader.other.unwrap_or(Wish::Send(reader.sending))
}

struct Reader {
    sending: Sending,
    /// What is wished for, where it is not to send.
    other: Option<Wish>,
}

impl Reader {
    /// Letters behind one hyphen.
    fn cluster<'a>(&mut self, letters: &'a str, rest: &mut impl Iterator<Item = &'a str>) -> Result<(), String> {
        for (at, letter) in letters.char_indices() {
            let attached = letters.get(at + letter.len_utf8()..).unwrap_or_default();
            if WITH_VALUE.contains(letter) {
                let value = if attached.is_empty() { rest.next() } else { Some(attached) };
                let value = value.ok_or_else(|| format!("the option -{letter} needs a value"))?;
                return self.option_with(letter, value);
            }
            if WITH_VALUE_ATTACHED.contains(letter) {
                return self.option_with(letter, attached);
            }
            self.option(letter);
        }
        Ok(())
    }

    fn option(&mut self, letter: char) {
        match letter {
            't' => self.sending.read_recipients = true,
            'i' => self.sending.keep_dots = true,
            'I' => self.other = Some(Wish::Aliases),
            _ => {}
        }
    }

    fn option_with(&mut self, letter: char, value: &str) -> Result<(), String> {
        match letter {
            'f' | 'r' => self.sending.from = Some(value.to_owned()),
            'F' => self.sending.full_name = Some(value.to_owned()),
            'o' if value == "i" => self.sending.keep_dots = true,
            'O' | 'o' if is_ignore_dots(value) => self.sending.keep_dots = true,
            'b' => self.mode(value)?,
            'q' => return Err(RUN_THE_QUEUE.to_owned()),
            _ => {}
        }
        Ok(())
    }

    fn mode(&mut self, value: &str) -> Result<(), String> {
        self.other = match value.chars().next() {
            Some('m') => None,
            Some('s') => Some(Wish::Session),
            Some('p') => Some(Wish::Queue),
            Some('i') => Some(Wish::Aliases),
            Some('d' | 'D') => return Err(RUN_THE_RELAY.to_owned()),
            _ => {
                return Err(format!("-b{value} is of another mailer; known here: -bm, -bs, -bp and -bi"));
            }
        };
        Ok(())
    }
}

/// The long name of `-i`.
fn is_ignore_dots(value: &str) -> bool {
    let (name, on) = value.split_once('=').unwrap_or((value, "true"));
    name.trim().eq_ignore_ascii_case("IgnoreDots") && on.trim().starts_with(['t', 'T', 'y', 'Y'])
}

const RUN_THE_QUEUE: &str = "-q: the relay works on the queue by itself while it runs (`smarthost run`); `smarthost queue retry --all` \
     tries everything at once";
const RUN_THE_RELAY: &str = "-bd: the relay is started with `smarthost run`";

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split_whitespace().map(|word| word.trim_matches('\'').to_owned()).collect()
    }

    fn sending(recipients: &str) -> Sending {
        Sending { recipients: words(recipients), ..Sending::default() }
    }

    fn from(sender: &str, sending: Sending) -> Sending {
        Sending { from: Some(sender.to_owned()), ..sending }
    }

    fn with_dots(sending: Sending) -> Sending {
        Sending { keep_dots: true, ..sending }
    }

    fn by_header(sending: Sending) -> Sending {
        Sending { read_recipients: true, ..sending }
    }

    #[test]
    fn what_programs_say_is_understood() {
        let named = |name: &str, sending| Sending { full_name: Some(name.to_owned()), ..sending };
        for (line, expected) in [
            ("", sending("")),
            ("root", sending("root")),
            // cron of Debian, PHP, PHP with additional parameters, git send-email, bsd-mailx, s-nail, Exim's habits.
            ("-FCronDaemon -i -B8BITMIME -oem root", named("CronDaemon", with_dots(sending("root")))),
            ("-t -i", with_dots(by_header(sending("")))),
            ("-t -i -fweb@example.org", from("web@example.org", with_dots(by_header(sending(""))))),
            ("-i -f me@example.org a@b.c d@e.f", from("me@example.org", with_dots(sending("a@b.c d@e.f")))),
            ("-i -- -odd@example.org root", with_dots(sending("-odd@example.org root"))),
            ("-oi -oem -odb -t", with_dots(by_header(sending("")))),
            ("-ti -r '' root", from("", with_dots(by_header(sending("root"))))),
            ("-f <> root", from("<>", sending("root"))),
            ("-itf me root", from("me", with_dots(by_header(sending("root"))))),
            // Recipients may stand anywhere.
            ("root -i", with_dots(sending("root"))),
            // Values of options that mean nothing here are no recipients.
            (
                "-O DeliveryMode=b -N never -R hdrs -V id -L tag -X log -h 3 -C cf -D out -A c -p x:y root",
                sending("root"),
            ),
            ("-OErrorMode=m -o IgnoreDots=true -B 7BIT -Ac -M x root", with_dots(sending("root"))),
            ("-v -G -U -n -m -s -d0.1 -Qreason -x -E -J root", sending("root")),
            ("-bm -v root", sending("root")),
            ("-bs -bm root", sending("root")),
            ("--verbose root", sending("root")),
            ("- root", Sending { recipients: words("- root"), ..Sending::default() }),
        ] {
            assert_eq!(read(&words(line)), Wish::Send(expected), "{line}");
        }
        assert_eq!(read(&["-F".into(), "Cron Daemon".into()]), Wish::Send(named("Cron Daemon", sending(""))));
    }

    #[test]
    fn a_mailer_is_called_by_its_name_or_as_a_command() {
        for (line, ours, mailers, by_name) in [
            ("/usr/sbin/sendmail -t -c x", "smarthost sendmail", "-t -c x", true),
            ("send-mail -i root", "smarthost sendmail", "-i root", true),
            ("/usr/bin/mailq -v", "smarthost queue list", "", true),
            ("newaliases", "smarthost sendmail", "-bi", true),
            ("smarthost sendmail -v --help", "smarthost sendmail", "-v --help", false),
            ("smarthost -c x -q --log json sendmail -q", "smarthost -c x -q --log json sendmail", "-q", false),
            ("smarthost --config=x sendmail", "smarthost --config=x sendmail", "", false),
            ("smarthost -c sendmail run", "smarthost -c sendmail run", "", false),
            ("smarthost help sendmail", "smarthost help sendmail", "", false),
            ("smarthost", "smarthost", "", false),
        ] {
            let expected = Call { ours: words(ours), mailers: words(mailers), by_name };
            assert_eq!(call(&words(line)), expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_sending_is_told_apart() {
        for (line, expected) in [
            ("-bs", Wish::Session),
            ("-b s", Wish::Session),
            ("-bp", Wish::Queue),
            ("-bi", Wish::Aliases),
            ("-I", Wish::Aliases),
            ("--help", Wish::Help),
            ("-bd -q30m", Wish::Refused(RUN_THE_RELAY.to_owned())),
            ("-q", Wish::Refused(RUN_THE_QUEUE.to_owned())),
            ("-q15m", Wish::Refused(RUN_THE_QUEUE.to_owned())),
            ("-t -f", Wish::Refused("the option -f needs a value".to_owned())),
        ] {
            assert_eq!(read(&words(line)), expected, "{line}");
        }
        let Wish::Refused(sentence) = read(&words("-bt")) else { panic!("no mailbox test is offered") };
        assert!(sentence.starts_with("-bt is of another mailer"));
    }
}
