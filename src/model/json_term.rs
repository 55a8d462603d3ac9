//! A JSON value in the notation of RabbitMQ's texts.

use serde_json::Value;

/// The value as Erlang prints it: `<<"text">>`, `[1,2]`, `#{<<"key">> => 1}`.
pub fn json_term(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(values) => {
            let values: Vec<String> = values.iter().map(json_term).collect();
            format!("[{}]", values.join(","))
        }
        Value::Object(fields) => {
            let field = |(name, value): (&String, &Value)| {
                format!("{} => {}", quoted(name), json_term(value))
            };
            let fields: Vec<String> = fields.iter().map(field).collect();
            format!("#{{{}}}", fields.join(","))
        }
    }
}

fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    match text {
        "" => "<<>>".to_owned(),
        _ if text.is_ascii() => format!("<<\"{escaped}\">>"),
        _ => format!("<<\"{escaped}\"/utf8>>"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_are_written_as_in_erlang() {
        for (value, term) in [
            (json!(null), "null"),
            (json!(true), "true"),
            (json!(-1), "-1"),
            (json!(10.5), "10.5"),
            (json!(""), "<<>>"),
            (json!("a\"b"), r#"<<"a\"b">>"#),
            (json!("é"), "<<\"é\"/utf8>>"),
            (json!([1, "x"]), "[1,<<\"x\">>]"),
            (json!({"a": 1}), "#{<<\"a\">> => 1}"),
        ] {
            assert_eq!(json_term(&value), term);
        }
    }
}
