//! The platform's own load: a registry's reads and writes in the proportions of the application, keys by Zipf's law.

use std::sync::Arc;

use crate::bench::script::{Command, Draw, Keep, Names, Place, Random, Script, Slot, Statement, Value};
use crate::model::ParamType::{self, Bool, Int8, Text, Uuid};
use crate::model::{Query, QueryKind};
use crate::registry::queries;

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

/// One thing that the application does.
struct Operation {
    /// In hundredths of a per cent.
    weight: u32,
    /// Its statement, with what the application says of it to the data layer: how long an answer is kept, under which tags, what a change makes old.
    query: Query,
    /// What its parameters are.
    keys: &'static [Key],
    /// Its statements in SQLite, where they differ.
    sqlite: &'static [(&'static str, &'static [Key])],
}

macro_rules! sql {
    ($file:literal) => {
        include_str!(concat!("registry/", $file, ".sql"))
    };
}

/// The application's own query of that kind, asked of this workload's tables.
const fn like(application: Query, name: &'static str, sql: &'static str, params: &'static [ParamType]) -> Query {
    Query { name, sql, params, ..application }
}

const SESSION: Query = like(queries::SESSION, "session check", sql!("session_check"), &[Text]);
const SERVICE: Query = like(queries::SERVICE, "one service", sql!("one_service"), &[Int8]);
const METRICS: Query = like(queries::HEALTH_METRICS, "health metrics", sql!("health_metrics"), &[Int8, Int8]);
const PROFILE: Query = like(queries::PROFILE, "profile", sql!("profile"), &[Uuid]);
const LIST: Query = like(queries::SERVICES, "list services", sql!("list_services"), &[]);
const GROUP: Query = like(queries::SERVICES_OF_GROUP, "list a group", sql!("list_group"), &[Text]);
const DASHBOARD: Query = like(queries::DASHBOARD, "dashboard", sql!("dashboard"), &[Uuid]);
const LOOP: Query = like(queries::RUNNING_SERVICES, "monitor loop", sql!("monitor_loop"), &[]);
const PROBE: Query = like(queries::RECORD_STEADY_PROBE, "record a probe", sql!("record_probe"), &[Int8, Int8, Int8, Bool]);
const EDIT: Query = like(queries::EDIT_SERVICE, "edit a service", sql!("edit_service"), &[Int8, Int8, Text]);
const START_OR_STOP: Query = like(queries::SET_STATUS, "start or stop", sql!("start_or_stop"), &[Int8, Int8, Int8, Text]).tags(&[
    "service:{1}",
    "service:{2}",
    "service:{3}",
    "services",
    "dashboard",
]);

const OPERATIONS: [Operation; 11] = [
    Operation { weight: 3000, query: SESSION, keys: &[Token], sqlite: &[] },
    Operation { weight: 2500, query: SERVICE, keys: &[Service], sqlite: &[] },
    Operation { weight: 1300, query: METRICS, keys: &[Service, Probes], sqlite: &[] },
    Operation { weight: 1200, query: PROFILE, keys: &[User], sqlite: &[] },
    Operation { weight: 400, query: LIST, keys: &[], sqlite: &[] },
    Operation { weight: 200, query: GROUP, keys: &[Group], sqlite: &[] },
    Operation { weight: 500, query: DASHBOARD, keys: &[User], sqlite: &[(sql!("dashboard.sqlite"), &[User])] },
    Operation { weight: 424, query: LOOP, keys: &[], sqlite: &[] },
    Operation {
        weight: 400,
        query: PROBE,
        keys: &[Service, Cpu, Milliseconds, Healthy],
        // SQLite has no INSERT within WITH.
        sqlite: &[
            ("BEGIN IMMEDIATE", &[]),
            (sql!("insert_probe.sqlite"), &[Service, Cpu, Milliseconds, Healthy]),
            (sql!("touch_service.sqlite"), &[Service, Milliseconds]),
            ("COMMIT", &[]),
        ],
    },
    Operation { weight: 50, query: EDIT, keys: &[Service, Port, Url], sqlite: &[] },
    Operation {
        weight: 26,
        query: START_OR_STOP,
        keys: &[Service, NextService(1), NextService(2), Status],
        sqlite: &[(sql!("start_or_stop.sqlite"), &[Service, NextService(1), NextService(2), Status])],
    },
];

/// What the operations are called; `reads` leaves those out that write.
pub fn names(reads: bool) -> Vec<String> {
    let chosen = OPERATIONS.iter().filter(|operation| !reads || operation.query.kind != QueryKind::Write);
    chosen.map(|operation| operation.query.name.to_string()).collect()
}

/// The operations as scripts; `reads` leaves those out that write.
pub fn scripts(weight: u32, reads: bool, scale: u32, names: &mut Names, statements: &mut usize) -> Vec<Script> {
    let texts = Arc::new(Texts::new(scale));
    let mut scripts = Vec::new();
    for operation in &OPERATIONS {
        let reads_only = operation.query.kind != QueryKind::Write;
        if reads && !reads_only {
            continue;
        }
        let slots: Vec<(Key, Slot)> = operation.keys.iter().map(|key| (*key, names.set(&format!("registry {key:?}")))).collect();
        // A user is a UUID in PostgreSQL and a number in SQLite.
        let number = names.set("registry user number");
        let slot_of = |key: &Key| slots.iter().find(|(known, _)| known == key).map(|(_, slot)| *slot).expect("every key has its place");
        let sqlite_slot = |key: &Key| if *key == User { number } else { slot_of(key) };
        let draw = Draw::new({
            let (slots, texts) = (slots.clone(), Arc::clone(&texts));
            move |random, variables, evenly| fill(&slots, number, &texts, random, variables, evenly)
        });
        let query = operation.query;
        let mut statement =
            Statement::new(*statements, code_of(query.sql), operation.keys.iter().map(slot_of).collect(), Keep::Nothing, reads_only);
        let own: &[(&str, &[Key])] = &[(query.sql, operation.keys)];
        let sqlite = if operation.sqlite.is_empty() { own } else { operation.sqlite };
        let in_sqlite = |(sql, keys): &(&str, &[Key])| (without_schema(&code_of(sql)), keys.iter().map(sqlite_slot).collect::<Vec<Slot>>());
        statement.sqlite = sqlite.iter().map(in_sqlite).collect();
        statement.query = Some(query);
        statement.place = Place { script: query.name.into(), at: None };
        *statements += 1;
        let commands = vec![Command::Draw(draw), Command::Statement(Box::new(statement))];
        scripts.push(Script { name: query.name.to_string(), weight: operation.weight * weight, commands, reads_only });
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

/// Texts that are drawn often, made once.
struct Texts {
    services: i64,
    users: i64,
    /// Of the first users, by Zipf's law nearly all that are asked for: the id, and the token.
    people: Vec<[Value; 2]>,
    groups: [Value; 10],
    statuses: [Value; 2],
}

impl Texts {
    /// So many people are at hand.
    const AT_HAND: i64 = 20_000;

    fn new(scale: u32) -> Self {
        let users = 1000 * i64::from(scale);
        Texts {
            services: 35 * i64::from(scale),
            users,
            people: (1..=users.min(Texts::AT_HAND)).map(|user| [Value::text(user_id(user)), Value::text(token(user))]).collect(),
            groups: ["core", "candlefish", "monitoring", "pkb", "security", "temporal", "agents", "workflow", "ai", "control"]
                .map(Value::text),
            statuses: ["running", "stopped"].map(Value::text),
        }
    }

    fn person(&self, user: i64, which: usize) -> Value {
        match self.people.get(user as usize - 1) {
            Some(texts) => texts[which].clone(),
            None => Value::text(if which == 0 { user_id(user) } else { token(user) }),
        }
    }
}

/// Every second key is drawn evenly where caches are filled: by Zipf's law alone those that are seldom wanted, which together are many, would take a
/// hundred draws each to come.
const FILLED: i64 = 5000;

fn fill(slots: &[(Key, Slot)], number: Slot, texts: &Texts, random: &mut Random, variables: &mut [Value], evenly: bool) {
    let mut service = 0;
    let wanted = |random: &mut Random, count: i64| match evenly && random.uniform(0, 1) == 0 {
        true => random.uniform(1, count.min(FILLED)),
        false => random.zipfian(1, count, ZIPF),
    };
    for (key, slot) in slots {
        variables[slot.index()] = match key {
            Service => {
                service = wanted(random, texts.services);
                Value::Int(service)
            }
            NextService(further) => Value::Int((service - 1 + further) % texts.services + 1),
            User => {
                let user = wanted(random, texts.users);
                variables[number.index()] = Value::Int(user);
                texts.person(user, 0)
            }
            Token => texts.person(wanted(random, texts.users), 1),
            // Of an hour, four hours, a day.
            Probes => Value::Int(match random.uniform(1, 20) {
                1 => 1440,
                2..=4 => 240,
                _ => 60,
            }),
            Group => texts.groups[random.uniform(0, 9) as usize].clone(),
            Status => texts.statuses[random.uniform(0, 1) as usize].clone(),
            Cpu => Value::Int(random.uniform(1, 100)),
            Milliseconds => Value::Int(random.exponential(1, 2000, 5.0)),
            Healthy => Value::Bool(random.uniform(1, 100) > 1),
            Port => Value::Int(random.uniform(3000, 9000)),
            Url => Value::text(format!("http://localhost:{}/health", random.uniform(3000, 9000))),
        };
    }
}

fn user_id(user: i64) -> String {
    format!("75736572-7300-8000-8000-{user:012x}")
}

/// The hash of a session's token, as `fill_registry.sql` makes it.
fn token(session: i64) -> String {
    format!("{:08x}", session * 2_654_435_761 % 4_294_967_296).repeat(8)
}
