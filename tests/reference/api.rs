//! `docs/reference/api.md`, from the checked-in snapshot of `/openapi.json` (`tests/http/openapi.rs` keeps it true).

use serde_json::Value;

use crate::{
    cell, page_ends_with, read,
    schemas::{link, sort, table},
};

/// What paths are about, by how they begin; the first that fits counts.
const SECTIONS: &[(&str, &[&str])] = &[
    ("Enqueue, look, control", &["/v1/jobs"]),
    ("Your own worker", &["/v1/leases"]),
    ("Workflows", &["/v1/workflows"]),
    ("Queues", &["/v1/queues"]),
    ("Schedules", &["/v1/schedules"]),
    ("What happens", &["/v1/failures", "/v1/workers", "/v1/stats", "/v1/database", "/v1/events"]),
    ("Log in", &["/login", "/logout"]),
    ("Probes and metrics", &["/livez", "/readyz", "/health", "/metrics"]),
];

#[test]
fn api() {
    let document: Value = serde_json::from_str(&read("tests/http/openapi.snap.json")).expect("JSON");
    let paths = document["paths"].as_object().expect("paths");
    let section = |path: &str| SECTIONS.iter().position(|(_, starts)| starts.iter().any(|start| path.starts_with(start)));
    for path in paths.keys() {
        assert!(section(path).is_some(), "{path} is in no section of the page: name it in tests/reference/api.rs");
    }

    let mut text = "\n| call | does |\n|---|---|\n".to_owned();
    let mut operations = String::new();
    for (number, (title, _)) in SECTIONS.iter().enumerate() {
        text += &format!("| **{title}** | |\n");
        operations += &format!("\n## {title}\n");
        for (path, methods) in paths.iter().filter(|(path, _)| section(path) == Some(number)) {
            for (method, operation) in methods.as_object().expect("operations") {
                let heading = format!("{} {path}", method.to_uppercase());
                text += &format!("| [`{heading}`](#{}) | {} |\n", anchor(&heading), operation["summary"].as_str().unwrap_or_default());
                operations += &one(&format!("{} `{path}`", method.to_uppercase()), operation);
            }
        }
    }
    text += &problems(&document);
    text += &operations;
    text += "\n## Objects\n";
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        text += &table(name, schema);
    }
    page_ends_with("docs/reference/api.md", &text);
}

/// As mdBook makes one of a heading.
fn anchor(heading: &str) -> String {
    heading.chars().filter_map(|c| if c == ' ' { Some('-') } else { (c.is_alphanumeric() || c == '-' || c == '_').then(|| c.to_ascii_lowercase()) }).collect()
}

/// What each status of a problem means, wherever it comes.
fn problems(document: &Value) -> String {
    let mut meanings = std::collections::BTreeMap::new();
    for operation in document["paths"].as_object().into_iter().flatten().filter_map(|(_, methods)| methods.as_object()).flatten() {
        for (status, answer) in operation.1["responses"].as_object().into_iter().flatten() {
            if is_problem(answer) {
                meanings.insert(status.as_str(), answer["description"].as_str().unwrap_or_default());
            }
        }
    }
    let mut text = "\n## Problems\n\n| status | means |\n|---|---|\n".to_owned();
    for (status, meaning) in meanings {
        text += &format!("| {status} | {} |\n", cell(meaning));
    }
    text
}

fn is_problem(answer: &Value) -> bool {
    answer["content"].as_object().is_some_and(|content| content.contains_key("application/problem+json"))
}

/// One operation.
fn one(heading: &str, operation: &Value) -> String {
    let mut text = format!("\n### {heading}\n\n{}.", operation["summary"].as_str().unwrap_or_default());
    if let Some(description) = operation["description"].as_str() {
        text += &format!(" {}", description.replace('<', "&lt;"));
    }
    text += "\n";
    let parameters: Vec<&Value> = operation["parameters"].as_array().into_iter().flatten().filter(|p| p["in"] != "path").collect();
    if !parameters.is_empty() {
        text += "\n| parameter | is | meaning |\n|---|---|---|\n";
        for parameter in parameters {
            let place = if parameter["in"] == "header" { "header " } else { "?" };
            let meaning = parameter["description"].as_str().unwrap_or_default();
            text += &format!("| {place}`{}` | {} | {} |\n", parameter["name"].as_str().unwrap_or_default(), cell(&sort(&parameter["schema"])), cell(meaning));
        }
    }
    let body = &operation["requestBody"];
    for (media, content) in body["content"].as_object().into_iter().flatten() {
        let what = link(&content["schema"]).unwrap_or_else(|| sort(&content["schema"]));
        text += &format!("\nBody, `{media}`: {what}. {}\n", body["description"].as_str().unwrap_or_default());
    }
    text += "\n| answer | is | means |\n|---|---|---|\n";
    let mut problems = Vec::new();
    for (status, answer) in operation["responses"].as_object().into_iter().flatten() {
        if is_problem(answer) {
            problems.push(status.as_str());
            continue;
        }
        let contents = answer["content"].as_object().into_iter().flatten();
        let what: Vec<String> = contents.map(|(media, content)| link(&content["schema"]).unwrap_or_else(|| format!("`{media}`"))).collect();
        text += &format!("| {status} | {} | {} |\n", what.join(", "), cell(answer["description"].as_str().unwrap_or_default()));
    }
    if !problems.is_empty() {
        text += &format!("| {} | [Problem](#problem) | [see above](#problems) |\n", problems.join(", "));
    }
    text
}
