//! Prints rows as rabbitmqctl prints them: separated by tabs, as JSON, as CSV, or as a table with borders. Pure.
//!
//! CSV is written by hand: rabbitmqctl quotes every field, so there is nothing to decide.

use serde_json::{Map, Value};

use super::invocation::{Format, Style};
use super::pretty_table;
use super::protocol::{Cell, TypedCell};

/// Returns the text to print for each event of a reply.
#[derive(Debug)]
pub(super) struct Printer {
    format: Format,
    headers: bool,
    /// `None` until a table has begun.
    columns: Option<Vec<String>>,
    rows: usize,
    /// All rows of a pretty table, whose widths depend on the last one.
    cells: Vec<Vec<String>>,
}

impl Printer {
    pub(super) fn new(style: &Style) -> Printer {
        let headers = !style.silent && !style.no_table_headers;
        Printer {
            format: style.format,
            headers,
            columns: None,
            rows: 0,
            cells: Vec::new(),
        }
    }

    /// The columns of the rows that follow.
    pub(super) fn start(&mut self, columns: Vec<String>) -> String {
        self.columns = Some(columns);
        match self.format {
            Format::Json => "[\n".to_owned(),
            Format::Table | Format::Csv | Format::PrettyTable => String::new(),
        }
    }

    /// A row. Headers come before the first one.
    pub(super) fn row(&mut self, cells: &[Cell]) -> String {
        let first = self.rows == 0;
        self.rows += 1;
        let columns = self.columns.as_deref().unwrap_or_default();
        match self.format {
            Format::Table => {
                let header = if first && self.headers {
                    columns.join("\t") + "\n"
                } else {
                    String::new()
                };
                header + &cells.iter().map(table).collect::<Vec<_>>().join("\t") + "\n"
            }
            Format::PrettyTable => {
                self.cells.push(cells.iter().map(table).collect());
                String::new()
            }
            Format::Csv => {
                let header = match first && self.headers {
                    true => {
                        columns
                            .iter()
                            .map(|column| quoted_csv(column))
                            .collect::<Vec<_>>()
                            .join(",")
                            + "\n"
                    }
                    false => String::new(),
                };
                header + &cells.iter().map(csv).collect::<Vec<_>>().join(",") + "\n"
            }
            Format::Json => {
                let object: Map<String, Value> = columns
                    .iter()
                    .cloned()
                    .zip(cells.iter().map(json))
                    .collect();
                format!(
                    "{}{}\n",
                    if first { "" } else { "," },
                    Value::Object(object)
                )
            }
        }
    }

    /// The end of the reply.
    pub(super) fn end(&self) -> String {
        match self.format {
            Format::Json if self.columns.is_some() => "]\n".to_owned(),
            Format::PrettyTable if !self.cells.is_empty() => {
                let columns = self.columns.as_deref().unwrap_or_default();
                pretty_table::table(columns, &self.cells)
            }
            Format::Json | Format::PrettyTable | Format::Table | Format::Csv => String::new(),
        }
    }

    /// A message that is the whole result.
    pub(super) fn message(&self, text: &str) -> String {
        match self.format {
            Format::Json => format!("{}\n", serde_json::json!({ "message": text })),
            Format::PrettyTable => pretty_table::output(text),
            Format::Table | Format::Csv => format!("{text}\n"),
        }
    }

    /// A report as text or JSON.
    pub(super) fn report(&self, text: &str, json: &Value) -> String {
        match self.format {
            Format::Json => format!("{json}\n"),
            // rabbitmqctl shows an empty report as an empty list.
            Format::PrettyTable if text.is_empty() => pretty_table::output(&json.to_string()),
            Format::PrettyTable => pretty_table::output(text),
            Format::Table | Format::Csv => format!("{text}\n"),
        }
    }
}

fn table(cell: &Cell) -> String {
    match cell {
        Cell::Nothing => String::new(),
        Cell::Text(text) => text.clone(),
        Cell::Integer(number) => number.to_string(),
        Cell::Float(number) => number.to_string(),
        Cell::Bool(truth) => truth.to_string(),
        Cell::Words(words) => format!("[{}]", words.join(", ")),
        Cell::List(items) => {
            format!(
                "[{}]",
                items
                    .iter()
                    .map(|item| nested(&item.cell))
                    .collect::<Vec<_>>()
                    .join(",")
            )
        }
        Cell::Pairs(pairs) => {
            let pair =
                |(key, value): &(String, Cell)| format!("{{<<\"{key}\">>, {}}}", table(value));
            format!(
                "[{}]",
                pairs.iter().map(pair).collect::<Vec<_>>().join(", ")
            )
        }
        Cell::Table(entries) => {
            let entry = |(name, value): &(String, TypedCell)| {
                format!("{{\"{name}\",{}}}", nested(&value.cell))
            };
            format!(
                "[{}]",
                entries.iter().map(entry).collect::<Vec<_>>().join(",")
            )
        }
    }
}

/// A cell within a list: text is quoted.
fn nested(cell: &Cell) -> String {
    match cell {
        Cell::Text(text) => format!("\"{text}\""),
        other => table(other),
    }
}

fn csv(cell: &Cell) -> String {
    quoted_csv(&table(cell))
}

fn quoted_csv(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

fn json(cell: &Cell) -> Value {
    match cell {
        Cell::Nothing => Value::String(String::new()),
        Cell::Text(text) => Value::String(text.clone()),
        Cell::Integer(number) => Value::from(*number),
        Cell::Float(number) => Value::from(*number),
        Cell::Bool(truth) => Value::Bool(*truth),
        Cell::Words(words) => words.iter().cloned().map(Value::String).collect(),
        Cell::List(items) => items
            .iter()
            .map(|item| Value::from(vec![item.kind.clone().into(), json(&item.cell)]))
            .collect(),
        Cell::Pairs(pairs) => pairs
            .iter()
            .map(|(key, value)| Value::from(vec![key.clone().into(), json(value)]))
            .collect(),
        Cell::Table(entries) => entries
            .iter()
            .map(|(name, value)| {
                Value::from(vec![
                    name.clone().into(),
                    value.kind.clone().into(),
                    json(&value.cell),
                ])
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn print(format: Format, headers: bool, rows: &[Vec<Cell>]) -> String {
        let style = Style {
            format,
            no_table_headers: !headers,
            ..Style::default()
        };
        let mut printer = Printer::new(&style);
        let mut text = printer.start(vec!["user".into(), "tags".into()]);
        for row in rows {
            text += &printer.row(row);
        }
        text + &printer.end()
    }

    #[test]
    fn rows_print_as_rabbitmqctl_prints_them() {
        let rows = vec![
            vec![
                "guest".into(),
                Cell::Words(vec!["administrator".into(), "monitoring".into()]),
            ],
            vec!["bob".into(), Cell::Words(vec![])],
        ];
        assert_eq!(
            print(Format::Table, true, &rows),
            "user\ttags\nguest\t[administrator, monitoring]\nbob\t[]\n"
        );
        assert_eq!(
            print(Format::Table, false, &rows),
            "guest\t[administrator, monitoring]\nbob\t[]\n"
        );
        assert_eq!(
            print(Format::Json, true, &rows),
            "[\n{\"user\":\"guest\",\"tags\":[\"administrator\",\"monitoring\"]}\n,{\"user\":\"bob\",\"tags\":[]}\n]\n"
        );
        assert_eq!(
            print(Format::Csv, true, &rows),
            "\"user\",\"tags\"\n\"guest\",\"[administrator, monitoring]\"\n\"bob\",\"[]\"\n"
        );
        assert_eq!(print(Format::Table, true, &[]), "", "no rows, no headers");
        assert_eq!(print(Format::Json, true, &[]), "[\n]\n");
    }

    #[test]
    fn amqp_tables_print_with_and_without_types() {
        let typed = |kind: &str, cell: Cell| TypedCell {
            kind: kind.into(),
            cell,
        };
        let cell = Cell::Table(vec![
            ("x-max-length".into(), typed("signedint", Cell::Integer(10))),
            ("x-queue-type".into(), typed("longstr", "classic".into())),
            (
                "inner".into(),
                typed(
                    "table",
                    Cell::Table(vec![("a".into(), typed("bool", true.into()))]),
                ),
            ),
        ]);
        assert_eq!(
            table(&cell),
            r#"[{"x-max-length",10},{"x-queue-type","classic"},{"inner",[{"a",true}]}]"#
        );
        assert_eq!(
            json(&cell).to_string(),
            r#"[["x-max-length","signedint",10],["x-queue-type","longstr","classic"],["inner","table",[["a","bool",true]]]]"#
        );
    }
}
