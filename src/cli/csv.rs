//! CSV (RFC 4180), written so that a spreadsheet takes no cell for a formula and a terminal no letter for a command: titles come from
//! others. Pure.

use crate::cli::print::printable;

/// What a spreadsheet takes for the beginning of a formula, with the forms of full width that some fold.
const FORMULA: [char; 10] = ['=', '+', '-', '@', '\t', '\r', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// Adds a row.
pub(in crate::cli) fn row<S: AsRef<str>>(text: &mut String, cells: impl IntoIterator<Item = S>) {
    for (at, one) in cells.into_iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        cell(text, one.as_ref());
    }
    text.push_str("\r\n");
}

fn cell(text: &mut String, value: &str) {
    // A formula may stand behind blanks, too.
    let is_formula = value.starts_with(FORMULA) || value.trim_start().starts_with(FORMULA);
    let is_quoted = is_formula || value.contains([',', '"', '\r', '\n', ';', '\t']);
    // A line break stays one; a return by itself would let a terminal write over what stands before it.
    let value = value.replace("\r\n", "\n");
    let shown = value.split('\t').map(printable).collect::<Vec<_>>().join("\t");
    if !is_quoted {
        text.push_str(&shown);
        return;
    }
    text.push('"');
    if is_formula {
        text.push('\'');
    }
    for letter in shown.chars() {
        if letter == '"' {
            text.push('"');
        }
        text.push(letter);
    }
    text.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(cells: &[&str]) -> String {
        let mut text = String::new();
        row(&mut text, cells);
        text
    }

    #[test]
    fn cells_are_quoted_where_they_must_be() {
        assert_eq!(told(&["a", "", "b c", "1"]), "a,,b c,1\r\n");
        assert_eq!(told(&["a,b", "a\"b", "a\nb"]), "\"a,b\",\"a\"\"b\",\"a\nb\"\r\n");
        assert_eq!(told(&[]), "\r\n");
    }

    #[test]
    fn no_cell_steers_a_terminal() {
        assert_eq!(told(&["a\u{1b}[2Jb", "c\u{9b}31md"]), "a\u{fffd}[2Jb,c\u{fffd}31md\r\n");
        assert_eq!(told(&["right\rwrong", "two\r\nlines\tx"]), "\"right\u{fffd}wrong\",\"two\nlines\tx\"\r\n");
        assert_eq!(told(&["\u{7}=1+1"]), "\u{fffd}=1+1\r\n");
    }

    #[test]
    fn no_cell_is_a_formula() {
        for value in ["=1+1", "+1", "-1", "@x", "\t=1", "  =cmd|' /c calc'!A1", "\u{ff1d}1", "\n=1"] {
            let told = told(&[value]);
            assert!(told.starts_with("\"'") && told.ends_with("\"\r\n"), "{value:?}: {told:?}");
        }
        assert_eq!(told(&["a=b"]), "a=b\r\n");
    }
}
