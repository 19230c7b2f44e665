//! The data layer under load: where answers come from, what writes do to them, and what is said of pools, servers and KPIs.

use std::fs;

use candlefish::store::Store;
use serde_json::Value as Json;

use super::case;
use crate::support::{Case, Database, addresses};

fn filled(name: &str) -> (Database, Case) {
    let database = Database::fresh();
    let case = case(name, &database, &[]);
    case.run("bench init --to {url}").exit(0);
    (database, case)
}

fn number(of: &Json, path: &str) -> f64 {
    of.pointer(path).and_then(Json::as_f64).unwrap_or_else(|| panic!("no {path} in {of:#}"))
}

#[test]
fn every_layer_runs_the_same_load_and_all_of_them_make_the_strategys_table() {
    let (database, case) = filled("every layer");
    assert_eq!(database.value("SELECT count(*) FROM candlefish_bench.health_metrics"), "70000");
    let line = "bench --to {url} --pooler {pooler} --redis {redis} --layer all -c 4 -T 1 --warmup 200ms --json --save {dir}/a.json --html {dir}/a.html";
    let report = case.run(line).exit(0).json();
    let layers = report["layers"].as_array().unwrap();
    let names: Vec<&str> = layers.iter().map(|layer| layer["layer"].as_str().unwrap()).collect();
    assert_eq!(names, ["sqlite", "direct", "pooled", "l2", "cached"]);
    for layer in layers {
        assert!(layer["transactions"].as_u64().unwrap() > 0 && layer["errors"] == 0, "{layer:#}");
        let latency = |name: &str| number(layer, &format!("/latency_ms/{name}"));
        assert!(latency("min") <= latency("p50") && latency("p50") <= latency("p99") && latency("p99") <= latency("max"), "{layer:#}");
        let counted: u64 = layer["series"].as_array().unwrap().iter().map(|second| second["tps"].as_u64().unwrap()).sum();
        assert_eq!(counted, layer["transactions"].as_u64().unwrap(), "{layer:#}");
        let operations: u64 = layer["operations"].as_array().unwrap().iter().map(|part| part["transactions"].as_u64().unwrap()).sum();
        assert_eq!(operations, counted);
    }
    let table = report["improvements"].as_array().unwrap();
    let metrics: Vec<&str> = table.iter().map(|line| line["metric"].as_str().unwrap()).collect();
    assert_eq!(
        metrics,
        [
            "query response time (p95)",
            "concurrent users",
            "queries a second",
            "cache hit ratio",
            "database connections",
            "memory",
            "error rate"
        ]
    );
    // How many users would have been served is only known where they were.
    assert!(
        table.iter().all(|line| line["metric"] == "concurrent users" || line["current"].is_number() && line["target"].is_number()),
        "{table:#?}"
    );
    // Connections in use at once: no more than there were clients.
    assert!(number(&table[4], "/current") == 1.0 && (1.0..=4.0).contains(&number(&table[4], "/target")), "{:#}", table[4]);
    // What fails as a whole takes nothing of the others with it: this asks who asks.
    fs::write(case.dir().join("direct.sql"), "SELECT 1 / (current_setting('application_name') ~ '^candlefish bench [0-9]+$')::int;\n")
        .unwrap();
    let line = "bench --to {url} --pooler {pooler} --redis {redis} --layer all -f {dir}/direct.sql -c 2 -t 20 --warmup 0 --json";
    let failing = case.run(line).exit(1).json();
    let came_to: Vec<(u64, u64)> = failing["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| (layer["transactions"].as_u64().unwrap(), layer["errors"].as_u64().unwrap()))
        .collect();
    assert_eq!(came_to, [(0, 40), (40, 0), (0, 40), (0, 40), (0, 40)], "{failing:#}");
    let text = case.run("bench --to {url} --pooler {pooler} --redis {redis} --layer all -c 2 -t 5 --warmup 0").exit(0);
    text.stdout_has("what the strategy expected, and what was measured").stdout_has("query response time (p95)");
    assert!(failing["notes"].to_string().contains("layer pooled: not one of 40 transactions succeeded"), "{:#}", failing["notes"]);
    let page = fs::read_to_string(case.dir().join("a.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("\"layer\":\"cached\"") && !page.contains("https://"));
    // A saved result is one that can be compared; one run gives no verdict.
    let compared = case.run("bench compare {dir}/a.json {dir}/a.json").exit(0).stdout_has("inconclusive");
    compared.stderr_has("too few for a verdict");

    case.run("bench clean --to {url}").exit(2).stderr_has("--yes");
    case.run("bench clean --to {url} --yes").exit(0);
    // The data layer's own table was made by these runs, and nobody else has come to use it.
    assert_eq!(database.rows("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'candlefish%'"), Vec::<String>::new());
}

#[test]
fn answers_are_kept_until_a_write_makes_them_old_and_everything_adds_up() {
    let (database, case) = filled("the whole layer");
    database.execute("CREATE EXTENSION pg_stat_statements");
    fs::write(case.dir().join("candlefish.toml"), format!("[cache]\nprefix = \"{}\"\n", database.name)).unwrap();
    // So many transactions, and no time: what they add up to is the same on any machine.
    let line = "bench --to {url} --pooler {pooler} --redis {redis} --layer cached --instances 2 -c 8 -R 800 -t 300 --warmup 0 --json -P 1 --assert kpi";
    let output = case.run(line).stderr_has(", L1 ").stderr_has("pool ");
    let report = output.json();
    // Every line of the table is judged, and the exit code is the verdict; what it is depends on how busy the machine is.
    let verdicts = report["assertions"].as_array().unwrap();
    assert!(verdicts.iter().any(|one| one["expr"] == "p95<50ms") && verdicts.len() > 4, "{verdicts:#?}");
    assert_eq!(output.code, Some(i32::from(verdicts.iter().any(|one| one["passed"] == false))), "{verdicts:#?}");
    let layer = &report["layers"][0];
    assert!(layer["errors"] == 0 && layer["instances"] == 2 && layer["transactions"] == 8 * 300, "{layer:#}");
    let of = |operations: &[&str]| -> f64 {
        let all = layer["operations"].as_array().unwrap().iter();
        all.filter(|part| operations.contains(&part["operation"].as_str().unwrap())).map(|part| number(part, "/transactions")).sum()
    };
    let probes = of(&["record a probe"]);
    // Of each read it is known where its answer came from; the shares are of all reads.
    let answered = &layer["answered"];
    let shares: f64 = ["l1", "l2", "database", "coalesced", "stale"].iter().map(|from| number(answered, &format!("/{from}"))).sum();
    assert!((shares - 1.0).abs() < 1e-9 && number(answered, "/l1") > 0.0 && number(answered, "/l2") > 0.0, "{answered:#}");
    assert_eq!(answered["reads"], layer["reads"]["transactions"]);
    assert_eq!(number(layer, "/reads/transactions") + number(layer, "/writes/transactions"), number(layer, "/transactions"));
    assert_eq!(number(layer, "/writes/transactions"), probes + of(&["edit a service", "start or stop"]));
    // Writes go through the data layer, and make old what they changed.
    assert!(probes > 20.0, "{layer:#}");
    for cache in ["l1", "l2"] {
        let (of, misses) = (&layer[cache], &layer[cache]["misses_by_cause"]);
        let missed: u64 = misses.as_object().unwrap().values().map(|count| count.as_u64().unwrap()).sum();
        assert_eq!(of["hits"].as_u64().unwrap() + missed, of["lookups"].as_u64().unwrap(), "{of:#}");
        assert!(misses["invalidated"].as_u64().unwrap() > 0, "{cache} {of:#}");
        assert!(number(of, "/hit_ratio_undisturbed") > number(of, "/hit_ratio"), "{of:#}");
    }
    // Sessions are checked in Redis at every use, and never asked of memory.
    assert_eq!(number(layer, "/l1/lookups"), number(answered, "/reads") - of(&["session check"]));
    assert_eq!(number(layer, "/l1/hits"), (number(answered, "/l1") * number(answered, "/reads")).round());
    let pool = &layer["pool"];
    assert!(number(pool, "/max") == 20.0 && number(pool, "/utilization") > 0.0 && number(pool, "/waits") > 0.0, "{pool:#}");
    // The server's own account is of the window, and of these statements.
    let server = &layer["server"];
    assert!(number(server, "/counts/wal_bytes") > 0.0 && number(server, "/counts/commits") > 0.0, "{server:#}");
    let statements = server["statements"].as_array().unwrap();
    let recorded =
        statements.iter().find(|statement| statement["query"].as_str().unwrap().contains("INSERT INTO candlefish_bench.health_metrics"));
    // It is first asked when the clients begin, and last when they are done.
    let calls = number(recorded.unwrap(), "/calls");
    assert!(calls > 0.0 && calls <= probes, "{calls} of {probes}");
    // What it kept in Redis has gone with it; what announced it there goes by itself.
    let mut kept = redis::Client::open(addresses().redis_url()).unwrap().get_connection().unwrap();
    let keys: Vec<String> = redis::cmd("KEYS").arg(format!("{}_bench_*", database.name)).query(&mut kept).unwrap();
    assert!(keys.is_empty(), "{} keys, such as {}", keys.len(), keys[0]);
    // Of a write that Redis could not be told at once the outbox has the news; of one that took long, too.
    let left: u64 = database.value("SELECT count(*) FROM candlefish.cache_outbox").parse().unwrap();
    assert!(left >= layer["pending_writes"].as_u64().unwrap() && layer["redis"]["lost"].is_number(), "{left} {layer:#}");
    // What was written is there, once.
    assert_eq!(database.value("SELECT count(*) - 70000 FROM candlefish_bench.health_metrics"), probes.to_string());
}

#[test]
fn more_clients_than_connections_wait_or_are_told() {
    let (_database, case) = filled("overload");
    let line = "bench --to {url} --layer pooled --workload registry-read -c 1000 -T 2 --warmup 0 --json";
    let report = case.run(line).exit(0).json();
    let layer = &report["layers"][0];
    assert!(number(layer, "/pool/peak_in_use") <= 20.0 && number(layer, "/transactions") > 0.0, "{layer:#}");
    // They wait: the median is about a thousand clients' share of what twenty connections do.
    assert!(number(layer, "/pool/wait_ms_p50") > 1.0 && number(layer, "/pool/utilization") > 0.5, "{layer:#}");
    assert!(number(layer, "/rss_bytes") < 300e6, "{layer:#}");
    // A pool that lets few wait refuses the others at once, by name.
    fs::write(case.dir().join("few.toml"), "[pool]\nmax_waiting = 50\n").unwrap();
    let report = case.run(&format!("--config {{dir}}/few.toml {line}")).exit(0).json();
    let layer = &report["layers"][0];
    assert_eq!(layer["errors_by_code"][0]["code"], "pool_exhausted", "{layer:#}");
    assert!(number(layer, "/errors") > 0.0 && number(layer, "/pool/refused") > 0.0 && number(layer, "/transactions") > 0.0, "{layer:#}");
}

#[test]
fn what_a_layer_cannot_do_is_said() {
    let database = Database::fresh();
    let case = case("undeclared", &database, &[("one.sql", "SELECT 1;\n")]);
    // To keep answers the data layer needs a table of its own, and nobody has allowed it.
    case.run("bench --to {url} --redis {redis} --layer cached -f {dir}/one.sql")
        .exit(2)
        .stderr_has("--allow-writes")
        .stderr_has("--layer pooled");
    assert_eq!(database.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'candlefish'"), "0");
    case.run("bench --to {url} --layer pooled -f {dir}/one.sql -M simple").exit(2).stderr_has("-M simple");
    case.run("bench --to {url} --layer l2 -S").exit(2).stderr_has("bench init");
    case.run("bench init --to {url}").exit(0);
    case.run("bench --to {url} --layer l2 -S").exit(2).stderr_has("no Redis is named");
    // Without Redis memory alone answers, and the run says so.
    let output = case.run("bench --to {url} --layer cached -S -c 2 -T 1 --warmup 500ms --json").exit(0).stderr_has("there is no L2");
    let layer = &output.json()["layers"][0];
    assert!(layer["l2"].is_null() && layer["redis"].is_null() && layer["l1"]["hits"].as_u64().unwrap() > 0, "{layer:#}");
    // Nor is another way of sending what is measured where the layer has its own.
    case.run("bench --to {url} --layer cached -S -M simple").exit(2).stderr_has("the data layer sends values beside a statement");
    let output =
        case.run("bench --to {url} -S -M simple -t 3 -c 1 --warmup 0 --json").exit(0).stderr_has("layer direct: the data layer sends");
    assert_eq!((&output.json()["layers"][0]["layer"], &output.json()["config"]["protocol"]), (&"direct".into(), &"simple".into()));
    case.run("bench --to {url} --layer pooled -S -M extended -t 3 -c 1 --warmup 0")
        .exit(0)
        .stderr_has("-M extended is of layer direct alone");
}

#[test]
fn news_of_writes_that_redis_is_not_told_stand_in_the_outbox_and_clean_leaves_it_to_who_reads_it() {
    let (database, case) = filled("pending");
    let output = case.run("bench --to {url} --layer cached -c 4 -t 250 --warmup 0").exit(0);
    let writes: u64 = database.value("SELECT count(*) FROM candlefish.cache_outbox").parse().unwrap();
    assert!(writes > 20, "{writes}");
    output.stdout_has(&format!("cached: news of {writes} writes went by the outbox: there is no Redis in this layer"));
    // An application that has come meanwhile reads there, too, and nothing counts how often.
    database.execute(&format!("ALTER DATABASE {} SET track_counts = off", database.name));
    crate::store::run(async {
        let _application = Store::open(crate::store::config(&database.url())).await.unwrap();
        case.run("bench clean --yes --to {url}")
            .exit(0)
            .stderr_has("dropped")
            .stderr_has("left: the data layer's outbox in schema candlefish: somebody else");
        assert_eq!(database.value("SELECT count(*) FROM candlefish.cache_outbox"), writes.to_string());
    });
    // One that is not there at the moment may come back: it has rights, or has left news.
    let left = |why: &str| {
        case.run("bench clean --yes --to {url}").exit(0).stderr_has(&format!("left: the data layer's outbox in schema candlefish: {why}"))
    };
    let role = format!("app_{}", database.name);
    database.execute(&format!(
        "CREATE ROLE {role}; GRANT USAGE ON SCHEMA candlefish TO {role}; GRANT SELECT, INSERT, DELETE ON candlefish.cache_outbox TO {role}"
    ));
    left("rights on it, or on its schema, are granted to app_");
    database.execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}; INSERT INTO candlefish.cache_outbox (tags) VALUES ('{{user:5}}')"));
    left("news of writes that no load test made stands in it (1)");
    database.execute(
        "DELETE FROM candlefish.cache_outbox WHERE tags = '{user:5}'; CREATE VIEW news AS SELECT tags FROM candlefish.cache_outbox",
    );
    left("something else in the database depends on it");
    database.execute("DROP VIEW news");
    database.execute("CREATE TABLE candlefish.mine (a int)");
    case.run("bench clean --yes --to {url}").exit(0).stderr_has("dropped: the data layer's outbox");
    assert_eq!(database.rows("SELECT relname FROM pg_class WHERE relnamespace = 'candlefish'::regnamespace"), ["mine"]);
}

#[test]
fn a_files_layer_works_on_a_copy() {
    let database = Database::fresh();
    let case = case("a copy", &database, &[("count.sql", "SELECT count(*) FROM t;\n"), ("add.sql", "INSERT INTO t VALUES (1);\n")]);
    let file = case.dir().join("own.db");
    let own = rusqlite::Connection::open(&file).unwrap();
    own.execute_batch("CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
    let line = format!(
        "bench --to {{url}} --layer sqlite --source {{dir}}/own.db -f {{dir}}/add.sql -f {{dir}}/count.sql -c 2 -t 10 --warmup 0 --json --allow-writes {}",
        database.name
    );
    let report = case.run(&line).exit(0).json();
    assert_eq!((&report["layers"][0]["transactions"], &report["layers"][0]["errors"]), (&20.into(), &0.into()), "{report:#}");
    assert_eq!(own.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    // Nor is there another way to the file itself, or to any other.
    let (there, new) = (file.display(), case.dir().join("new.db"));
    for sql in [
        format!("ATTACH '{there}' AS own;\nINSERT INTO own.t VALUES (2);\n"),
        format!("ATTACH '{there}' || '' AS own;\nINSERT INTO own.t VALUES (2);\n"),
        format!("VACUUM INTO '{}';\n", new.display()),
    ] {
        fs::write(case.dir().join("add.sql"), sql).unwrap();
        case.run(&line).exit(0).stdout_has("opens no other file");
    }
    assert!(!new.exists());
    assert_eq!(own.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap(), 1);
    fs::write(case.dir().join("add.sql"), "VACUUM;\n").unwrap();
    assert_eq!(case.run(&line).exit(0).json()["layers"][0]["errors"], 0);
}

#[test]
fn scripts_run_through_the_data_layer_with_their_transactions_whole() {
    let (database, case) = filled("scripts through the layer");
    let line = |words: &str| format!("bench --to {{url}} --pooler {{pooler}} --redis {{redis}} {words} -c 4 -t 10 --warmup 0 --json");
    for (run, layer) in [(1, "pooled"), (2, "l2"), (3, "cached")] {
        let report = case.run(&line(&format!("--layer {layer} --workload tpcb"))).exit(0).json();
        let layer = &report["layers"][0];
        assert_eq!((&layer["transactions"], &layer["errors"]), (&40.into(), &0.into()), "{layer:#}");
        // What a transaction reads it reads in the database.
        assert_eq!((number(layer, "/answered/database"), number(layer, "/pool/max")), (1.0, 20.0), "{layer:#}");
        assert_eq!(database.value("SELECT count(*) FROM candlefish_bench.pgbench_history"), (40 * run).to_string());
    }
    let sums = "SELECT sum(abalance) = (SELECT sum(delta) FROM candlefish_bench.pgbench_history) FROM candlefish_bench.pgbench_accounts";
    assert_eq!(database.value(sums), "t");
    // A transaction that fails midway leaves nothing, and its connection is of use to the next.
    fs::write(
        case.dir().join("fails.sql"),
        "BEGIN;\nUPDATE candlefish_bench.pgbench_accounts SET abalance = 77 WHERE aid = 1;\nSELECT 1 / 0;\nEND;\n",
    )
    .unwrap();
    let failed = case.run(&line("--layer pooled -f {dir}/fails.sql")).exit(2);
    failed.stderr_has("fails.sql:3:1: division by zero");
    assert_eq!(database.value(sums), "t");
}

#[test]
fn a_scripts_reads_are_kept_until_a_script_writes() {
    let (database, case) = filled("kept reads");
    database.execute("CREATE TABLE t (id int PRIMARY KEY, v numeric, at date, w varchar(9)); INSERT INTO t SELECT i, i, '2024-01-01', 'w' FROM generate_series(1, 5) i");
    let write = |name: &str, text: &str| fs::write(case.dir().join(name), text).unwrap();
    // Types that PostgreSQL tells: an integer, a number that is cast, a date, a text.
    write("read.sql", "\\set id random(1, 5)\nSELECT v FROM t WHERE id = :id AND v < :id * 2.5 AND at > :day;\n");
    write("write.sql", "\\set id random(1, 5)\nUPDATE t SET v = v WHERE id = :id;\n");
    // All of these answer differently each time, whether they say so or not.
    database.execute(
        "CREATE FUNCTION \"My Dice\"() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT (random() * 6)::int';
         CREATE FUNCTION about(int, int) RETURNS bool LANGUAGE sql VOLATILE AS 'SELECT random() < 0.5';
         CREATE OPERATOR ~~~ (LEFTARG = int, RIGHTARG = int, FUNCTION = about);
         CREATE VIEW thrown AS SELECT id, random() AS r FROM t; CREATE VIEW over_it AS SELECT * FROM thrown",
    );
    let varying = [
        "SELECT pg_sleep(0) FROM t",
        "SELECT \"My Dice\"()",
        "SELECT id FROM t WHERE id ~~~ 3",
        "SELECT r FROM over_it WHERE id = 1",
        "SELECT count(*) FROM pg_class",
    ];
    let line = |words: &str| {
        format!("bench --to {{url}} --redis {{redis}} --layer cached -D day=2023-01-01 {words} -c 2 -t 500 --warmup 0 --json")
    };
    let alone = case.run(&line("-f {dir}/read.sql")).exit(0).json();
    let layer = &alone["layers"][0];
    assert!(layer["errors"] == 0 && number(layer, "/answered/l1") > 0.95, "{layer:#}");
    let beside = case.run(&line("-f {dir}/read.sql@20 -f {dir}/write.sql")).exit(0).json();
    let layer = &beside["layers"][0];
    assert!(layer["errors"] == 0 && number(layer, "/l1/misses_by_cause/invalidated") > 0.0, "{layer:#}");
    assert!(number(layer, "/answered/l1") > 0.1, "{layer:#}");
    // What answers differently each time, or takes its time on purpose, is asked each time.
    for sql in varying {
        write("varying.sql", &format!("{sql};\n"));
        let report = case.run(&line("-f {dir}/varying.sql").replace("-t 500", "-t 20")).exit(0).json();
        assert_eq!(number(&report["layers"][0], "/answered/database"), 1.0, "{sql}");
    }
    // One that calls only what answers the same is kept, by whatever names.
    write("steady.sql", "SELECT id, v, w, count(*) AS id FROM t GROUP BY 1, 2, 3 ORDER BY 1 LIMIT :n;\n");
    let report = case.run(&line("-f {dir}/steady.sql -D n=2")).exit(0).json();
    assert!(number(&report["layers"][0], "/answered/l1") > 0.9, "{:#}", report["layers"][0]);
}

#[test]
fn what_a_script_keeps_comes_through_the_pool_and_a_read_only_run_writes_nothing() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t (a int); CREATE FUNCTION sly() RETURNS int LANGUAGE sql AS 'INSERT INTO t VALUES (1) RETURNING a'");
    let scripts = [
        (
            "keep.sql",
            "SELECT 7 AS number, 'it''s' AS word, NULL::text AS nothing, true AS yes \\gset p_\n\\if :p_number = 7\nSELECT length(:p_word) AS n \\gset\n\\endif\n\\set x 1 / (:n - 3)\nSELECT :x;\n",
        ),
        ("numeric.sql", "SELECT 1.5 AS n \\gset\nSELECT :n;\n"),
        ("sly.sql", "SELECT sly();\n"),
        ("block.sql", "BEGIN;\nSELECT sly();\nEND;\n"),
    ];
    let case = case("kept values", &database, &scripts);
    for pooler in ["", "--pooler {pooler}"] {
        let line = |file: &str| format!("bench --to {{url}} {pooler} --layer pooled -f {{dir}}/{file} -t 2 -c 2 --warmup 0");
        case.run(&line("keep.sql")).exit(0);
        case.run(&line("numeric.sql")).exit(2).stderr_has("numeric.sql:1:1: column n is numeric").stderr_has("n::text");
        for file in ["sly.sql", "block.sql"] {
            case.run(&line(file)).exit(2).stderr_has("read-only transaction");
        }
    }
    assert_eq!(database.value("SELECT count(*) FROM t"), "0");
}

#[test]
fn all_layers_are_those_that_can_run_the_workload() {
    let database = Database::fresh();
    let case = case("those that can", &database, &[("one.sql", "SELECT 1;\n")]);
    let ran = |words: &str, wanted: &[&str], said: &[&str]| {
        let output = case.run(&format!("bench --to {{url}} --layer all -c 2 -t 5 --warmup 0 --json {words}")).exit(0);
        let layers = output.json()["layers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|layer| layer["layer"].as_str().unwrap().to_string())
            .collect::<Vec<_>>();
        assert_eq!(layers, wanted, "{}", output.stderr);
        said.iter().for_each(|said| assert!(output.stderr.contains(said), "{said}: {}", output.stderr));
    };
    // Nothing says that the database may be written to, and there is nothing to copy.
    ran("-f {dir}/one.sql", &["direct", "pooled"], &["layer sqlite is left out", "layer l2 is left out", "layer cached is left out"]);
    case.run("bench init --to {url}").exit(0);
    ran("-S", &["direct", "pooled", "cached"], &["layer sqlite is left out: layer sqlite runs", "layer l2 is left out: layer l2 is Redis"]);
    ran("-S --redis {redis}", &["direct", "pooled", "l2", "cached"], &["layer sqlite is left out"]);
    ran("-S -M simple", &["direct"], &["layer pooled is left out"]);
    case.run("bench --to {url} --layer l2 -S -t 1").exit(2).stderr_has("no Redis is named");
}
