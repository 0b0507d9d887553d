//! `smarthost explain`: what a reply of Gmail means, what the relay does about it, and what the user can do.

use std::fmt::Write as _;
use std::io::{self, Write};

use super::Failure;
use crate::mail::Reply;
use crate::upstream::verdict::{Row, Stage, judge_anywhere, rows};

#[derive(Debug, clap::Args)]
pub struct Options {
    /// The reply, as it stands in the log: "550 5.4.5 Daily user sending limit exceeded".
    #[arg(required_unless_present = "table", value_name = "REPLY", trailing_var_arg = true)]
    reply: Vec<String>,
    /// All replies that are known, as a page in Markdown.
    #[arg(long, conflicts_with = "reply")]
    table: bool,
}

pub fn run(options: &Options) -> Result<(), Failure> {
    if options.table {
        return Ok(write!(io::stdout(), "{}", page())?);
    }
    let text = options.reply.join(" ");
    let reply = read(&text).ok_or_else(|| {
        Failure::BadInput(format!("\"{text}\" holds no reply: it begins with three digits, as 550 does"))
    })?;
    let judgement = judge_anywhere(&reply);
    let mut out = io::stdout().lock();
    writeln!(out, "{reply}\n")?;
    writeln!(out, "Meaning    {}", judgement.meaning)?;
    writeln!(out, "The relay  {}.", judgement.verdict.action())?;
    if !judgement.cure.is_empty() {
        writeln!(out, "Cure       {}", judgement.cure)?;
    }
    Ok(())
}

/// Finds the reply in a line of a log. The lines of a long one may each begin with the code and a hyphen.
fn read(text: &str) -> Option<Reply> {
    let words: Vec<&str> =
        text.split(|c: char| c.is_whitespace() || ['"', '='].contains(&c)).filter(|word| !word.is_empty()).collect();
    let begin = words.iter().position(|word| code_of(word).is_some())?;
    let (code, _) = code_of(words[begin])?;
    let rest = words[begin..].iter().map(|word| match code_of(word) {
        Some((again, rest)) if again == code => rest,
        _ => *word,
    });
    let rest: Vec<&str> = rest.filter(|word| !word.is_empty()).collect();
    Some(Reply::received(code.parse().ok()?, &rest.join(" ")))
}

/// The code that a word begins with, and what follows its hyphen.
fn code_of(word: &str) -> Option<(&str, &str)> {
    let (code, rest) = word.split_at_checked(3)?;
    let is_code = code.bytes().all(|b| b.is_ascii_digit()) && code.starts_with(['2', '3', '4', '5']);
    (is_code && (rest.is_empty() || rest.starts_with('-'))).then_some((code, rest.trim_start_matches('-')))
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
        let _ = writeln!(
            page,
            "| `{}` | {} | {} | {} | {} |",
            row.example.replace('|', " "),
            said_to(row),
            row.meaning,
            row.verdict.action(),
            row.cure
        );
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
        let plain = read("550 5.4.5 Daily user sending limit exceeded").unwrap();
        for text in [
            "550-5.4.5 Daily user sending\n550 5.4.5 limit exceeded",
            "deferred id=6h0f5nv7sgmv8 reply=\"550 5.4.5 Daily user sending limit exceeded\"",
        ] {
            assert_eq!(read(text).as_ref(), Some(&plain), "{text}");
        }
        for text in ["", "hello", "5500 x", "42"] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
