//! Tables with borders. Drawn by hand with the line characters of VT100 terminals, as rabbitmqctl draws them; crates for
//! tables draw Unicode or ASCII. Pure.

/// Switches a terminal to its line characters.
const LINES: &str = "\x1b(0";
/// Switches back to letters.
const LETTERS: &str = "\x1b(B";
/// For headers.
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// The characters at the left end of a border, at its crossings and at its right end.
type Border = [char; 3];
const TOP: Border = ['l', 'w', 'k'];
const BETWEEN: Border = ['t', 'n', 'u'];
const BOTTOM: Border = ['m', 'v', 'j'];

/// Draws a table. Each row has a cell for each column.
pub(super) fn table(columns: &[String], rows: &[Vec<String>]) -> String {
    let widths: Vec<usize> = (0..columns.len())
        .map(|index| {
            let cells = rows.iter().filter_map(|row| row.get(index));
            cells
                .chain(columns.get(index))
                .map(|cell| width(cell))
                .max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    let mut text = border(TOP, &widths);
    text += &row(columns, &widths, (BOLD, PLAIN));
    for cells in rows {
        text += &border(BETWEEN, &widths);
        text += &row(cells, &widths, ("", ""));
    }
    text + &border(BOTTOM, &widths)
}

/// Draws a message as a table of one cell.
pub(super) fn output(text: &str) -> String {
    table(&["Output".to_owned()], &[vec![text.to_owned()]])
}

/// The width of a cell is that of its longest line.
fn width(cell: &str) -> usize {
    cell.lines()
        .map(|line| line.chars().count())
        .max()
        .unwrap_or(0)
}

fn border([left, crossing, right]: Border, widths: &[usize]) -> String {
    let pieces: Vec<String> = widths.iter().map(|width| "q".repeat(width + 2)).collect();
    let inner = pieces.join(&crossing.to_string());
    format!("{LINES}{left}{inner}{right}{LETTERS}\n")
}

/// Draws a row, which is as high as its highest cell.
fn row(cells: &[String], widths: &[usize], (begin, end): (&str, &str)) -> String {
    let side = format!("{LINES}x{LETTERS}");
    let height = cells.iter().map(|cell| cell.lines().count()).max();
    let mut text = String::new();
    for number in 0..height.unwrap_or(0).max(1) {
        text += &side;
        for (cell, width) in cells.iter().zip(widths) {
            let line = cell.lines().nth(number).unwrap_or_default();
            let space = " ".repeat(width.saturating_sub(line.chars().count()));
            text += &format!(" {begin}{line}{end}{space} {side}");
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The table as a terminal would show it, with `*` before bold text and `/` after it.
    fn drawn(text: &str) -> String {
        let mut drawn = String::new();
        let mut lines = false;
        for part in text.split('\x1b').skip(1) {
            let (code, rest) = part.split_at(2);
            match code {
                "(0" => lines = true,
                "(B" => lines = false,
                _ => drawn += if code == "[1" { "*" } else { "/" },
            }
            let rest = rest
                .strip_prefix('m')
                .filter(|_| code.starts_with('['))
                .unwrap_or(rest);
            drawn.extend(rest.chars().map(|c| match c {
                'q' if lines => '-',
                'x' if lines => '|',
                _ if lines => '+',
                other => other,
            }));
        }
        drawn
    }

    #[test]
    fn tables_are_drawn_as_rabbitmqctl_draws_them() {
        let columns = ["name".to_owned(), "messages".to_owned()];
        let rows = [["queue", "1"], ["q\u{e4}", "two\nlines"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            drawn(&table(&columns, &rows)),
            "+-------+----------+\n\
             | *name/  | *messages/ |\n\
             +-------+----------+\n\
             | queue | 1        |\n\
             +-------+----------+\n\
             | q\u{e4}    | two      |\n\
             |       | lines    |\n\
             +-------+----------+\n"
        );
        assert_eq!(
            output("[]"),
            "\x1b(0lqqqqqqqqk\x1b(B\n\
             \x1b(0x\x1b(B \x1b[1mOutput\x1b[0m \x1b(0x\x1b(B\n\
             \x1b(0tqqqqqqqqu\x1b(B\n\
             \x1b(0x\x1b(B []     \x1b(0x\x1b(B\n\
             \x1b(0mqqqqqqqqj\x1b(B\n"
        );
    }
}
