//! Passwords in what is said: an argument or a setting that comes back in an error must not bring its password along.

/// What stands for a password.
const MASK: &str = "***";

/// The text with `***` for the password of every address in it: `scheme://user:PASSWORD@host`, `password=PASSWORD`. One that is badly written may hide
/// more than its password; of a password with white space in an address nothing is hidden.
pub fn masked(text: &str) -> String {
    settings_masked(&addresses_masked(text))
}

fn addresses_masked(text: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.find("://") {
        let (before, after) = rest.split_at(at + "://".len());
        shown.push_str(before);
        let word = &after[..after.find(char::is_whitespace).unwrap_or(after.len())];
        // A password in which @ or / is not encoded ends at the last @.
        let secret = word.rfind('@').and_then(|end| Some((word[..end].find(':')? + 1, end)));
        rest = match secret {
            Some((start, end)) => {
                shown.push_str(&after[..start]);
                shown.push_str(MASK);
                &after[end..]
            }
            None => after,
        };
    }
    shown + rest
}

fn settings_masked(text: &str) -> String {
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some(at) = rest.to_ascii_lowercase().find("password=") {
        let (before, value) = rest.split_at(at + "password=".len());
        shown.push_str(before);
        let quoted = value.strip_prefix('\'').and_then(|inner| Some(inner.find('\'')? + 2));
        let length = quoted.unwrap_or_else(|| value.find(|char: char| char.is_whitespace() || char == '&').unwrap_or(value.len()));
        shown.push_str(if length > 0 { MASK } else { "" });
        rest = &value[length..];
    }
    shown + rest
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn no_address_shows_its_password() {
        for (text, shown) in [
            ("knows no run postgresql://u:p@ss/w:ord@db/x", "knows no run postgresql://u:***@db/x"),
            ("argument 'redis://:hunter2@h:1/0' found, see https://x.org/a", "argument 'redis://:***@h:1/0' found, see https://x.org/a"),
            ("no 'host=db password=hunter2 user=u'", "no 'host=db password=*** user=u'"),
            (
                "PASSWORD='hun ter2' postgresql://h/x?password=hunter2&sslmode=disable",
                "PASSWORD=*** postgresql://h/x?password=***&sslmode=disable",
            ),
            ("postgresql://u@db:5432/x is not there", "postgresql://u@db:5432/x is not there"),
        ] {
            assert_eq!(masked(text), shown);
            assert_eq!(masked(shown), shown);
        }
    }
}
