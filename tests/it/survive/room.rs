//! A target whose disk is full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::server::Server;
use crate::support::{Case, Database, addresses, execute_at};
use crate::survive::{CHUNKS, OBJECTS, SET_ASIDE, SOURCE, ended, start};

/// A small file system that a tablespace lies on.
struct Small {
    folder: PathBuf,
    name: String,
}

/// A new file system in memory; none where this user may not mount.
fn mount(name: &str, size: &str) -> Option<PathBuf> {
    let folder = std::env::temp_dir().join(format!("candlefish-{name}-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"]).arg(&folder).status();
    if !mounted.is_ok_and(|status| status.success()) {
        fs::remove_dir(&folder).unwrap();
        return None;
    }
    Some(folder)
}

impl Small {
    fn mounted(name: &str, size: &str) -> Option<Self> {
        let folder = mount(name, size)?;
        let small = Small { folder, name: format!("{name}_{}", std::process::id()) };
        // The server's own user, whoever that is, owns its data folder.
        let place = small.folder.join("space");
        fs::create_dir(&place).unwrap();
        let data = crate::support::value_at(&addresses().database_url(), "SHOW data_directory");
        assert!(Command::new("chown").arg("--reference").arg(&data).arg(&place).status().unwrap().success());
        execute_at(&addresses().database_url(), &format!("CREATE TABLESPACE {} LOCATION '{}'", small.name, place.display()));
        Some(small)
    }

    fn resize(&self, size: &str) {
        assert!(Command::new("mount").args(["-o", &format!("remount,size={size}")]).arg(&self.folder).status().unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let dropped = crate::support::try_execute_at(&addresses().database_url(), &format!("DROP TABLESPACE {}", self.name));
        let unmounted = Command::new("umount").arg("-l").arg(&self.folder).status();
        let removed = fs::remove_dir(Path::new(&self.folder));
        if !std::thread::panicking() {
            dropped.unwrap();
            assert!(unmounted.unwrap().success());
            removed.unwrap();
        }
    }
}

#[test]
fn a_full_disk_is_said_and_made_good() {
    let Some(small) = Small::mounted("room", "64m") else {
        eprintln!("this user may not mount a file system: a full disk was not tried");
        return;
    };
    let whole = Database::fresh();
    let database = Database::fresh();
    let case = Case::new("room").source_sql(SOURCE).database(&database);
    let (code, _, stderr) = ended(start(&case, &whole, &[CHUNKS]));
    assert_eq!(code, Some(1), "{stderr}");
    fs::remove_dir_all(case.dir().join("candlefish-rejects")).unwrap();

    execute_at(&addresses().database_url(), &format!("ALTER DATABASE {} SET TABLESPACE {}", database.name, small.name));
    // Some pages more than the database takes as it is: the rows do not fit, then the indexes do not, then all does.
    let used = || {
        let df = Command::new("df").args(["--output=used", "-k"]).arg(&small.folder).output().unwrap();
        String::from_utf8(df.stdout).unwrap().lines().last().unwrap().trim().parse::<u64>().unwrap()
    };
    let empty = used();
    let mut full = 0;
    for more in [600, 900, 1500, 2000, 2500] {
        small.resize(&format!("{}k", empty + more));
        let output = case.run(&format!("migrate {{source}} {{url}} --json --resume {CHUNKS}"));
        if output.code == Some(1) {
            break;
        }
        full += 1;
        let error = &output.json()["error"];
        assert_eq!(
            (&error["code"], &error["sqlstate"], &error["resumable"]),
            (&"disk_full".into(), &"53100".into(), &true.into()),
            "{output}"
        );
        assert!(error["hint"].as_str().unwrap().contains("Make room on the target's disk"), "{error}");
        assert!(error["hint"].as_str().unwrap().contains("--resume="), "{error}");
        assert_eq!(error["target_changed"], true);
    }
    assert!(full > 0, "the disk was never full");
    small.resize("64m");
    case.run(&format!("migrate {{source}} {{url}} --resume {CHUNKS}"));
    assert_eq!(database.rows(OBJECTS), whole.rows(OBJECTS));
    assert_eq!(database.value("SELECT count(*) FROM visit"), (12000 - SET_ASIDE).to_string());
    assert_eq!(crate::survive::rejects(&case).len(), SET_ASIDE);
    drop(database);
}

#[test]
fn a_full_disk_under_the_snapshot_is_said_once_and_nothing_is_left_there() {
    let Some(folder) = mount("snapshot-room", "256k") else {
        eprintln!("this user may not mount a file system: a full disk was not tried");
        return;
    };
    let database = Database::fresh();
    let case = Case::new("snapshot-room").source_sql(SOURCE).database(&database);
    let output = case.run(&format!("migrate {{source}} {{url}} --snapshot {}", folder.display()));
    let left = fs::read_dir(&folder).unwrap().count();
    assert!(Command::new("umount").arg("-l").arg(&folder).status().unwrap().success());
    fs::remove_dir(&folder).unwrap();
    let output = output.exit(2).stderr_has("hint: Make room there, or name a folder on another disk with --snapshot DIR.");
    assert_eq!((output.stderr.matches("full").count(), left), (1, 0), "{output}");
}

/// PostgreSQL cannot go on without its log: it goes down, and stays down until there is room.
#[test]
fn a_full_disk_under_the_write_ahead_log_is_said_and_made_good() {
    let bin = Path::new("/usr/lib/postgresql/15/bin");
    if !crate::support::long() || !bin.join("postgres").exists() {
        return;
    }
    let settings = ["min_wal_size = '32MB'", "max_wal_size = '4GB'", "wal_level = replica", "checkpoint_timeout = '1h'"];
    let server = Server::start(bin, &settings);
    let Some(folder) = mount("wal-room", "80m") else {
        eprintln!("this user may not mount a file system: a full log was not tried");
        return;
    };
    server.restart_after(&settings, |data| {
        let (log, moved) = (data.join("pg_wal"), folder.join("pg_wal"));
        assert!(Command::new("cp").args(["-a"]).arg(&log).arg(&moved).status().unwrap().success());
        fs::remove_dir_all(&log).unwrap();
        std::os::unix::fs::symlink(&moved, &log).unwrap();
    });
    let rows = "CREATE TABLE big(id INTEGER PRIMARY KEY, code TEXT UNIQUE, body TEXT);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) INSERT INTO big SELECT i, 'c' || i, hex(randomblob(150)) FROM n;";
    let case = Case::new("full log").source_sql(rows);
    let source = case.source_path().display().to_string();
    let full = case.run_args(["migrate", &source, &server.url(), "--json", "--chunk-bytes=4000000"]).exit(2).json();
    assert_eq!((&full["error"]["resumable"], &full["error"]["target_changed"]), (&true.into(), &true.into()), "{full}");
    eprintln!("a full log was said so: {}", full["error"]["message"]);
    assert!(Command::new("mount").args(["-o", "remount,size=2g"]).arg(&folder).status().unwrap().success());
    server.start_again();
    let resumed = case.run_args(["migrate", &source, &server.url(), "--json", "--resume", "--chunk-bytes=4000000"]).exit(0).json();
    assert!(resumed["warnings"].to_string().contains("was interrupted and resumed"), "{resumed}");
    assert_eq!(server.rows("SELECT count(*), count(DISTINCT id) FROM big"), ["300000|300000"]);
    assert_eq!(server.rows("SELECT count(*) FROM pg_index WHERE NOT indisvalid"), ["0"]);
    case.run_args(["verify", &source, &server.url(), "--schema-objects"]).exit(0);
    drop(server);
    assert!(Command::new("umount").arg("-l").arg(&folder).status().unwrap().success());
    fs::remove_dir(&folder).unwrap();
}
