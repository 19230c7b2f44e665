//! What libpq's users have already said: its variables, service file and password file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::cli::settings::Environment;
use crate::model::Failure;
use crate::postgres::{Address, Parameters};

/// libpq's variables, and the parameter that each one sets.
const VARIABLES: [(&str, &str); 19] = [
    ("PGHOST", "host"),
    ("PGHOSTADDR", "hostaddr"),
    ("PGPORT", "port"),
    ("PGDATABASE", "dbname"),
    ("PGUSER", "user"),
    ("PGPASSWORD", "password"),
    ("PGPASSFILE", "passfile"),
    ("PGSERVICE", "service"),
    ("PGOPTIONS", "options"),
    ("PGAPPNAME", "application_name"),
    ("PGSSLMODE", "sslmode"),
    ("PGSSLNEGOTIATION", "sslnegotiation"),
    ("PGSSLROOTCERT", "sslrootcert"),
    ("PGSSLCERT", "sslcert"),
    ("PGSSLKEY", "sslkey"),
    ("PGCHANNELBINDING", "channel_binding"),
    ("PGCONNECT_TIMEOUT", "connect_timeout"),
    ("PGTARGETSESSIONATTRS", "target_session_attrs"),
    ("PGLOADBALANCEHOSTS", "load_balance_hosts"),
];

/// What says where a server is, and which database: never filled in from another source.
const PLACE: [&str; 4] = ["host", "hostaddr", "port", "dbname"];

/// The address that libpq's variables give; a service comes before the rest, as in libpq.
pub fn address(environment: &Environment) -> Result<Parameters> {
    let Some(service) = environment.get("PGSERVICE")? else { return variables(environment) };
    let mut parameters = Parameters::default();
    parameters.set("service", service, "PGSERVICE")?;
    Ok(parameters)
}

/// Whose address is completed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// libpq's own variables: all of them belong together.
    Libpq,
    /// Another one, which must not get its host or database from here.
    Other,
}

/// Completes an address with what its source left out, in libpq's order: a service, then libpq's variables.
pub fn complete(mut parameters: Parameters, source: Source, environment: &Environment) -> Result<Parameters> {
    if let Some(name) = parameters.get("service").map(str::to_string) {
        fill(&mut parameters, &service(environment, &name)?, true)?;
    } else if let Some(name) = environment.get("PGSERVICE")? {
        fill(&mut parameters, &service(environment, name)?, false)?;
    }
    fill(&mut parameters, &variables(environment)?, source == Source::Libpq)?;
    if let Some(file) = environment.in_home(".postgresql/root.crt").filter(|file| file.exists()) {
        parameters.set_default("sslrootcert", &file.display().to_string(), "~/.postgresql/root.crt")?;
    }
    Ok(parameters)
}

fn fill(parameters: &mut Parameters, from: &Parameters, place_too: bool) -> Result<()> {
    for (name, value, origin) in from.iter().filter(|(name, ..)| *name != "service" && (place_too || !PLACE.contains(name))) {
        parameters.set_default(name, value, origin)?;
    }
    Ok(())
}

fn variables(environment: &Environment) -> Result<Parameters> {
    let mut parameters = Parameters::default();
    for (variable, name) in VARIABLES {
        if let Some(value) = environment.get(variable)? {
            parameters.set(name, value, variable)?;
        }
    }
    Ok(parameters)
}

/// The parameters of one `[section]` of the service file.
fn service(environment: &Environment, wanted: &str) -> Result<Parameters> {
    let named = environment.get("PGSERVICEFILE")?.map(|file| environment.in_directory(file));
    let system = environment.get("PGSYSCONFDIR")?.map(|folder| Path::new(folder).join("pg_service.conf"));
    let files: Vec<PathBuf> = [named.or_else(|| environment.in_home(".pg_service.conf")), system].into_iter().flatten().collect();
    for file in &files {
        let text = match fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("read the service file {}", file.display())),
        };
        if let Some(parameters) = section(&text, wanted, file)? {
            return Ok(parameters);
        }
    }
    let looked: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    let message =
        format!("there is no service {wanted:?} in {}", if looked.is_empty() { "any file".to_string() } else { looked.join(" or ") });
    bail!(Failure::new("no_service", message).hint("PGSERVICEFILE names another service file."))
}

fn section(text: &str, wanted: &str, file: &Path) -> Result<Option<Parameters>> {
    let mut found: Option<Parameters> = None;
    let origin = format!("service {wanted}");
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            if found.is_some() {
                break;
            }
            if name == wanted {
                found = Some(Parameters::default());
            }
            continue;
        }
        let Some(parameters) = found.as_mut() else { continue };
        let place = || format!("read {} line {}", file.display(), number + 1);
        let Some((name, value)) = line.split_once('=') else {
            return Err(Failure::new("bad_setting", "a line is not key=value")).with_context(place);
        };
        if name.trim() == "service" {
            return Err(Failure::new("bad_setting", "a service cannot name a service")).with_context(place);
        }
        // As in libpq, the first of two wins.
        parameters.set_default(name.trim(), value.trim(), &origin).with_context(place)?;
    }
    Ok(found)
}

/// The password file's word for this address, unless somebody gave a password already.
pub fn password(address: &Address, environment: &Environment, warnings: &mut Vec<String>) -> Result<Option<(String, String)>> {
    if address.config.get_password().is_some() {
        return Ok(None);
    }
    let named = address.parameters.get("passfile").map(|file| environment.in_directory(file));
    let Some(file) = named.or_else(|| environment.in_home(".pgpass")) else { return Ok(None) };
    let text = match fs::read(&file) {
        Ok(text) => String::from_utf8_lossy(&text).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            warnings.push(format!("the password file {} cannot be read: {error}", file.display()));
            return Ok(None);
        }
    };
    if let Some(why) = is_open_to_others(&file)? {
        warnings.push(format!("the password file {} is passed over: {why}", file.display()));
        return Ok(None);
    }
    for (host, port) in address.endpoints() {
        // The file's name for this machine's own default socket is localhost.
        let host = if matches!(host.as_str(), "/tmp" | "/var/run/postgresql" | "/run/postgresql") { "localhost".to_string() } else { host };
        let wanted = [host.as_str(), &port.to_string(), address.database(), address.user()];
        for (number, line) in text.lines().enumerate() {
            if let Some(password) = password_of(line, wanted) {
                return Ok(Some((password, format!("{} line {}", file.display(), number + 1))));
            }
        }
    }
    Ok(None)
}

#[cfg(unix)]
fn is_open_to_others(file: &Path) -> Result<Option<&'static str>> {
    use std::os::unix::fs::MetadataExt as _;
    let found = fs::metadata(file).with_context(|| format!("look at the password file {}", file.display()))?;
    Ok(if !found.is_file() {
        Some("it is not a plain file")
    } else if found.mode() & 0o077 != 0 {
        Some("others may read it (chmod 600 makes it private)")
    } else {
        None
    })
}

#[cfg(not(unix))]
fn is_open_to_others(_file: &Path) -> Result<Option<&'static str>> {
    Ok(None)
}

/// `host:port:database:user:password`, where `*` is anything and a backslash takes the next character as it is.
fn password_of(line: &str, wanted: [&str; 4]) -> Option<String> {
    if line.starts_with('#') {
        return None;
    }
    let mut fields = vec![(String::new(), String::new())];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let at_password = fields.len() == 5;
        let (raw, field) = fields.last_mut()?;
        match character {
            ':' if !at_password => fields.push((String::new(), String::new())),
            '\\' => {
                raw.push('\\');
                field.push(characters.next().unwrap_or('\\'));
            }
            _ => {
                raw.push(character);
                field.push(character);
            }
        }
    }
    // An escaped star is a star.
    let matches = fields.len() == 5 && wanted.iter().zip(&fields).all(|(wanted, (raw, field))| raw == "*" || field == wanted);
    matches.then(|| fields.swap_remove(4).1).filter(|password| !password.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_file_reads_as_libpq_reads_it() {
        let wanted = ["db", "5432", "shop", "app"];
        assert_eq!(password_of("db:5432:shop:app:s3cret", wanted).as_deref(), Some("s3cret"));
        assert_eq!(password_of("*:*:*:app:with:colons", wanted).as_deref(), Some("with:colons"));
        assert_eq!(password_of(r"*:*:*:*:a\:b\\c", wanted).as_deref(), Some(r"a:b\c"));
        assert_eq!(password_of(r"\*:*:*:*:x", wanted), None);
        assert_eq!(password_of("db:5433:shop:app:x", wanted), None);
        assert_eq!(password_of("#db:5432:shop:app:x", wanted), None);
        assert_eq!(password_of("db:5432:shop", wanted), None);
        assert_eq!(password_of(r"\:\:1:*:*:*:x", ["::1", "5432", "shop", "app"]).as_deref(), Some("x"));
    }

    #[test]
    fn a_service_file_with_several_sections() {
        let text = "# ours\n[other]\nhost=x\n\n[prod]\nhost=db\nuser = app\nhost=late\n[prod]\nhost=twice\n";
        let parameters = section(text, "prod", Path::new("f")).unwrap().unwrap();
        assert_eq!(parameters.iter().map(|(name, value, _)| (name, value)).collect::<Vec<_>>(), [("host", "db"), ("user", "app")]);
        assert_eq!(parameters.origin("host"), Some("service prod"));
        assert!(section(text, "none", Path::new("f")).unwrap().is_none());
    }

    #[test]
    fn a_damaged_service_file_says_the_line() {
        let error = section("[prod]\nhost=db\nhunter2", "prod", Path::new("f")).unwrap_err();
        assert_eq!(format!("{error:#}"), "read f line 3: a line is not key=value");
    }
}
