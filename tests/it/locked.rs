//! A lock that is not to be had: whoever is called for it at night is told who has it.

use crate::stats::session_at;
use crate::support::{Case, Database};

#[tokio::test(flavor = "multi_thread")]
async fn who_holds_the_lock_is_named() {
    let database = Database::fresh();
    database.execute("CREATE TABLE t(n bigint); CREATE INDEX t_n ON t(n); CREATE SCHEMA app; CREATE TABLE app.t(n bigint)");
    let case = Case::new("locked").source_sql("CREATE TABLE t(n INTEGER); INSERT INTO t VALUES (1)").database(&database);
    let holder = session_at(&format!("{}?application_name=nightly%20report", database.url())).await;
    let reader = session_at(&format!("{}?application_name=dump", database.url())).await;
    let pid: i32 = holder.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);
    holder.batch_execute("BEGIN; LOCK TABLE t IN SHARE MODE").await.unwrap();
    reader.batch_execute("BEGIN; SELECT FROM t; SELECT FROM app.t").await.unwrap();

    // The index cannot be taken away.
    let refused = case.run("migrate {source} {url} --json").exit(2).json();
    let (error, message) = (&refused["error"], refused["error"]["message"].as_str().unwrap());
    assert_eq!((&error["code"], &error["sqlstate"]), (&"locked".into(), &"55P03".into()), "{refused}");
    let user = database.value("SELECT current_user");
    assert!(message.contains(&format!(": session {pid} (nightly report, user {user}, idle in transaction, last query of 20")), "{message}");
    assert!(message.contains("UTC) holds ShareLock on public.t; session ") && message.contains(" (dump, user "), "{message}");
    let hint = error["hint"].as_str().unwrap();
    assert!(hint.starts_with(&format!("Wait until it is done, or end it: SELECT pg_terminate_backend({pid})")), "{hint}");
    assert!(hint.contains("go on with: candlefish migrate "), "{hint}");

    // Nothing can be read of it.
    reader.batch_execute("ROLLBACK").await.unwrap();
    holder.batch_execute("ROLLBACK; BEGIN; LOCK TABLE t").await.unwrap();
    let refused = case.run("verify {source} {url} --json").exit(2).json();
    assert!(refused["error"]["message"].as_str().unwrap().contains(&format!("session {pid} (nightly report, ")), "{refused}");
    std::fs::create_dir_all(case.dir().join("m/schema")).unwrap();
    std::fs::write(case.dir().join("m/schema/V1__a.sql"), "ALTER TABLE t ADD COLUMN more int").unwrap();
    let refused = case.run("schema apply --to {url} --migrations {dir}/m --json").exit(2).json();
    assert!(refused["error"]["message"].as_str().unwrap().contains(&format!("session {pid} (nightly report, ")), "{refused}");
}
