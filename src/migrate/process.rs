//! Which process carries out a run: told in the journal, so that nobody goes on with a run that is still under way.

use std::fs;

/// This process, so that it can be told from every other, on this machine and elsewhere: boot, namespace, number, start.
pub fn this() -> String {
    let pid = std::process::id();
    let start = stat(pid).map_or_else(String::new, |(_, start)| start);
    format!("{} {} {pid} {start}", boot(), namespace())
}

/// Whether a process that told its name is still there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    Alive,
    Dead,
    /// It is on another machine, or in another container.
    Unknown,
}

pub fn life(process: &str) -> Life {
    let words: Vec<&str> = process.split(' ').collect();
    let [machine, space, pid, start] = words[..] else { return Life::Unknown };
    if machine.is_empty() || machine != boot() || space != namespace() {
        return Life::Unknown;
    }
    let Ok(pid) = pid.parse() else { return Life::Unknown };
    match stat(pid) {
        Some((state, began)) if began == start && !matches!(state, 'Z' | 'X') => Life::Alive,
        _ => Life::Dead,
    }
}

/// One boot of one machine.
fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_string()
}

/// Process numbers mean something within their namespace only.
fn namespace() -> String {
    fs::read_link("/proc/self/ns/pid").map_or_else(|_| String::new(), |link| link.display().to_string())
}

/// State and start time of a process.
fn stat(pid: u32) -> Option<(char, String)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in parentheses and may hold anything.
    let mut fields = text.rsplit_once(')')?.1.split_whitespace();
    let state = fields.next()?.chars().next()?;
    Some((state, fields.nth(18)?.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_told_from_one_that_had_its_number() {
        let this = this();
        assert_eq!(life(&this), Life::Alive);
        let (rest, start) = this.rsplit_once(' ').unwrap();
        assert_eq!(life(&format!("{rest} {start}1")), Life::Dead);
        assert_eq!(life(&this.replacen(char::is_alphanumeric, "x", 1)), Life::Unknown);
        assert_eq!(life(""), Life::Unknown);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let words: Vec<&str> = this.split(' ').collect();
        let name = format!("{} {} {} {}", words[0], words[1], child.id(), stat(child.id()).unwrap().1);
        assert_eq!(life(&name), Life::Alive);
        // Killed and not yet waited for is dead.
        child.kill().unwrap();
        while life(&name) == Life::Alive {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(life(&name), Life::Dead);
    }
}
