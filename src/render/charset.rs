//! What a terminal can show: one whose locale is not UTF-8 (`LC_ALL=C`) is shown ASCII in place of our bars, lines, dashes and dots. A pipe stays as it is.
//! Other letters, as names and values have them, stay as they are.

use std::borrow::Cow;
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;

use crate::render::outlet::Stream;

/// Whether this stream is a terminal that is shown ASCII alone.
pub fn is_ascii(stream: Stream) -> bool {
    static ASCII: OnceLock<[bool; 2]> = OnceLock::new();
    let of = || {
        let is_utf8 = is_utf8(|name| std::env::var(name).ok());
        [io::stdout().is_terminal() && !is_utf8, io::stderr().is_terminal() && !is_utf8]
    };
    ASCII.get_or_init(of)[stream as usize]
}

/// The first that says anything holds; where none does, the locale is C.
fn is_utf8(variable: impl Fn(&str) -> Option<String>) -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(variable).find(|value| !value.is_empty());
    locale.is_some_and(|locale| {
        let locale = locale.to_ascii_lowercase();
        locale.contains("utf-8") || locale.contains("utf8")
    })
}

/// What this stream is given of a text.
pub fn shown_on(stream: Stream, text: &str) -> Cow<'_, str> {
    if is_ascii(stream) { ascii(text) } else { Cow::Borrowed(text) }
}

/// The same of lines that are as wide as the terminal: each character stays one.
pub fn drawn_on(stream: Stream, text: &str) -> Cow<'_, str> {
    if is_ascii(stream) { ascii_of_each(text) } else { Cow::Borrowed(text) }
}

fn ascii(text: &str) -> Cow<'_, str> {
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let mut said = String::with_capacity(text.len());
    let mut rest = text;
    // An ellipsis that is a word, between blanks; one that says that something was cut has no blank before it, or ends a line or a column.
    while let Some(at) = rest.find('…') {
        let (before, after) = (&rest[..at], &rest[at + '…'.len_utf8()..]);
        said.push_str(before);
        let begins = said.is_empty() || said.ends_with([' ', '\n']);
        let is_word = begins && after.starts_with(' ') && !after[1..].starts_with([' ', '\n']) && after.len() > 1;
        said.push_str(if is_word { "..." } else { "~" });
        rest = after;
    }
    said.push_str(rest);
    Cow::Owned(ascii_of_each(&said).into_owned())
}

fn ascii_of_each(text: &str) -> Cow<'_, str> {
    if text.is_ascii() { Cow::Borrowed(text) } else { Cow::Owned(text.chars().map(ascii_of).collect()) }
}

/// Of what we draw and write ourselves.
fn ascii_of(c: char) -> char {
    match c {
        '…' => '~',
        '–' | '—' => '-',
        '→' => '>',
        '×' => 'x',
        'µ' => 'u',
        '″' => '"',
        // A bar, its half, and what is left of it.
        '━' => '=',
        '╸' => '-',
        '░' => '.',
        // Eight heights.
        '▁' => '.',
        '▂' => ':',
        '▃' => '-',
        '▄' => '=',
        '▅' => '+',
        '▆' => '*',
        '▇' => '%',
        '█' => '#',
        c => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locale_is_utf8_by_the_first_that_says_anything() {
        let of = |all: &'static str, ctype: &'static str, lang: &'static str| {
            is_utf8(move |name| {
                let value = [("LC_ALL", all), ("LC_CTYPE", ctype), ("LANG", lang)].into_iter().find(|(there, _)| *there == name)?.1;
                (value != "unset").then(|| value.to_string())
            })
        };
        assert!(of("", "", "en_US.UTF-8") && of("C.utf8", "C", "C") && of("unset", "UTF-8", "C"));
        assert!(!of("C", "en_US.UTF-8", "en_US.UTF-8") && !of("unset", "unset", "unset") && !of("", "", "de_DE.ISO-8859-1"));
    }

    #[test]
    fn what_we_draw_has_a_form_in_ascii_and_names_stay() {
        assert_eq!(
            ascii("… and 3 more (--limit)\nALTER … ATTACH\nSELECT a, …\nabc…  5 µs  …  x"),
            "... and 3 more (--limit)\nALTER ... ATTACH\nSELECT a, ~\nabc~  5 us  ~  x"
        );
        assert_eq!(ascii("━━╸ ██░░ ▁▂▃▄▅▆▇█ größe"), "==- ##.. .:-=+*%# größe");
        assert_eq!(ascii_of_each("… and more, cut…"), "~ and more, cut~");
    }
}
