//! What makes a run of `migrate` resumable on the command line: the line that goes on with it, and what stops it.

use std::ffi::OsString;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cli::Exit;
use crate::cli::signals::Signals;
use crate::model::Failure;
use crate::postgres::Address;

/// The command line of this process as a shell takes it, without what only this call meant (`--resume`, `--section`, `--stop-after`, `--wait`) and without the
/// address's password. Words that are no UTF-8 are shown as well as they can be.
pub(super) fn command_line(words: impl IntoIterator<Item = OsString>, address: &Address) -> String {
    let mut line = vec!["candlefish".to_string()];
    let mut words = words.into_iter().skip(1).map(|word| word.to_string_lossy().into_owned());
    while let Some(word) = words.next() {
        match word.as_str() {
            "--section" | "--stop-after" | "--wait" => drop(words.next()),
            "--resume" => {}
            _ if ["--resume=", "--section=", "--stop-after=", "--wait="].iter().any(|start| word.starts_with(start)) => {}
            _ => line.push(quoted(&without_password(&word, address))),
        }
    }
    line.join(" ")
}

/// A word that names the server, without its password; any other as it is.
fn without_password(word: &str, address: &Address) -> String {
    let password = address.config.get_password().map(String::from_utf8_lossy).filter(|password| !password.is_empty());
    let Some(password) = password else { return word.to_string() };
    let encoded = percent_encoding::utf8_percent_encode(&password, percent_encoding::NON_ALPHANUMERIC).to_string();
    let names_it = |text: &str| text.contains("://") || text.contains("password");
    if !names_it(word) {
        return word.to_string();
    }
    let start = if word.starts_with("--to=") { "--to=" } else { "" };
    if word.contains(password.as_ref()) || word.contains(&encoded) || word.contains("password") || word.contains('@') {
        return format!("{start}{}", address.shown());
    }
    word.to_string()
}

/// As a shell takes it.
pub(super) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@,+%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.to_string() } else { format!("'{}'", word.replace('\'', "'\\''")) }
}

/// A failure that left something to go on with says how.
pub(super) fn hinted(mut error: anyhow::Error, go_on: &str) -> anyhow::Error {
    if let Some(failure) = error.downcast_mut::<Failure>()
        && failure.resumable
    {
        let go_on = format!("go on with: {go_on}");
        failure.hint = Some(match failure.hint.take() {
            Some(hint) => format!("{} Then {go_on}", hint.trim_end()),
            None => format!("When that is mended, {go_on}"),
        });
    }
    error
}

/// What ends a run before its end.
pub(super) struct Stop {
    pub(super) signals: Signals,
    deadline: Option<Instant>,
}

pub(super) enum Cause {
    Signal(u8),
    /// `--stop-after`
    Deadline,
}

impl Stop {
    /// From here on signals are ours; `after` is `--stop-after`.
    pub(super) fn listen(after: Option<Duration>) -> Result<Self> {
        Ok(Stop { signals: Signals::listen()?, deadline: after.map(|after| Instant::now() + after) })
    }

    pub(super) async fn wanted(&mut self) -> Cause {
        let deadline = self.deadline;
        let passed = async {
            match deadline {
                Some(deadline) => tokio::time::sleep_until(deadline.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            signal = self.signals.next() => Cause::Signal(signal),
            () = passed => Cause::Deadline,
        }
    }
}

impl Cause {
    /// A stop that was asked for beforehand is an answer, and not the good one: rows are missing.
    pub(super) fn exit(&self) -> Exit {
        match self {
            Cause::Signal(signal) => Exit::Signal(*signal),
            Cause::Deadline => Exit::Bad,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(address: &str, words: &[&str]) -> String {
        command_line(words.iter().map(OsString::from), &Address::parse(address, "--to").unwrap())
    }

    #[test]
    fn the_line_can_be_said_again_and_shows_no_password() {
        let url = "postgresql://app:hunter2@db/shop?sslmode=require";
        assert_eq!(line(url, &["x", "migrate", "my shop.db", url]), "candlefish migrate 'my shop.db' postgresql://app@db:5432/shop");
        let to = format!("--to={url}");
        let said = ["x", "migrate", "a.db", &to, "--resume=1", "--stop-after", "8m", "--existing", "*=keep"];
        assert_eq!(line(url, &said), "candlefish migrate a.db --to=postgresql://app@db:5432/shop --existing '*=keep'");
        let said = ["x", "migrate", "a.db", "--to", "host=db user=app password=hunter2 dbname=shop", "--resume"];
        assert_eq!(
            line("host=db user=app password=hunter2 dbname=shop", &said),
            "candlefish migrate a.db --to postgresql://app@db:5432/shop"
        );
        let plain = "postgresql://app@db/shop?sslmode=require";
        assert_eq!(line(plain, &["x", "migrate", "a.db", plain]), format!("candlefish migrate a.db '{plain}'"));
    }
}
