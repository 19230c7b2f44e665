//! How much room text takes on a terminal, and text that takes no more than there is.

/// Columns that a terminal may need at most: beyond ASCII a character may be two wide.
pub fn columns_of(text: &str) -> usize {
    text.chars().map(width_of).sum()
}

pub fn width_of(character: char) -> usize {
    // Punctuation and dashes of ours, and Latin, Greek, Cyrillic letters, are one wide.
    if (character as u32) < 0x1100 || ('\u{2010}'..='\u{27bf}').contains(&character) { 1 } else { 2 }
}

/// The text in at most `width` columns, with an ellipsis where it was cut.
pub fn cut(text: &str, width: usize) -> String {
    if columns_of(text) <= width {
        return text.to_string();
    }
    let mut kept = String::new();
    let mut columns = 1;
    for character in text.chars() {
        columns += width_of(character);
        if columns > width {
            break;
        }
        kept.push(character);
    }
    kept.push('…');
    kept
}

/// Words in lines of so many columns at most; a word that is longer has a line of its own.
pub fn filled(words: &[String], between: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if columns_of(line) + columns_of(between) + columns_of(word) <= width => {
                line.push_str(between);
                line.push_str(word);
            }
            _ => lines.push(word.clone()),
        }
    }
    lines
}
