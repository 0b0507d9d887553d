//! `smarthost explain`: what a reply of Gmail or another symptom means, what the relay does about it, and what the user
//! can do.

use std::fmt::Write as _;
use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use super::Failure;
use crate::mail::Reply;
use crate::upstream::symptoms::{self, SYMPTOMS};
use crate::upstream::verdict::{Row, Stage, is_known, judge_anywhere, rows};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The reply, as it stands in a log, "550 5.4.5 Daily user sending limit exceeded"; or an error, "Network is
    /// unreachable".
    #[arg(required_unless_present = "table", value_name = "TEXT", trailing_var_arg = true)]
    text: Vec<String>,
    /// Everything that is known, as a page in Markdown.
    #[arg(long, conflicts_with = "text")]
    table: bool,
}

/// What is told about a text.
struct Explanation {
    about: String,
    meaning: String,
    relay: String,
    cure: String,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    if options.table {
        return Ok(write!(io::stdout(), "{}", page())?);
    }
    let text = options.text.join(" ");
    let Explanation { about, meaning, relay, cure } = explain(&text).ok_or_else(|| unknown(&text))?;
    let mut out = io::stdout().lock();
    writeln!(out, "{about}\n\nMeaning    {meaning}\nThe relay  {relay}.")?;
    if !cure.is_empty() {
        writeln!(out, "Cure       {cure}")?;
    }
    Ok(())
}

fn unknown(text: &str) -> Failure {
    Failure::BadInput(format!(
        "nothing is known about \"{}\". Give the whole line that the other program shows: a reply of Gmail begins with three \
         digits, as 550 does, and an error has words such as \"Network is unreachable\". \
         `smarthost explain --table` lists all that is known",
        text.trim()
    ))
}

/// A reply that is known explains most; then a symptom, then Gmail's words without their code, then the code alone.
fn explain(text: &str) -> Option<Explanation> {
    let replies = read(text);
    let known = replies.iter().find(|reply| is_known(reply));
    if let Some(symptom) = symptoms::find(text, known.is_some()) {
        let about = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let (meaning, relay, cure) = (symptom.meaning.to_owned(), symptom.relay.to_owned(), symptom.cure.to_owned());
        return Some(Explanation { about, meaning, relay, cure });
    }
    let unknown = || replies.iter().find(|reply| is_surely_one(reply, text)).cloned();
    known.cloned().or_else(|| reply_with_words(text)).or_else(unknown).map(|reply| explain_reply(&reply))
}

/// Whether a reply that is not known is one at all: three digits stand in many sentences.
fn is_surely_one(reply: &Reply, text: &str) -> bool {
    let code = reply.code().to_string();
    reply.enhanced().is_some() || text.trim_start().starts_with(&code) || text.contains(&format!("\"{code} "))
}

fn explain_reply(reply: &Reply) -> Explanation {
    let judgement = judge_anywhere(reply);
    let decoded = decoded(reply).map_or_else(String::new, |words| format!("\n{words}"));
    Explanation {
        about: format!("{reply}{decoded}"),
        meaning: judgement.meaning.to_owned(),
        relay: judgement.verdict.action().into_owned(),
        cure: judgement.cure.to_owned(),
    }
}

/// What stands in a 334: the reasons for which a token was refused, in base64. People often paste the beginning only.
fn decoded(reply: &Reply) -> Option<String> {
    let coded: String = reply.text().chars().take_while(|c| c.is_ascii_alphanumeric() || "+/".contains(*c)).collect();
    let beginning = &coded[..coded.len() / 4 * 4];
    let bytes = STANDARD_NO_PAD.decode(&coded).or_else(|_| STANDARD_NO_PAD.decode(beginning));
    let words = String::from_utf8(bytes.ok().filter(|_| reply.code() == 334)?).ok()?;
    words.starts_with('{').then_some(words)
}

/// The replies that may stand in a line of a log. The lines of a long one may each begin with the code and a hyphen.
fn read(text: &str) -> Vec<Reply> {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || ['"', '='].contains(&c)).filter(|word| !word.is_empty()).collect();
    let codes = (0..words.len()).filter_map(|begin| Some((begin, code_of(words[begin])?.0)));
    codes.filter_map(|(begin, code)| reply_from(code, &words[begin..])).collect()
}

fn reply_from(code: &str, words: &[&str]) -> Option<Reply> {
    let rest = words.iter().map(|word| match code_of(word) {
        Some((again, rest)) if again == code => rest,
        _ => *word,
    });
    let rest: Vec<&str> = rest.filter(|word| !word.is_empty()).collect();
    // Python shows the words of a reply as b'…'.
    let rest = rest.join(" ");
    Some(Reply::received(code.parse().ok()?, rest.trim_start_matches("b'")))
}

/// The code that a word begins with, and what follows its hyphen (RFC 5321 §4.2: 465 and 587 are none, but ports).
fn code_of(word: &str) -> Option<(&str, &str)> {
    let word = word.trim_matches(|c| "()[],:;'".contains(c));
    let (code, rest) = word.split_at_checked(3)?;
    let digits = code.as_bytes();
    let is_code = digits.iter().all(u8::is_ascii_digit) && (b'2'..=b'5').contains(&digits[0]) && digits[1] <= b'5';
    (is_code && (rest.is_empty() || rest.starts_with('-'))).then_some((code, rest.trim_start_matches('-')))
}

/// The words that are enough to know a reply by.
const WORDS_MIN: usize = 12;

/// A reply whose words were given without its code.
fn reply_with_words(text: &str) -> Option<Reply> {
    let text = text.trim().to_lowercase();
    let is_meant = |row: &&Row| {
        let example = row.example.to_lowercase();
        row.words.iter().any(|words| words.len() >= WORDS_MIN && text.contains(words))
            || (text.len() >= WORDS_MIN && example.contains(&text))
    };
    read(rows().find(is_meant)?.example).into_iter().next()
}

/// `docs/replies.md`.
fn page() -> String {
    let mut page = "# Gmail's replies\n\n\
         What Gmail says, what it means, and what the relay does about it. The first row that fits counts; a reply that is in \
         no row counts by its first digit, and one that came before MAIL never refuses a message. \
         `smarthost explain \"REPLY\"` looks a reply up.\n\n\
         This page is written by `smarthost explain --table`.\n\n\
         | reply | said to | meaning | the relay | what you can do |\n| --- | --- | --- | --- | --- |\n"
        .to_owned();
    for row in rows() {
        let (example, action) = (row.example.replace('|', " "), row.verdict.action());
        let _ = writeln!(page, "| `{example}` | {} | {} | {action} | {} |", said_to(row), row.meaning, row.cure);
    }
    page += "\n## Symptoms that are no replies\n\n\
         What other programs, or your eyes, show. `smarthost explain \"Network is unreachable\"` looks these up too. Not all \
         of them can happen to smarthost itself; the table says so.\n\n\
         | you see | meaning | the relay | what you can do |\n| --- | --- | --- | --- |\n";
    for symptom in SYMPTOMS {
        let _ = writeln!(page, "| {} | {} | {} | {} |", symptom.example, symptom.meaning, symptom.relay, symptom.cure);
    }
    page
}

fn said_to(row: &Row) -> String {
    if row.stages.is_empty() {
        return "anything".to_owned();
    }
    row.stages.iter().map(Stage::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_is_found_wherever_it_stands() {
        let plain = read("550 5.4.5 Daily user sending limit exceeded").remove(0);
        for text in [
            "550-5.4.5 Daily user sending\n550 5.4.5 limit exceeded",
            "deferred id=6h0f5nv7sgmv8 reply=\"550 5.4.5 Daily user sending limit exceeded\"",
            "(550, b'5.4.5 Daily user sending limit exceeded",
        ] {
            assert_eq!(read(text).first(), Some(&plain), "{text}");
        }
        for text in ["", "hello", "5500 x", "42", "port 465", "587"] {
            assert_eq!(read(text), [], "{text}");
        }
    }

    #[test]
    fn what_a_token_was_refused_for_is_decoded() {
        let of = |text: &str| decoded(&read(text).remove(0));
        assert_eq!(of("334 eyJzdGF0dXMiOiI0MDAifQ==").as_deref(), Some("{\"status\":\"400\"}"));
        assert_eq!(of("334 eyJzdGF0dXMiOi…").as_deref(), Some("{\"status\""));
        assert_eq!(of("334 VXNlcm5hbWU6"), None, "it asks for the user");
        assert_eq!(of("535 eyJzdGF0dXMi"), None);
    }
}
