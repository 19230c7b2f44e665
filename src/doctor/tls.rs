//! Who can listen, and how passwords are kept.

use futures_util::FutureExt as _;

use crate::doctor::{Check, Found};
use crate::model::Cell;
use crate::postgres::SslMode;

pub const TLS: Check = Check {
    name: "tls",
    about: "what goes over a network is encrypted, and it is this server that answers",
    run: |patient| {
        async move {
            if patient.address.is_local() {
                return Ok(Found::ok("local", "the connection does not leave this machine"));
            }
            let answer = patient.observer.ask(include_str!("queries/session_tls.sql"), &[]).await?;
            let encrypted = answer.rows.first().and_then(|row| row.first()) == Some(&Cell::Bool(true));
            let mode = patient.address.tls.mode;
            Ok(match (encrypted, mode) {
                // A pooler may stand in between: then the server sees the pooler's own connection.
                (false, SslMode::Disable | SslMode::Allow | SslMode::Prefer) => Found::error(
                    "not encrypted",
                    "passwords and rows can be read on the way",
                    "Set ssl = on at the server, and sslmode=verify-full in the address.",
                ),
                (_, SslMode::VerifyFull) => Found::ok("verify-full", "the connection is encrypted, and the server's name was checked"),
                _ => Found::warning(
                    if encrypted { "encrypted, not checked" } else { "encrypted to a pooler, perhaps" },
                    "whoever answers at that address is believed",
                    "Set sslmode=verify-full, with sslrootcert where the authority is your own.",
                ),
            })
        }
        .boxed()
    },
};

pub const PASSWORDS: Check = Check {
    name: "passwords",
    about: "passwords are kept as SCRAM",
    run: |patient| {
        async move {
            let Some(method) = patient.setting("password_encryption").map(str::to_string) else {
                return Ok(patient.unseen("password_encryption"));
            };
            let remedy = format!("{}\n-- then set those passwords anew", patient.remedy("password_encryption", "'scram-sha-256'"));
            if matches!(method.as_str(), "md5" | "on") {
                return Ok(Found::warning(method, "new passwords are kept as MD5, which newer servers drop", remedy));
            }
            if !patient.knows(include_str!("queries/reads_passwords.sql"), "pg_authid").await? {
                return Ok(Found {
                    value: method,
                    ..Found::unknown(
                        "new passwords are kept as SCRAM; how the old ones are kept only a superuser can see",
                        "SELECT rolname FROM pg_authid WHERE rolpassword LIKE 'md5%'; -- as a superuser",
                    )
                });
            }
            let (count, names) = patient.names(include_str!("queries/weak_passwords.sql")).await?;
            Ok(if count > 0 {
                Found::warning(names, "these roles' passwords are kept as MD5", remedy)
            } else {
                Found::ok(method, "passwords are kept as SCRAM")
            })
        }
        .boxed()
    },
};
