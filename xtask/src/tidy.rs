//! `cargo xtask tidy`: holds the code to the house's rules: which room may use which, where each vendor lives, who prints, what words never do.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::shell::root;

/// Every room with what it may use, in the order of the map in `src/lib.rs`. Rooms that are not built yet have their rules already.
const ROOMS: [(&str, &[&str]); 19] = [
    ("model", &[]),
    ("dialect", &["model"]),
    ("plan", &["dialect", "model"]),
    ("digest", &["plan", "model"]),
    ("registry", &["plan", "model"]),
    ("sqlite", &["plan", "dialect", "model"]),
    ("postgres", &["plan", "model"]),
    ("store", &["postgres", "model"]),
    ("stack", &["model"]),
    ("sides", &["plan", "digest", "sqlite", "postgres", "model"]),
    ("migrate", &["sides", "plan", "digest", "sqlite", "postgres", "model"]),
    ("verify", &["sides", "plan", "digest", "sqlite", "postgres", "model"]),
    ("sync", &["migrate", "verify", "sides", "plan", "digest", "sqlite", "postgres", "model"]),
    ("bench", &["store", "sqlite", "postgres", "registry", "model"]),
    ("stats", &["postgres", "store", "model"]),
    ("monitor", &["stats", "store", "postgres", "model"]),
    ("doctor", &["stats", "store", "postgres", "model"]),
    ("render", &["migrate", "verify", "sync", "bench", "stats", "monitor", "doctor", "plan", "model"]),
    ("cli", &["*"]),
];

/// Pure: no I/O, no clock, no async.
const WORDS: [&str; 5] = ["model", "dialect", "plan", "digest", "registry"];

/// What only an impure room may say.
const IMPURE: [(&str, &str); 13] = [
    ("std::env", "the environment"),
    ("env::var", "the environment"),
    ("std::fs", "files"),
    ("std::net", "the network"),
    ("std::process", "processes"),
    ("std::thread", "threads"),
    ("tokio", "async"),
    ("async fn", "async"),
    ("async move", "async"),
    ("SystemTime", "the clock"),
    ("Instant::now", "the clock"),
    ("Timestamp::now", "the clock"),
    ("Zoned::now", "the clock"),
];

/// A vendor has one home; `store` pools tokio-postgres's connections.
const VENDORS: [(&str, &[&str]); 13] = [
    ("clap", &["cli"]),
    ("comfy_table", &["render"]),
    ("indicatif", &["render"]),
    ("rusqlite", &["sqlite"]),
    ("tokio_postgres", &["postgres", "store"]),
    ("refinery", &["postgres"]),
    ("deadpool", &["store"]),
    ("deadpool_postgres", &["store"]),
    ("redis", &["store"]),
    ("axum", &["monitor"]),
    ("hyper", &["monitor"]),
    ("hyper_util", &["monitor"]),
    ("serde_saphyr", &["monitor"]),
];

/// `main` and the face's printer talk; everybody else returns what there is to say.
const PRINTERS: [&str; 2] = ["render", "main"];
const PRINTS: [&str; 5] = ["println!", "print!", "eprintln!", "eprint!", "dbg!"];

/// Names that say nothing about what is in the file.
const EMPTY_NAMES: [&str; 8] = ["utils", "util", "common", "helpers", "helper", "types", "misc", "shared"];

/// A file nearing this many lines wants a second noun.
const LONG: usize = 600;

#[derive(Debug, PartialEq, Eq)]
struct Finding {
    file: String,
    line: usize,
    message: String,
}

pub fn run() -> Result<()> {
    let (findings, notes) = tidy(root())?;
    for note in notes {
        println!("note: {note}");
    }
    for Finding { file, line, message } in &findings {
        println!("{file}:{line}: {message}");
    }
    if !findings.is_empty() {
        bail!("{} against the rules of the house (src/lib.rs has the map)", findings.len());
    }
    Ok(())
}

/// What is against the rules, and what is only worth a note.
fn tidy(root: &Path) -> Result<(Vec<Finding>, Vec<String>)> {
    let (mut findings, mut notes) = (Vec::new(), Vec::new());
    let map = fs::read_to_string(root.join("src/lib.rs")).context("read src/lib.rs")?;
    for path in rust_files(&root.join("src"))? {
        let text = fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))?;
        let file = path.strip_prefix(root).unwrap_or(&path).display().to_string();
        findings.extend(check(&file, &text, |vendor| has_module(&path, vendor)));
        if let Some(room) = room_of(&file).filter(|room| is_folder(&file) && !map.contains(&format!("[`{room}`]"))) {
            findings.push(Finding { file: file.clone(), line: 1, message: format!("the room {room} is not on the map in src/lib.rs") });
        }
        let lines = text.lines().count();
        if lines > LONG {
            notes.push(format!("{file} has {lines} lines; does it hold a second noun?"));
        }
    }
    Ok((findings, notes))
}

/// The rules for one file. `is_module` says which names are modules of the file's own room, and so no vendors (`stack::redis`).
fn check(file: &str, text: &str, is_module: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut find = |line: usize, message: String| findings.push(Finding { file: file.to_string(), line, message });
    if !text.starts_with("//!") {
        find(1, "a file opens with `//!` and what it is for".to_string());
    }
    let stem = Path::new(file).file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    if EMPTY_NAMES.contains(&stem.as_str()) {
        find(1, format!("`{stem}` says nothing about what is in it"));
    }
    if stem == "tests" {
        return findings;
    }
    let code = code_of(text);
    let Some(room) = room_of(file) else { return findings };
    let allowed = ROOMS.iter().find(|(name, _)| *name == room).map(|(_, allowed)| *allowed);
    match allowed {
        None if !matches!(room, "lib" | "main") => {
            find(1, format!("the room {room} has no arrows: say in xtask/src/tidy.rs what it may use"));
        }
        None | Some(["*"]) => {}
        Some(allowed) => {
            for (offset, used) in rooms_used(&code, file) {
                if used != room && !allowed.contains(&used.as_str()) {
                    let may = if allowed.is_empty() { "nothing".to_string() } else { allowed.join(", ") };
                    find(line_at(&code, offset), format!("{room} may use {may}; not {used}"));
                }
            }
        }
    }
    for (vendor, homes) in VENDORS {
        if !homes.contains(&room) && !is_module(vendor) {
            for offset in paths_from(&code, vendor) {
                find(line_at(&code, offset), format!("{vendor} lives in {}; {room} goes through it", homes.join(" and ")));
            }
        }
    }
    if !PRINTERS.contains(&room) {
        for (offset, macro_name) in PRINTS.iter().flat_map(|name| words(&code, name).map(move |offset| (offset, name))) {
            find(line_at(&code, offset), format!("{macro_name} outside render and main: return it, or send an Event"));
        }
    }
    if room != "main" {
        for offset in words(&code, "process::exit") {
            find(line_at(&code, offset), "process::exit outside main: return an Exit or an error".to_string());
        }
    }
    if WORDS.contains(&room) {
        for (text, what) in IMPURE {
            for offset in words(&code, text) {
                find(line_at(&code, offset), format!("{room} is a word, and knows nothing of {what} ({text})"));
            }
        }
    }
    findings
}

/// `src/plan/build.rs` is of `plan`, `src/main.rs` of `main`.
fn room_of(file: &str) -> Option<&str> {
    let first = file.strip_prefix("src/")?.split('/').next()?;
    Some(first.strip_suffix(".rs").unwrap_or(first))
}

fn is_folder(file: &str) -> bool {
    file.matches('/').count() > 1
}

/// The rooms that the code names, by `crate::room`, `crate::{room, …}`, or by climbing out with `super::`; with where it does.
fn rooms_used(code: &str, file: &str) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for offset in words(code, "crate::") {
        used.extend(names_after(&code[offset + "crate::".len()..]).into_iter().map(|name| (offset, name)));
    }
    // How many `super::` lead from the file to the crate's root.
    let depth = file.matches('/').count() - usize::from(file.ends_with("/mod.rs"));
    let climb = "super::".repeat(depth);
    for offset in words(code, &climb) {
        used.extend(names_after(&code[offset + climb.len()..]).into_iter().map(|name| (offset, name)));
    }
    used.retain(|(_, name)| ROOMS.iter().any(|(room, _)| room == name));
    used
}

/// The first names of a path or of a group in braces.
fn names_after(code: &str) -> Vec<String> {
    let Some(group) = code.strip_prefix('{') else { return vec![identifier(code)] };
    let (mut names, mut depth, mut start) = (Vec::new(), 0, true);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = true,
            c if c.is_whitespace() => {}
            _ if start => {
                names.push(identifier(&group[at..]));
                start = false;
            }
            _ => {}
        }
    }
    names
}

fn identifier(code: &str) -> String {
    code.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// Where `vendor::…` or `use vendor` begins a path.
fn paths_from<'a>(code: &'a str, vendor: &'a str) -> impl Iterator<Item = usize> + 'a {
    words(code, vendor).filter(move |offset| {
        let (before, after) = (&code[..*offset], &code[offset + vendor.len()..]);
        let is_path = after.starts_with("::") || (before.ends_with("use ") && after.starts_with([';', ' ']));
        is_path && (!before.ends_with("::") || before.ends_with(" ::"))
    })
}

/// Where `text` stands as whole words.
fn words<'a>(code: &'a str, text: &'a str) -> impl Iterator<Item = usize> + 'a {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(text).map(|(offset, _)| offset).filter(move |offset| {
        let open_left = !code[..*offset].ends_with(is_word);
        let ends_in_word = text.ends_with(is_word);
        open_left && !(ends_in_word && code[offset + text.len()..].starts_with(is_word))
    })
}

fn line_at(code: &str, offset: usize) -> usize {
    code[..offset].matches('\n').count() + 1
}

/// The code without comments, texts and unit tests; lines keep their numbers.
fn code_of(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]\nmod tests").next().unwrap_or(text);
    let mut code = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let blank = blank_length(rest, code.ends_with(|c: char| c.is_alphanumeric() || c == '_'));
        if blank == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            code.extend(rest[..blank].chars().filter(|c| *c == '\n'));
            rest = &rest[blank..];
        }
    }
    code
}

/// How many bytes from here are a comment, a text or a character; 0 where code stands.
fn blank_length(rest: &str, in_word: bool) -> usize {
    let until = |end: &str, from: usize| rest[from..].find(end).map_or(rest.len(), |at| from + at + end.len());
    if rest.starts_with("//") {
        return rest.find('\n').unwrap_or(rest.len());
    }
    if rest.starts_with("/*") {
        return until("*/", 2);
    }
    if !in_word && (rest.starts_with("r\"") || rest.starts_with("r#")) {
        let hashes = rest[1..].chars().take_while(|c| *c == '#').count();
        if rest[1 + hashes..].starts_with('"') {
            return until(&format!("\"{}", "#".repeat(hashes)), 2 + hashes);
        }
    }
    if rest.starts_with('"') {
        return quoted_length(rest, '"');
    }
    // A character, and not a lifetime.
    let mut chars = rest.chars();
    if chars.next() == Some('\'') && (chars.next() == Some('\\') || chars.next() == Some('\'')) {
        return quoted_length(rest, '\'');
    }
    0
}

fn quoted_length(rest: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    rest.len()
}

fn has_module(path: &Path, name: &str) -> bool {
    let folder = path.parent().unwrap_or(path);
    folder.join(format!("{name}.rs")).exists() || folder.join(name).is_dir()
}

fn rust_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            files.extend(rust_files(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_house_is_tidy() {
        let (findings, _) = tidy(root()).unwrap();
        assert!(findings.is_empty(), "{findings:#?}");
    }

    /// What the rules say of a file, as `line: message`.
    fn said(file: &str, code: &str) -> Vec<String> {
        let findings = check(file, &format!("//! What it is for.\n{code}"), |_| false);
        findings.into_iter().map(|finding| format!("{}: {}", finding.line, finding.message)).collect()
    }

    #[test]
    fn an_arrow_that_is_not_on_the_map_is_found_however_it_is_written() {
        assert_eq!(said("src/plan/build.rs", "use crate::sqlite::Snapshot;"), ["2: plan may use dialect, model; not sqlite"]);
        assert_eq!(
            said("src/stats/io.rs", "use crate::{\n    model::{Name, migrate},\n    migrate::run,\n};"),
            ["2: stats may use postgres, store, model; not migrate"]
        );
        assert_eq!(
            said("src/verify/mod.rs", "fn f() { crate::migrate::run() }"),
            ["2: verify may use sides, plan, digest, sqlite, postgres, model; not migrate"]
        );
        assert_eq!(said("src/model/name.rs", "use super::super::plan::Plan;"), ["2: model may use nothing; not plan"]);
        assert_eq!(said("src/model/mod.rs", "use super::cli;"), ["2: model may use nothing; not cli"]);
        assert_eq!(said("src/render/plan.rs", "use crate::postgres::Address;").len(), 1, "the face never knows doors");
    }

    #[test]
    fn arrows_on_the_map_are_fine() {
        assert_eq!(said("src/plan/build.rs", "use crate::{dialect, model::Name, plan::convert};"), [""; 0]);
        assert_eq!(said("src/cli/migrate.rs", "use crate::stack::Stack;\nuse crate::verify;"), [""; 0]);
        assert_eq!(said("src/stack/pgbouncer.rs", "use super::postgres;"), [""; 0]);
    }

    #[test]
    fn comments_texts_and_unit_tests_are_not_code() {
        let code = "// crate::sqlite\n/* println!() */ const A: &str = \"crate::cli \\\" println!\"; const B: &str = r#\"\"crate::cli\"#;\n\
                    fn f<'a>(c: char) -> bool { c == '\"' || c == '\\'' }\n\n#[cfg(test)]\nmod tests {\n    use crate::sqlite;\n}\n";
        assert_eq!(said("src/model/name.rs", code), [""; 0]);
        assert_eq!(said("src/model/name/tests.rs", "use crate::sqlite;"), [""; 0]);
        assert_eq!(said("src/model/name.rs", "const A: char = '\"';\nuse crate::cli;"), ["3: model may use nothing; not cli"]);
    }

    #[test]
    fn a_vendor_stays_at_home() {
        assert_eq!(
            said("src/migrate/mod.rs", "use tokio_postgres::Row;"),
            ["2: tokio_postgres lives in postgres and store; migrate goes through it"]
        );
        assert_eq!(said("src/cli/mod.rs", "fn f() -> ::rusqlite::Connection"), ["2: rusqlite lives in sqlite; cli goes through it"]);
        assert_eq!(said("src/store/pool.rs", "use tokio_postgres::Client;\nuse redis::Client as Redis;"), [""; 0]);
        assert_eq!(said("src/postgres/tls.rs", "use tokio_postgres_rustls::MakeRustlsConnect;"), [""; 0]);
        let own = check("src/stack/mod.rs", "//! x\nfn f() { redis::stop() }", |name| name == "redis");
        assert_eq!(own, [], "a module of the room is no vendor");
    }

    #[test]
    fn only_the_face_prints_and_only_main_exits() {
        assert_eq!(
            said("src/sqlite/mod.rs", "fn f() { eprintln!(); }"),
            ["2: eprintln! outside render and main: return it, or send an Event"]
        );
        assert_eq!(said("src/render/ui.rs", "fn f() { println!(); }"), [""; 0]);
        assert_eq!(
            said("src/cli/mod.rs", "fn f() { std::process::exit(2) }"),
            ["2: process::exit outside main: return an Exit or an error"]
        );
    }

    #[test]
    fn words_are_pure() {
        assert_eq!(
            said("src/plan/mod.rs", "let now = Timestamp::now();"),
            ["2: plan is a word, and knows nothing of the clock (Timestamp::now)"]
        );
        assert_eq!(
            said("src/model/mod.rs", "use std::fs;\nlet v = env!(\"CARGO\");"),
            ["2: model is a word, and knows nothing of files (std::fs)"]
        );
        assert_eq!(said("src/sqlite/mod.rs", "let now = Instant::now();"), [""; 0]);
    }

    #[test]
    fn files_have_names_and_say_what_they_are_for() {
        assert_eq!(said("src/plan/utils.rs", ""), ["1: `utils` says nothing about what is in it"]);
        assert_eq!(check("src/plan/order.rs", "use x;", |_| false)[0].message, "a file opens with `//!` and what it is for");
        assert_eq!(said("src/attic/mod.rs", ""), ["1: the room attic has no arrows: say in xtask/src/tidy.rs what it may use"]);
    }
}
