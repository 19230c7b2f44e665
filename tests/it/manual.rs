//! What shells and readers of manual pages get: all of it from the command line's own definitions.

use std::process::Command;

use crate::support::Case;

#[test]
fn completions_and_manual_pages_know_every_command() {
    let case = Case::new("manual");
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = case.run(&format!("completions {shell}")).exit(0);
        for word in ["migrate", "find-max", "rules", "nagios"] {
            assert!(script.stdout.contains(word), "{shell} does not know {word}");
        }
    }
    std::fs::write(case.dir().join("candlefish.bash"), case.run("completions bash").exit(0).stdout).unwrap();
    // Read as bash reads it: no error, and the word is completed.
    let asked = "source candlefish.bash && COMP_WORDS=(candlefish moni) COMP_CWORD=1 && _candlefish candlefish moni candlefish && echo ${COMPREPLY[@]}";
    let completed = Command::new("bash").args(["-c", asked]).current_dir(case.dir()).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&completed.stdout).trim(), "monitor", "{completed:?}");

    case.run("man").exit(0).stdout_has(".TH candlefish 1");
    case.run("man --out {dir}/pages").exit(0);
    let page = |name: &str| std::fs::read_to_string(case.dir().join("pages").join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(page("candlefish-monitor.1").contains("keep_firing_for") && page("candlefish-bench-find-max.1").contains(".TH"));
    case.run("completions tcsh").exit(2).stderr_has("bash");
}
