//! Those that are compared: psql with ready-made rows, DuckDB, pgloader, candlefish.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use rusqlite::Connection;

use super::bed::{Bed, read};
use super::{Contestant, tiny};
use crate::{setup, shell};

const NAMES: [&str; 7] = ["copy", "duckdb", "pgloader", "section-data", "migrate", "tiny-psql", "tiny-migrate"];

/// All of them, or only those named; what they need is made and installed here.
pub fn all<'a>(bed: &'a Bed, scale: u32, only: &[String]) -> Result<Vec<Contestant<'a>>> {
    if let Some(unknown) = only.iter().find(|name| !NAMES.contains(&name.as_str())) {
        bail!("no {unknown} here; there are {}", NAMES.join(", "));
    }
    let wanted = |name: &str| only.is_empty() || only.iter().any(|only| only == name);
    let source = bed.registry(scale)?;
    let rows = count_rows(&source)?;
    let mut all = Vec::new();
    let dumps = if wanted("copy") { Some(Dumps::make(bed, &source, scale)?) } else { None };
    if let Some(dumps) = dumps.as_ref().filter(|_| wanted("copy")).cloned() {
        let ddl = dumps.tables.clone();
        all.push(Contestant {
            name: "copy".into(),
            about: "psql: one stream of \\copy from binary files, into tables without keys or indexes".into(),
            rows,
            prepare: Box::new(move |url| psql_file(bed, url, &ddl)),
            command: Box::new(move |url| file_of(bed, url, &dumps.copy)),
            check: None,
        });
    }
    if wanted("duckdb") {
        let (python, source, script) = (bed.python()?, source.clone(), shell::root().join("xtask/src/compare/copy_with_duckdb.py"));
        all.push(Contestant {
            name: "duckdb".into(),
            about: "DuckDB: CREATE TABLE … AS SELECT of every table; no keys, no indexes, no check".into(),
            rows,
            prepare: Box::new(|_| Ok(())),
            command: Box::new(move |url| {
                let mut command = bed.tool(&python);
                command.arg(&script).arg(&source).arg(url);
                command
            }),
            check: None,
        });
    }
    if wanted("pgloader") {
        setup::peers()?;
        let source = source.clone();
        all.push(Contestant {
            name: "pgloader".into(),
            about: "pgloader: tables, rows, keys, indexes; no check; foreign keys with orphans fail".into(),
            rows,
            prepare: Box::new(|_| Ok(())),
            command: Box::new(move |url| {
                let mut command = bed.tool("pgloader");
                command.arg(format!("sqlite://{}", source.display())).arg(url);
                command
            }),
            check: None,
        });
    }
    if wanted("section-data") && has_sections(bed) {
        let (source, prepared) = (source.clone(), source.clone());
        all.push(Contestant {
            name: "section-data".into(),
            about: "candlefish migrate --section data, into tables as copy has them, made by --section pre-data".into(),
            rows,
            prepare: Box::new(move |url| read(bed.migrate(&prepared, url, &["--section", "pre-data"])).map(|_| ())),
            command: Box::new(move |url| bed.migrate(&source, url, &["--section", "data"])),
            check: None,
        });
    }
    if wanted("migrate") {
        all.push(Contestant { name: "migrate".into(), ..whole(bed, scale)? });
    }
    all.extend(tiny_tables(bed, wanted)?);
    Ok(all)
}

/// The whole of `candlefish migrate`.
pub fn whole<'a>(bed: &'a Bed, scale: u32) -> Result<Contestant<'a>> {
    let source = bed.registry(scale)?;
    Ok(Contestant {
        name: format!("scale-{scale}"),
        about: "candlefish migrate: types from the values, rows, keys, indexes, foreign keys, statistics, every value verified".into(),
        rows: count_rows(&source)?,
        prepare: Box::new(|_| Ok(())),
        command: Box::new(move |url| bed.migrate(&source, url, &[])),
        check: None,
    })
}

fn tiny_tables<'a>(bed: &'a Bed, wanted: impl Fn(&str) -> bool) -> Result<Vec<Contestant<'a>>> {
    if !wanted("tiny-psql") && !wanted("tiny-migrate") {
        return Ok(Vec::new());
    }
    let (source, rows) = (tiny::write(&bed.folder)?, u64::from(tiny::TABLES * tiny::ROWS));
    let script = bed.file("tiny.sql");
    let url = bed.fresh_database("candlefish_dump")?;
    read(bed.migrate(&source, &url, &["--verify", "none"])).context("migrate the tiny tables for their dump")?;
    let dump = read(pg_dump(bed, &url, &[]))?;
    fs::write(&script, dump + "\nANALYZE;\n").context("write the dump of the tiny tables")?;
    bed.drop_database("candlefish_dump")?;
    let psql = Contestant {
        name: "tiny-psql".into(),
        about: format!("psql: the same DDL, COPY, keys and ANALYZE of {} tables", tiny::TABLES),
        rows,
        prepare: Box::new(|_| Ok(())),
        command: Box::new(move |url| file_of(bed, url, &script)),
        check: None,
    };
    let migrate = Contestant {
        name: "tiny-migrate".into(),
        about: format!("candlefish migrate of {} tables with {} rows each", tiny::TABLES, tiny::ROWS),
        rows,
        prepare: Box::new(|_| Ok(())),
        command: Box::new(move |url| bed.migrate(&source, url, &[])),
        check: None,
    };
    Ok([psql, migrate].into_iter().filter(|contestant| wanted(&contestant.name)).collect())
}

fn has_sections(bed: &Bed) -> bool {
    bed.knows("--section").unwrap_or(false)
}

/// What was left out, and why.
pub fn notes(bed: &Bed) -> Result<Vec<String>> {
    let missing = || "this candlefish has no migrate --section: section-data was not measured".to_string();
    Ok(if bed.knows("--section")? { Vec::new() } else { vec![missing()] })
}

/// The rows of a registry as PostgreSQL gives them, in files, and two scripts: one makes the tables bare, one copies.
#[derive(Clone)]
struct Dumps {
    tables: PathBuf,
    copy: PathBuf,
}

impl Dumps {
    fn make(bed: &Bed, source: &Path, scale: u32) -> Result<Self> {
        let folder = bed.file("dumps");
        fs::create_dir_all(&folder).context("make the dumps' folder")?;
        let url = bed.fresh_database("candlefish_dump")?;
        read(bed.migrate(source, &url, &["--verify", "none"])).context("migrate the registry for its dumps")?;
        let tables = bed.file(&format!("tables-{scale}.sql"));
        fs::write(&tables, read(pg_dump(bed, &url, &["--section", "pre-data"]))?).context("write the tables' definitions")?;
        let biggest_first = "SELECT c.oid::regclass FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
            WHERE n.nspname = 'public' AND c.relkind = 'r' ORDER BY pg_table_size(c.oid) DESC, c.relname";
        let mut copy = String::new();
        for table in read(bed.psql(&url, &["-c", biggest_first]))?.lines() {
            let file = folder.join(format!("{table}.binary"));
            shell::run(&mut bed.psql(&url, &["-c", &format!("\\copy {table} to '{}' with (format binary)", file.display())]))?;
            copy += &format!("\\copy {table} from '{}' with (format binary)\n", file.display());
        }
        bed.drop_database("candlefish_dump")?;
        let script = bed.file(&format!("copy-{scale}.sql"));
        fs::write(&script, copy).context("write the script that copies")?;
        Ok(Dumps { tables, copy: script })
    }
}

/// Without what candlefish keeps for itself.
fn pg_dump(bed: &Bed, url: &str, words: &[&str]) -> std::process::Command {
    let mut command = bed.tool("pg_dump");
    command.args(["--no-owner", "--exclude-schema", "candlefish", "-d", url]).args(words);
    command
}

fn psql_file(bed: &Bed, url: &str, script: &Path) -> Result<()> {
    read(file_of(bed, url, script)).map(|_| ())
}

fn file_of(bed: &Bed, url: &str, script: &Path) -> std::process::Command {
    let mut psql = bed.psql(url, &["-f"]);
    psql.arg(script);
    psql
}

pub fn count_rows(source: &Path) -> Result<u64> {
    let connection = Connection::open(source)?;
    let mut tables = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'")?;
    let tables = tables.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    let count = |table: &String| connection.query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get::<_, i64>(0));
    tables.iter().try_fold(0, |sum, table| Ok(sum + u64::try_from(count(table).with_context(|| format!("count the rows of {table}"))?)?))
}

pub fn duckdb_version(bed: &Bed) -> Result<String> {
    let mut command = bed.tool(bed.folder.join("python/bin/python"));
    command.args(["-c", "import duckdb; print(duckdb.__version__)"]);
    read(command)
}

pub fn pgloader_version(bed: &Bed) -> Result<String> {
    let mut command = bed.tool("pgloader");
    command.arg("--version");
    let said = read(command)?;
    said.split('"').nth(1).map(str::to_string).context("pgloader says no version")
}
