//! The objects of `/openapi.json` as tables.

use serde_json::Value;

use crate::cell;

/// `[Job](#job)`, where the schema is one that has a name.
pub fn link(schema: &Value) -> Option<String> {
    let name = schema["$ref"].as_str()?.rsplit('/').next()?;
    Some(format!("[{name}](#{})", name.to_lowercase()))
}

/// What a value is, in few words: `integer, 1 to 1000, default 25`.
pub fn sort(schema: &Value) -> String {
    if let Some(link) = link(schema) {
        return link;
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        // a number of seconds, or a text such as "30s"
        if schema["example"] == "30s" {
            return "duration".to_owned();
        }
        return choices.iter().map(sort).collect::<Vec<_>>().join(" or ");
    }
    if let Some(values) = schema["enum"].as_array() {
        return values.iter().filter(|value| !value.is_null()).map(|value| format!("`{value}`")).collect::<Vec<_>>().join(" ");
    }
    let mut text = match (schema["type"].as_str(), schema["format"].as_str()) {
        (_, Some("date-time")) => "time".to_owned(),
        (Some("array"), _) => format!("list of {}", sort(&schema["items"])),
        (Some("object"), _) if schema["additionalProperties"].is_object() && schema["additionalProperties"] != Value::Object(serde_json::Map::new()) => {
            format!("object of {}", sort(&schema["additionalProperties"]))
        }
        (Some("string"), _) => "text".to_owned(),
        (Some(other), _) => other.to_owned(),
        (None, _) => "any JSON".to_owned(),
    };
    if let (Some(least), Some(most)) = (schema["minimum"].as_f64(), schema["maximum"].as_f64())
        && most < 9e15
    {
        text += &format!(", {least} to {most}");
    }
    if let Some(pattern) = schema["pattern"].as_str() {
        text += &format!(", `{pattern}`");
    } else if let Some(most) = schema["maxLength"].as_u64() {
        text += &format!(", {} to {most} characters", schema["minLength"].as_u64().unwrap_or(0));
    }
    if let Some(most) = schema["maxItems"].as_u64() {
        text += &format!(", {most} at most");
    }
    if !schema["default"].is_null() {
        text += &format!(", default `{}`", schema["default"]);
    }
    text
}

/// A named object: what it is, and a line for each field.
pub fn table(name: &str, schema: &Value) -> String {
    let mut text = format!("\n### {name}\n");
    if let Some(description) = schema["description"].as_str().filter(|text| !text.is_empty()) {
        text += &format!("\n{}\n", description.replace('<', "&lt;"));
    }
    if schema["properties"].as_object().is_some_and(|fields| !fields.is_empty()) {
        text += "\n| field | is | meaning |\n|---|---|---|\n";
        rows(schema, "", &mut text);
    }
    text
}

/// Fields in order, those that must be there first, each followed by its own.
fn rows(schema: &Value, within: &str, text: &mut String) {
    let Some(fields) = schema["properties"].as_object() else { return };
    let closed = schema["additionalProperties"] == Value::Bool(false); // a request's: here it matters what may be left out
    let required = |name: &str| schema["required"].as_array().is_some_and(|names| names.iter().any(|n| n == name));
    let (first, then): (Vec<_>, Vec<_>) = fields.iter().partition(|(name, _)| closed && required(name));
    for (name, field) in first.into_iter().chain(then) {
        let mut is = sort(field);
        if closed && required(name) {
            is += ", **required**";
        } else if !closed && field["nullable"] == true {
            is += " or null";
        }
        let path = format!("{within}{name}");
        *text += &format!("| `{path}` | {} | {} |\n", cell(&is), cell(field["description"].as_str().unwrap_or_default()));
        rows(field, &format!("{path}."), text);
        rows(&field["items"], &format!("{path}[]."), text);
        rows(&field["additionalProperties"], &format!("{path}.*."), text);
    }
}
