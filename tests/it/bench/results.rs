//! `--save` and `--html`: what they may replace.

use std::fs;

use super::case;
use crate::support::Database;

#[test]
fn a_result_replaces_an_earlier_one_and_nothing_else() {
    let database = Database::fresh();
    let others =
        [("one.sql", "SELECT 1;\n"), ("notes.txt", "mine\n"), ("other.json", "{\"layers\": []}\n"), ("index.html", "<!DOCTYPE html>\n")];
    let case = case("overwriting", &database, &others);
    rusqlite::Connection::open(case.dir().join("src.db")).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
    let run = |words: &str| case.run(&format!("bench --to {{url}} --layer direct -f {{dir}}/one.sql -t 1 -c 1 --warmup 0 {words}"));
    let refused = |words: &str, said: &str| {
        let output = run(words).exit(2).stderr_has(said).stderr_has("move this one away");
        assert!(!output.stderr.contains("warming up"), "{}", output.stderr);
    };
    refused("--save {dir}/one.sql", "one.sql is what the run reads");
    refused("--source {dir}/src.db --save {dir}/src.db", "src.db is what the run reads");
    refused("--html {dir}/./one.sql", "one.sql is what the run reads");
    refused("--save {dir}/src.db", "is not what `bench --save` writes");
    for file in ["notes.txt", "other.json", "index.html"] {
        refused(&format!("--save {{dir}}/{file}"), "is not what `bench --save` writes");
        refused(&format!("--html {{dir}}/{file}"), "is not what `bench --html` writes");
    }
    for (file, text) in others {
        assert_eq!(fs::read_to_string(case.dir().join(file)).unwrap(), text);
    }
    run("--save {dir}/a --html {dir}/./a").exit(2).stderr_has("name the same file");
    for _ in 0..2 {
        run("--save {dir}/a.json --html {dir}/a.html").exit(0);
    }
    refused("--save {dir}/a.html", "is not what `bench --save` writes");
    refused("--html {dir}/a.json", "is not what `bench --html` writes");
}
