//! `/openapi.json`: that it is OpenAPI, that it describes what is there and nothing else, and what it was last time.
//!
//! After a change that is meant: `UPDATE_SNAPSHOTS=1 cargo test --test http openapi`, and the difference is reviewed with
//! the rest.

use std::{collections::BTreeSet, fs, path::Path};

use longshore_common::{json::RawJson, notes::Notes};
use serde_json::{Value, json};

use crate::{
    api::{Api, JSON},
    schema::Document,
};

const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];

async fn document(api: &Api) -> Document {
    let answer = api.get("/openapi.json").await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    Document(answer.json())
}

/// Path, method and description of all operations.
fn operations(document: &Document) -> Vec<(&str, &str, &Value)> {
    let paths = document.0["paths"].as_object().expect("paths");
    paths
        .iter()
        .flat_map(|(path, item)| {
            item.as_object()
                .expect("an object")
                .iter()
                .filter(|(name, _)| METHODS.contains(&name.as_str()))
                .map(|(name, op)| (path.as_str(), name.as_str(), op))
        })
        .collect()
}

#[tokio::test]
async fn the_snapshot() {
    let api = Api::start().await;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/http/openapi.snap.json");
    let now = serde_json::to_string_pretty(&document(&api).await.0).expect("JSON") + "\n";
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &now).expect("write the snapshot");
    }
    let before = fs::read_to_string(&path).unwrap_or_default();
    let differs = before.lines().zip(now.lines()).enumerate().find(|(_, (before, now))| before != now);
    assert!(before == now, "the document has changed, first at {differs:?}; if that is meant: UPDATE_SNAPSHOTS=1 cargo test --test http openapi");
    api.finish().await;
}

#[tokio::test]
async fn it_is_openapi_3() {
    let api = Api::start().await;
    let document = document(&api).await;
    let top = &document.0;
    assert!(top["openapi"].as_str().is_some_and(|version| version.starts_with("3.")), "{}", top["openapi"]);
    assert!(top["info"]["title"].is_string() && top["info"]["version"].is_string());
    let mut ids = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(path.starts_with('/') && operation["summary"].is_string(), "{name}");
        if let Some(id) = operation["operationId"].as_str() {
            assert!(ids.insert(id), "{name}: {id} twice");
        }
        let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
        let mut names = BTreeSet::new();
        for parameter in parameters {
            assert!(names.insert((parameter["in"].as_str(), parameter["name"].as_str())), "{name}: {parameter}");
            assert!(matches!(parameter["in"].as_str(), Some("query" | "path" | "header")) && parameter["schema"].is_object(), "{name}: {parameter}");
            assert!(parameter["in"] != "path" || parameter["required"] == true, "{name}: {parameter}");
        }
        let told: BTreeSet<&str> = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let described: BTreeSet<&str> = names.iter().filter(|(place, _)| *place == Some("path")).filter_map(|(_, name)| *name).collect();
        assert_eq!(told, described, "{name}: what is in the path");
        let bodiless = path == "/logout" || ["}/cancel", "}/retry", "}/pause", "}/resume", "}/run"].iter().any(|end| path.ends_with(end));
        assert_eq!(operation["requestBody"].is_object(), matches!(method, "post" | "patch" | "put") && !bodiless, "{name}");
        let bodies = operation["requestBody"]["content"].as_object().into_iter().flatten();
        let responses = operation["responses"].as_object().expect("responses");
        assert!(responses.keys().any(|status| status.starts_with('2')), "{name}");
        for (status, response) in responses {
            assert!(response["description"].is_string() && status.parse::<u16>().is_ok(), "{name} {status}");
        }
        let contents = responses.values().filter_map(|response| response["content"].as_object()).flatten();
        for (media_type, content) in bodies.chain(contents) {
            assert!(media_type.contains('/'), "{name}");
            look_at_schema(&document, &content["schema"], &name, &mut BTreeSet::new());
        }
    }
    for (name, schema) in top["components"]["schemas"].as_object().expect("schemas") {
        look_at_schema(&document, schema, name, &mut BTreeSet::new());
        if let Some(example) = schema.get("example") {
            assert_eq!(document.faults(schema, example, name), [""; 0]);
        }
    }
    api.finish().await;
}

/// A schema that makes sense: known types, no required field that is not described, references that lead somewhere.
fn look_at_schema(document: &Document, schema: &Value, at: &str, seen: &mut BTreeSet<String>) {
    if let Some(reference) = schema["$ref"].as_str()
        && !seen.insert(reference.to_owned())
    {
        return;
    }
    let schema = document.resolve(schema);
    assert!(schema.is_object(), "{at}: {schema}");
    let kind = schema["type"].as_str();
    assert!(matches!(kind, None | Some("object" | "array" | "string" | "number" | "integer" | "boolean")), "{at}: {kind:?}");
    assert_eq!(kind == Some("array"), schema["items"].is_object(), "{at}");
    assert!(schema["enum"].as_array().is_none_or(|words| !words.is_empty()), "{at}");
    let properties = schema["properties"].as_object();
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        assert!(properties.is_some_and(|known| known.contains_key(required)), "{at}: {required}");
    }
    for (name, property) in properties.into_iter().flatten() {
        look_at_schema(document, property, &format!("{at}.{name}"), seen);
    }
    for part in [&schema["items"], &schema["additionalProperties"]].into_iter().filter(|part| part.is_object()) {
        look_at_schema(document, part, at, seen);
    }
    for part in schema["anyOf"].as_array().into_iter().flatten() {
        look_at_schema(document, part, at, seen);
    }
}

/// The routes, as the source names them.
fn routes_of_the_source() -> BTreeSet<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("api/src/routes");
    let mut routes = BTreeSet::new();
    for file in fs::read_dir(folder).expect("the routes").map(|entry| entry.expect("a file").path()) {
        let text = fs::read_to_string(&file).expect("a source");
        for attribute in text.split("#[oai(").skip(1).filter(|attribute| attribute.trim_start().starts_with("path")) {
            let after = |name: &str| attribute.split_once(&format!("{name} = \"")).and_then(|(_, rest)| rest.split_once('"')).expect("a route").0;
            let parts: Vec<String> =
                after("path").split('/').map(|part| part.strip_prefix(':').map_or(part.to_owned(), |name| format!("{{{name}}}"))).collect();
            routes.insert((parts.join("/"), after("method").to_owned()));
        }
    }
    routes
}

#[tokio::test]
async fn it_describes_what_is_served_and_nothing_else() {
    let api = Api::start().await;
    let document = document(&api).await;
    let described: BTreeSet<(String, String)> = operations(&document).into_iter().map(|(path, method, _)| (path.to_owned(), method.to_owned())).collect();
    assert_eq!(described, routes_of_the_source());
    assert!(described.len() >= 10, "{described:?}");
    for path in described.iter().map(|(path, _)| path).collect::<BTreeSet<_>>() {
        let url = path.replace("{id}", "1").replace("{name}", "a");
        let answer = api.request("PROPFIND", &url, &[], b"").await;
        assert_eq!(answer.status, 405, "{url}: a path that is described is there");
        let allowed: BTreeSet<String> = answer.header("allow").expect("the methods").split(", ").map(str::to_lowercase).collect();
        let known: BTreeSet<String> = described.iter().filter(|(known, _)| known == path).map(|(_, method)| method.clone()).collect();
        let with_head = if known.contains("get") { &known | &BTreeSet::from(["head".to_owned()]) } else { known };
        assert_eq!(allowed, with_head, "{url}");
    }
    api.finish().await;
}

#[tokio::test]
async fn every_operation_has_an_example_and_its_problems() {
    let api = Api::start().await;
    let document = document(&api).await;
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        let responses = operation["responses"].as_object().expect("responses");
        let statuses: BTreeSet<&str> = responses.keys().map(String::as_str).collect();
        let expected = match (method, path) {
            ("post", "/login") => vec!["204", "400", "401", "403", "413", "415", "422", "500", "503"],
            ("post", "/logout") => vec!["204", "401", "403", "500", "503"],
            ("post", "/v1/jobs/{id}/cancel" | "/v1/workflows/{id}/cancel") => vec!["200", "202", "401", "403", "404", "409", "500", "503"],
            ("post", "/v1/workflows/{id}/jobs") => vec!["201", "400", "401", "403", "404", "409", "413", "415", "422", "429", "500", "503"],
            ("post", "/v1/workflows/{id}/retry" | "/v1/jobs/{id}/retry") => vec!["200", "401", "403", "404", "409", "500", "503"],
            ("post", "/v1/queues/{name}/pause" | "/v1/queues/{name}/resume") => vec!["200", "401", "403", "404", "500", "503"],
            ("post", "/v1/jobs/cancel" | "/v1/jobs/retry" | "/v1/jobs/delete" | "/v1/leases/heartbeat" | "/v1/leases/report") => {
                vec!["200", "400", "401", "403", "413", "415", "422", "500", "503"]
            }
            ("post", "/v1/leases") => vec!["200", "400", "401", "403", "409", "413", "415", "422", "500", "503"],
            ("post", "/v1/jobs/{id}/complete" | "/v1/jobs/{id}/fail" | "/v1/jobs/{id}/snooze") => {
                vec!["200", "400", "401", "403", "404", "409", "413", "415", "422", "500", "503"]
            }
            ("patch", _) => vec!["200", "400", "401", "403", "404", "409", "413", "415", "422", "500", "503"],
            ("put", _) => vec!["200", "201", "400", "401", "403", "413", "415", "422", "500", "503"],
            ("delete", "/v1/queues/{name}") => vec!["202", "204", "401", "403", "404", "409", "422", "500", "503"],
            ("delete", "/v1/schedules/{name}") => vec!["204", "401", "403", "404", "500", "503"],
            ("post", "/v1/schedules/{name}/run") => vec!["200", "201", "401", "403", "404", "409", "429", "500", "503"],
            ("delete", _) => vec!["204", "401", "403", "404", "409", "500", "503"],
            ("post", "/v1/jobs") => vec!["200", "201", "400", "401", "403", "409", "413", "415", "422", "429", "500", "503"],
            ("post", _) => vec!["201", "400", "401", "403", "409", "413", "415", "422", "429", "500", "503"],
            ("get", "/v1/jobs" | "/v1/events" | "/v1/failures") => vec!["200", "401", "403", "422", "500", "503"],
            ("get", "/v1/jobs/{id}" | "/v1/workflows/{id}" | "/v1/schedules/{name}/preview") => vec!["200", "401", "403", "404", "422", "500", "503"],
            ("get", path) if path.ends_with('}') || path.ends_with("/explain") || path.ends_with("/logs") => vec!["200", "401", "403", "404", "500", "503"],
            ("get", "/livez") => vec!["200"],
            ("get", "/readyz" | "/health") => vec!["200", "503"],
            _ => vec!["200", "401", "403", "500", "503"],
        };
        assert_eq!(statuses, expected.into_iter().collect(), "{name}");
        for (status, response) in responses {
            if status == "204" {
                let sets_cookie = matches!(path, "/login" | "/logout");
                assert!(response["headers"]["SET-COOKIE"].is_object() == sets_cookie && response.get("content").is_none(), "{name}: {response}");
                continue;
            }
            let content = response["content"].as_object().expect("a body");
            let is_problem = status.as_str() >= "400" && !matches!(path, "/readyz" | "/health");
            let expected = match path {
                _ if is_problem => "application/problem+json",
                "/v1/events" => "text/event-stream",
                "/metrics" => "text/plain; version=0.0.4",
                _ => "application/json",
            };
            let mut types: Vec<&str> = content.keys().map(String::as_str).collect();
            if (method, path, status.as_str()) == ("get", "/v1/workflows/{id}", "200") {
                types.retain(|drawn| !drawn.starts_with("text/vnd."));
            }
            assert_eq!(types, [expected], "{name} {status}");
            if is_problem {
                assert_eq!(content[expected]["schema"]["$ref"], "#/components/schemas/Problem", "{name} {status}");
            }
        }
        // an example of what is sent, or else of what comes back
        let sent = operation["requestBody"]["content"].as_object().into_iter().flatten();
        let answered = responses.iter().filter(|(status, _)| status.starts_with('2')).filter_map(|(_, response)| response["content"].as_object()).flatten();
        for (media_type, content) in sent.chain(answered) {
            assert!(has_example(&document, &content["schema"]), "{name}: {media_type}");
        }
    }
    api.finish().await;
}

fn has_example(document: &Document, schema: &Value) -> bool {
    let schema = document.resolve(schema);
    let inside =
        schema["properties"].as_object().into_iter().flatten().map(|(_, property)| property).chain(schema["items"].is_object().then(|| &schema["items"]));
    schema.get("example").is_some() || inside.filter(|part| part["$ref"].is_string() || part["items"].is_object()).any(|part| has_example(document, part))
}

/// What the paths of leases answer.
async fn lease_answers(api: &Api) -> Vec<(&'static str, &'static str, crate::support::http::Response)> {
    let mut answers = Vec::new();
    api.enqueue(r#"{"kind":"p","queue":"pulled"}"#).await;
    let leased = api.post("/v1/leases", r#"{"queues":["pulled"]}"#).await;
    let pulled = leased.json()["jobs"][0].clone();
    answers.push(("/v1/leases", "post", leased));
    for body in ["{}", "{", r#"{"limit":0}"#, r#"{"worker":"w"}"#] {
        answers.push(("/v1/leases", "post", api.post("/v1/leases", body).await));
    }
    let heartbeat = json!({"leases": [{"id": pulled["id"], "lease": pulled["lease"], "progress": 0.5}, {"id": 7, "lease": "x"}]}).to_string();
    for body in [heartbeat.as_str(), "{}"] {
        answers.push(("/v1/leases/heartbeat", "post", api.post("/v1/leases/heartbeat", body).await));
    }
    let report = json!({"reports": [{"id": pulled["id"], "lease": pulled["lease"], "outcome": "complete", "result": 1}]}).to_string();
    for body in [report.as_str(), report.as_str(), "{}"] {
        answers.push(("/v1/leases/report", "post", api.post("/v1/leases/report", body).await));
    }
    for (path, end, body) in [
        ("/v1/jobs/{id}/complete", "complete", json!({"lease": pulled["lease"], "result": 1})),
        ("/v1/jobs/{id}/fail", "fail", json!({"lease": pulled["lease"], "error": "e"})),
        ("/v1/jobs/{id}/snooze", "snooze", json!({"lease": pulled["lease"]})),
    ] {
        answers.push((path, "post", api.post(&format!("/v1/jobs/{}/{end}", pulled["id"]), body.to_string()).await));
        answers.push((path, "post", api.post(&format!("/v1/jobs/0/{end}"), r#"{"lease":"1"}"#).await));
    }
    answers
}

#[tokio::test]
async fn answers_are_as_described() {
    let api = Api::start().await;
    let document = document(&api).await;
    let worker = api.worker("w", &["*=50"]).await;
    let jobs = r#"{"jobs":[{"kind":"a","tags":["x"],"meta":{"a":1},"concurrency_key":"c"},{"kind":"b","delay":5,"timeout":null,"expires_in":60,"unique":{"key":"u"}}]}"#;
    let mut answers = vec![("/v1/jobs/batch", "post", api.post("/v1/jobs/batch", jobs).await)];
    for body in [
        r#"{"kind":"b","timeout":1.5}"#,
        r#"{"kind":"b","unique":{"key":"u","on_conflict":"replace"}}"#,
        r#"{"kind":"b","unique":{"key":"u","on_conflict":"reject"}}"#,
        "{}",
        "{",
        "[]",
    ] {
        answers.push(("/v1/jobs", "post", api.post("/v1/jobs", body).await));
    }
    answers.push(("/v1/jobs", "post", api.request("POST", "/v1/jobs", &[("content-type", "text/plain")], b"{}").await));
    answers.push(("/v1/jobs", "post", api.request("POST", "/v1/jobs", &[JSON, ("origin", "null")], b"{}").await));
    answers.push(("/v1/jobs", "post", api.post("/v1/jobs", vec![b' '; 2 * 1024 * 1024 + 1]).await));
    let lease = api.claim(worker, "default", 1).await.jobs[0].lease;
    let json = |text: &str| RawJson::parse(text.to_owned()).ok();
    api.store.note(&[(lease, Notes { progress: json("0.5"), checkpoint: json("[1]"), log: "line\n".to_owned() })]).await.expect("note");
    let id = lease.id;
    for (path, url) in [
        ("/v1/jobs", "/v1/jobs?fields=args,result"),
        ("/v1/jobs", "/v1/jobs?limit=1"),
        ("/v1/jobs", "/v1/jobs?limit=0"),
        ("/v1/jobs/{id}", &*format!("/v1/jobs/{id}")),
        ("/v1/jobs/{id}", "/v1/jobs/nothing"),
        ("/v1/jobs/{id}/explain", &*format!("/v1/jobs/{id}/explain")),
        ("/v1/jobs/{id}/explain", &*format!("/v1/jobs/{}/explain", id + 1)),
        ("/v1/jobs/{id}/explain", "/v1/jobs/0/explain"),
        ("/v1/jobs/{id}/logs", &*format!("/v1/jobs/{id}/logs")),
        ("/v1/jobs/{id}/logs", "/v1/jobs/0/logs"),
        ("/v1/queues", "/v1/queues"),
        ("/v1/queues/{name}", "/v1/queues/default"),
        ("/v1/queues/{name}", "/v1/queues/nothing"),
        ("/v1/workers", "/v1/workers"),
        ("/v1/stats", "/v1/stats"),
        ("/v1/database", "/v1/database"),
        ("/v1/failures", "/v1/failures"),
        ("/v1/failures", "/v1/failures?limit=0"),
        ("/livez", "/livez"),
        ("/readyz", "/readyz"),
        ("/health", "/health"),
    ] {
        answers.push((path, "get", api.get(url).await));
    }
    answers.extend(lease_answers(&api).await);
    let waiting = api.enqueue(r#"{"kind":"c"}"#).await;
    for (id, end) in [(id, "cancel"), (id, "retry"), (waiting, "cancel"), (waiting, "cancel"), (waiting, "retry"), (0, "cancel")] {
        let (path, url) = (if end == "cancel" { "/v1/jobs/{id}/cancel" } else { "/v1/jobs/{id}/retry" }, format!("/v1/jobs/{id}/{end}"));
        answers.push((path, "post", api.request("POST", &url, &[], b"").await));
    }
    for (id, body) in [(id, "{}"), (waiting, "{}"), (waiting, "{"), (waiting, "[]"), (0, "{}")] {
        answers.push(("/v1/jobs/{id}", "patch", api.request("PATCH", &format!("/v1/jobs/{id}"), &[JSON], body.as_bytes()).await));
    }
    for id in [id, 0] {
        answers.push(("/v1/jobs/{id}", "delete", api.request("DELETE", &format!("/v1/jobs/{id}"), &[], b"").await));
    }
    for path in ["/v1/jobs/cancel", "/v1/jobs/retry", "/v1/jobs/delete"] {
        for body in [r#"{"all": true, "dry_run": true}"#, r#"{"all": true}"#, "{}", "{", r#"{"filter": {"state": "failed"}, "rate": {"limit": 1, "per": 1}}"#] {
            answers.push((path, "post", api.post(path, body).await));
        }
    }
    for (name, end) in [("default", "pause"), ("default", "resume"), ("nothing", "pause"), ("nothing", "resume")] {
        let path = if end == "pause" { "/v1/queues/{name}/pause" } else { "/v1/queues/{name}/resume" };
        answers.push((path, "post", api.request("POST", &format!("/v1/queues/{name}/{end}"), &[], b"").await));
    }
    let full = json!({"max_waiting": 0, "on_failed": {"kind": "k", "args": {"a": 1}}, "retention": {"failed": null}}).to_string();
    for (name, body) in [("full", full.as_str()), ("full", full.as_str()), ("full", "{"), ("full", r#"{"max_waiting":-1}"#)] {
        answers.push(("/v1/queues/{name}", "put", api.request("PUT", &format!("/v1/queues/{name}"), &[JSON], body.as_bytes()).await));
    }
    answers.push(("/v1/queues/{name}", "get", api.get("/v1/queues/full").await));
    answers.push(("/v1/jobs", "post", api.post("/v1/jobs", r#"{"kind":"k","queue":"full"}"#).await));
    answers.push(("/v1/jobs/batch", "post", api.post("/v1/jobs/batch", r#"{"jobs":[{"kind":"k","queue":"full"}]}"#).await));
    for query in ["default", "default?purge=true", "nothing", "default?x"] {
        answers.push(("/v1/queues/{name}", "delete", api.request("DELETE", &format!("/v1/queues/{query}"), &[], b"").await));
    }
    let mut statuses = BTreeSet::new();
    for (path, method, answer) in &answers {
        let response = &document.0["paths"][path][method]["responses"][answer.status.to_string()];
        let content = response["content"].as_object().unwrap_or_else(|| panic!("{method} {path} does not tell of {}: {}", answer.status, answer.text()));
        let content = &content[answer.header("content-type").expect("a media type")];
        assert_eq!(document.faults(&content["schema"], &answer.json(), path), [""; 0], "{method} {path}: {}", answer.text());
        statuses.insert(answer.status);
    }
    assert_eq!(statuses, [200, 201, 202, 400, 403, 404, 409, 413, 415, 422, 429].into());
    let strange = json!({"status": "ok", "colour": "red"});
    assert_eq!(document.faults(&document.0["components"]["schemas"]["Life"], &strange, "").len(), 1, "the comparison itself can fail");
    api.finish().await;
}
