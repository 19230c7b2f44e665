//! The platform's own load: a registry's reads and writes in the proportions of the application, keys by Zipf's law.

use crate::bench::script::{Command, Draw, Keep, Names, Random, Script, Slot, Statement, Value};

/// The parameter of Zipf's law for services and for people: the most wanted of a thousand comes about 150 times in a thousand.
const ZIPF: f64 = 1.1;

/// What a parameter of an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Service,
    /// Two more services than the one before: for a batch.
    NextService(i64),
    User,
    Token,
    Probes,
    Group,
    Status,
    Cpu,
    Milliseconds,
    Healthy,
    Port,
    Url,
}

use Key::{Cpu, Group, Healthy, Milliseconds, NextService, Port, Probes, Service, Status, Token, Url, User};

struct Operation {
    name: &'static str,
    /// In hundredths of a per cent.
    weight: u32,
    /// In PostgreSQL, in SQLite where it differs, and the parameters.
    statements: &'static [(&'static str, Option<&'static str>, &'static [Key])],
}

macro_rules! sql {
    ($file:literal) => {
        include_str!(concat!("registry/", $file, ".sql"))
    };
}

const OPERATIONS: [Operation; 11] = [
    Operation { name: "session check", weight: 3000, statements: &[(sql!("session_check"), None, &[Token])] },
    Operation { name: "one service", weight: 2500, statements: &[(sql!("one_service"), None, &[Service])] },
    Operation { name: "health metrics", weight: 1300, statements: &[(sql!("health_metrics"), None, &[Service, Probes])] },
    Operation { name: "profile", weight: 1200, statements: &[(sql!("profile"), None, &[User])] },
    Operation { name: "list services", weight: 400, statements: &[(sql!("list_services"), None, &[])] },
    Operation { name: "list a group", weight: 200, statements: &[(sql!("list_group"), None, &[Group])] },
    Operation { name: "dashboard", weight: 500, statements: &[(sql!("dashboard"), Some(sql!("dashboard.sqlite")), &[User])] },
    Operation { name: "monitor loop", weight: 424, statements: &[(sql!("monitor_loop"), None, &[])] },
    Operation {
        name: "record a probe",
        weight: 400,
        statements: &[
            ("BEGIN", Some("BEGIN IMMEDIATE"), &[]),
            (sql!("insert_probe"), None, &[Service, Cpu, Milliseconds, Healthy]),
            (sql!("touch_service"), None, &[Milliseconds, Service]),
            ("COMMIT", None, &[]),
        ],
    },
    Operation { name: "edit a service", weight: 50, statements: &[(sql!("edit_service"), None, &[Port, Url, Service])] },
    Operation {
        name: "start or stop",
        weight: 26,
        statements: &[(sql!("start_or_stop"), Some(sql!("start_or_stop.sqlite")), &[Status, Service, NextService(1), NextService(2)])],
    },
];

/// The operations as scripts; `reads` leaves those out that write.
pub fn scripts(weight: u32, reads: bool, scale: u32, names: &mut Names, statements: &mut usize) -> Vec<Script> {
    let mut scripts = Vec::new();
    for operation in &OPERATIONS {
        let reads_only = operation.statements.iter().all(|(sql, ..)| sql.contains("SELECT") && !sql.contains("UPDATE"));
        if reads && !reads_only {
            continue;
        }
        let mut keys: Vec<Key> = operation.statements.iter().flat_map(|(_, _, keys)| keys.iter().copied()).collect();
        keys.sort_by_key(|key| matches!(key, NextService(_)));
        keys.dedup();
        let slots: Vec<(Key, Slot)> = keys.into_iter().map(|key| (key, names.set(&format!("registry {key:?}")))).collect();
        // A user is a UUID in PostgreSQL and a number in SQLite.
        let number = names.set("registry user number");
        let slot_of = |key: &Key| slots.iter().find(|(known, _)| known == key).map(|(_, slot)| *slot).expect("every key has its place");
        let draw = Draw::new({
            let slots = slots.clone();
            move |random, variables| fill(&slots, number, scale, random, variables)
        });
        let mut commands = vec![Command::Draw(draw)];
        for (sql, sqlite, keys) in operation.statements {
            let sqlite_slots = keys.iter().map(|key| if *key == User { number } else { slot_of(key) }).collect();
            let sqlite = sqlite.map_or_else(|| without_schema(sql), str::to_string);
            let mut statement = Statement::new(*statements, code_of(sql), keys.iter().map(slot_of).collect(), Keep::Nothing, reads_only);
            statement.sqlite = Some((code_of(&sqlite), sqlite_slots));
            commands.push(Command::Statement(statement));
            *statements += 1;
        }
        scripts.push(Script { name: operation.name.to_string(), weight: operation.weight * weight, commands, reads_only });
    }
    scripts
}

/// Without the comment that says what it answers.
fn code_of(sql: &str) -> String {
    let lines: Vec<&str> = sql.lines().filter(|line| !line.starts_with("--")).collect();
    lines.join("\n")
}

fn without_schema(sql: &str) -> String {
    sql.replace("candlefish_bench.", "")
}

fn fill(slots: &[(Key, Slot)], number: Slot, scale: u32, random: &mut Random, variables: &mut [Value]) {
    let (services, users) = (35 * i64::from(scale), 1000 * i64::from(scale));
    let mut service = 0;
    for (key, slot) in slots {
        variables[slot.index()] = match key {
            Service => {
                service = random.zipfian(1, services, ZIPF);
                Value::Int(service)
            }
            NextService(further) => Value::Int((service - 1 + further) % services + 1),
            User => {
                let user = random.zipfian(1, users, ZIPF);
                variables[number.index()] = Value::Int(user);
                Value::text(format!("75736572-7300-8000-8000-{user:012x}"))
            }
            Token => Value::text(token(random.zipfian(1, users, ZIPF))),
            // Of an hour, four hours, a day.
            Probes => Value::Int(match random.uniform(1, 20) {
                1 => 1440,
                2..=4 => 240,
                _ => 60,
            }),
            Group => {
                const GROUPS: [&str; 10] =
                    ["core", "candlefish", "monitoring", "pkb", "security", "temporal", "agents", "workflow", "ai", "control"];
                Value::text(GROUPS[random.uniform(0, 9) as usize])
            }
            Status => Value::text(if random.uniform(0, 1) == 0 { "running" } else { "stopped" }),
            Cpu => Value::Int(random.uniform(1, 100)),
            Milliseconds => Value::Int(random.exponential(1, 2000, 5.0)),
            Healthy => Value::Bool(random.uniform(1, 100) > 1),
            Port => Value::Int(random.uniform(3000, 9000)),
            Url => Value::text(format!("http://localhost:{}/health", random.uniform(3000, 9000))),
        };
    }
}

/// The hash of a session's token, as `fill_registry.sql` makes it.
fn token(session: i64) -> String {
    format!("{:08x}", session * 2_654_435_761 % 4_294_967_296).repeat(8)
}
