//! API keys: who is let in, and for what.

use std::{collections::BTreeSet, time::Duration};

use longshore_common::key::{KeyName, Scope};

use crate::{
    api::{Api, JSON, create_key, problem},
    support::{
        eventually::eventually,
        http::{Connection, Response},
    },
};

/// What both creating and revoking take at most.
const EVERYWHERE: Duration = Duration::from_secs(5);

/// Every route, and what it wants; `None`: any key.
const ROUTES: [(&str, &str, Option<Scope>); 43] = [
    ("POST", "/v1/jobs", Some(Scope::Enqueue)),
    ("POST", "/v1/jobs/batch", Some(Scope::Enqueue)),
    ("GET", "/v1/jobs", Some(Scope::Read)),
    ("GET", "/v1/jobs/{id}", Some(Scope::Read)),
    ("GET", "/v1/queues", Some(Scope::Read)),
    ("GET", "/v1/jobs/{id}/explain", Some(Scope::Read)),
    ("GET", "/v1/jobs/{id}/logs", Some(Scope::Read)),
    ("GET", "/v1/queues/{name}", Some(Scope::Read)),
    ("GET", "/v1/schedules", Some(Scope::Read)),
    ("GET", "/v1/schedules/{name}", Some(Scope::Read)),
    ("GET", "/v1/schedules/{name}/preview", Some(Scope::Read)),
    ("POST", "/v1/schedules/{name}/run", Some(Scope::Enqueue)),
    ("PUT", "/v1/schedules/{name}", Some(Scope::Admin)),
    ("POST", "/v1/workflows", Some(Scope::Enqueue)),
    ("GET", "/v1/workflows/{id}", Some(Scope::Read)),
    ("POST", "/v1/workflows/{id}/jobs", Some(Scope::Enqueue)),
    ("POST", "/v1/workflows/{id}/cancel", Some(Scope::Admin)),
    ("POST", "/v1/workflows/{id}/retry", Some(Scope::Admin)),
    ("GET", "/v1/workers", Some(Scope::Read)),
    ("GET", "/v1/stats", Some(Scope::Read)),
    ("GET", "/v1/database", Some(Scope::Read)),
    ("GET", "/metrics", Some(Scope::Read)),
    ("GET", "/v1/events", Some(Scope::Read)),
    ("GET", "/v1/failures", Some(Scope::Read)),
    ("POST", "/v1/leases", Some(Scope::Work)),
    ("POST", "/v1/leases/heartbeat", Some(Scope::Work)),
    ("POST", "/v1/leases/report", Some(Scope::Work)),
    ("POST", "/v1/jobs/{id}/complete", Some(Scope::Work)),
    ("POST", "/v1/jobs/{id}/fail", Some(Scope::Work)),
    ("POST", "/v1/jobs/{id}/snooze", Some(Scope::Work)),
    ("POST", "/logout", None),
    ("POST", "/v1/queues/{name}/pause", Some(Scope::Admin)),
    ("POST", "/v1/queues/{name}/resume", Some(Scope::Admin)),
    ("PUT", "/v1/queues/{name}", Some(Scope::Admin)),
    ("POST", "/v1/jobs/cancel", Some(Scope::Admin)),
    ("POST", "/v1/jobs/retry", Some(Scope::Admin)),
    ("POST", "/v1/jobs/delete", Some(Scope::Admin)),
    // in an order in which each finds the job as it wants it
    ("PATCH", "/v1/jobs/{id}", Some(Scope::Admin)),
    ("POST", "/v1/jobs/{id}/cancel", Some(Scope::Admin)),
    ("POST", "/v1/jobs/{id}/retry", Some(Scope::Admin)),
    ("DELETE", "/v1/jobs/{id}", Some(Scope::Admin)),
    ("DELETE", "/v1/schedules/{name}", Some(Scope::Admin)),
    ("DELETE", "/v1/queues/{name}", Some(Scope::Admin)),
];
/// What is no route of the document: it wants any key.
const ELSEWHERE: [(&str, &str, u16); 7] = [
    ("GET", "/openapi.json", 200),
    ("GET", "/nothing", 404),
    ("GET", "/v1", 404),
    ("DELETE", "/v1/jobs", 405),
    ("GET", "/login", 405),
    ("POST", "/", 405),
    ("GET", "/livez/", 404),
];

fn body(path: &str) -> String {
    let body = match path {
        "/v1/jobs" => r#"{"kind":"k","queue":"a"}"#,
        "/v1/jobs/batch" => r#"{"jobs":[{"kind":"k","queue":"a"}]}"#,
        "/v1/jobs/cancel" | "/v1/jobs/retry" | "/v1/jobs/delete" => r#"{"filter":{"queue":"nowhere"}}"#,
        "/v1/workflows" => r#"{"jobs":[{"name":"a","kind":"k","queue":"a"}]}"#,
        // as many as there are keys that may
        "/v1/workflows/{id}/jobs" => r#"{"jobs":[{"name":"NAME","kind":"k","queue":"a"}]}"#,
        // of a queue that has no jobs
        "/v1/leases" => r#"{"queues":["nowhere"]}"#,
        "/v1/leases/heartbeat" => r#"{"leases":[{"id":1,"lease":"0"}]}"#,
        "/v1/leases/report" => r#"{"reports":[{"id":1,"lease":"0","outcome":"complete"}]}"#,
        "/v1/jobs/{id}/complete" => r#"{"lease":"0"}"#,
        "/v1/jobs/{id}/fail" => r#"{"lease":"0","error":"e"}"#,
        "/v1/jobs/{id}/snooze" => r#"{"lease":"0","for":1}"#,
        _ => "",
    };
    body.replace("NAME", &format!("n{}", fastrand::u64(..)))
}

async fn ask(api: &Api, key: &str, method: &str, path: &str) -> Response {
    api.with_key(
        key,
        method,
        &(path.replace("{id}", "1").replace("{name}", "a") + if (method, path) == ("DELETE", "/v1/queues/{name}") { "?purge=true" } else { "" }),
        &match method {
            "POST" => body(path),
            "PUT" if path.starts_with("/v1/schedules") => r#"{"cron":"@yearly","job":{"kind":"k"}}"#.to_owned(),
            "PATCH" | "PUT" => "{}".to_owned(),
            _ => String::new(),
        },
    )
    .await
}

/// The status that HEAD gets, which has no body.
async fn head(api: &Api, key: &str, path: &str) -> u16 {
    let mut connection = Connection::open(api.address).await;
    let path = path.replace("{id}", "1").replace("{name}", "a");
    connection.send_head("HEAD", &path, &[("authorization", &format!("Bearer {key}"))]).await.expect("sent");
    connection.response_head().await.expect("an answer").status
}

#[tokio::test]
async fn each_scope_on_each_route() {
    let (api, keys) = Api::start_after(&[], async |store| {
        let mut keys = Vec::new();
        for scope in Scope::ALL {
            keys.push((scope, create_key(store, scope.word(), &[scope], &[]).await));
        }
        keys
    })
    .await;
    let document = ask(&api, &keys[0].1, "GET", "/openapi.json").await.json();
    let mut described = BTreeSet::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("methods") {
            if operation["security"].is_array() {
                described.insert((method.to_uppercase(), path.clone()));
                let (_, _, scope) = ROUTES.into_iter().find(|(known, at, _)| (*known, *at) == (&method.to_uppercase(), path)).expect("in the table above");
                let said = format!("Scope: {}.", scope.map_or("any".to_owned(), |scope| format!("`{scope}`")));
                assert!(operation["description"].as_str().is_some_and(|text| text.ends_with(&said)), "{method} {path}: {operation}");
            }
        }
    }
    assert_eq!(described, ROUTES.iter().map(|(method, path, _)| ((*method).to_owned(), (*path).to_owned())).collect(), "the table above is whole");

    let admin = &keys[3].1;
    assert_eq!(ask(&api, admin, "POST", "/v1/jobs").await.status, 201, "so that there is a job 1");
    assert_eq!(ask(&api, admin, "PUT", "/v1/schedules/{name}").await.status, 201, "and a schedule");
    assert_eq!(ask(&api, admin, "POST", "/v1/workflows").await.status, 201, "and a workflow");
    for (had, key) in &keys {
        for (method, path, scope) in ROUTES {
            let about = format!("{had}: {method} {path}");
            let before = api.tables().await;
            let allowed = scope.is_none_or(|scope| scope == *had || *had == Scope::Admin);
            if allowed && path == "/v1/events" {
                assert_eq!(head(&api, key, path).await, 200, "{about}"); // its body has no end
                continue;
            }
            let answer = ask(&api, key, method, path).await;
            if allowed && path == "/v1/workflows/{id}/retry" {
                assert_eq!(answer.status, 409, "{about}: nothing has failed: {}", answer.text());
            } else if allowed && path.starts_with("/v1/jobs/{id}/") && scope == Some(Scope::Work) {
                assert_eq!(answer.status, 409, "{about}: there is no such lease: {}", answer.text());
            } else if allowed {
                assert!((200..300).contains(&answer.status), "{about}: {}", answer.text());
            } else {
                let said = problem(&answer, 403, &[], &about)["detail"].to_string();
                let scope = scope.expect("it wants one");
                assert!(said.contains(&format!("the scope {scope}")) && said.contains(&format!("keys create --name … --scope {scope}")), "{said}");
            }
            assert!(allowed && method != "GET" || api.tables().await == before, "{about}");
            if method == "GET" {
                assert_eq!(head(&api, key, path).await, answer.status, "{about}");
            }
        }
        for (method, path, status) in ELSEWHERE {
            assert_eq!(ask(&api, key, method, path).await.status, status, "{had}: {method} {path}");
        }
    }
    // a job bears the name of its key
    let id = ask(&api, &keys[0].1, "POST", "/v1/jobs").await.json()["id"].clone();
    assert_eq!(api.with_key(admin, "GET", &format!("/v1/jobs/{id}"), "").await.json()["enqueued_by"], "enqueue");
    api.finish().await;
}

#[tokio::test]
async fn nobody_else_is_let_in() {
    let (api, (key, other)) = Api::start_after(&[("LONGSHORE_API__OPEN", "true")], async |store| {
        (create_key(store, "ops", &[Scope::Admin], &[]).await, create_key(store, "other", &[Scope::Admin], &[]).await)
    })
    .await;
    let secret = key.rsplit('_').next().expect("a secret");
    let wrong_secret = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' });
    let unknown_prefix = format!("ls_{}_{secret}", "0".repeat(12));
    let swapped = format!("{}_{secret}", &other[..15]);
    let values = [
        wrong_secret.clone(),
        unknown_prefix.clone(),
        swapped,
        key.to_uppercase(),
        key[..key.len() - 1].to_owned(),
        format!("{key}0"),
        format!("{key} {key}"),
        format!("{key},{key}"),
        format!("\"{key}\""),
        secret.to_owned(),
        key[..15].to_owned(),
        "ls_".to_owned(),
        "null".to_owned(),
        "' or true --".to_owned(),
        "*".to_owned(),
        "x".repeat(8 * 1024),
    ];
    let mut headers: Vec<Vec<(String, String)>> = values.iter().map(|value| vec![("authorization".to_owned(), format!("Bearer {value}"))]).collect();
    headers.extend(values[..values.len() - 1].iter().map(|value| vec![("cookie".to_owned(), format!("longshore_key={value}"))]));
    let authorization = |value: &str| ("authorization".to_owned(), value.to_owned());
    let good = format!("Bearer {key}");
    headers.extend([
        vec![],
        vec![authorization("")],
        vec![authorization("Bearer")],
        vec![authorization(&key)],
        vec![authorization(&format!("Basic {key}"))],
        vec![authorization(&format!("Bearer{key}"))],
        vec![authorization(&format!("Token {key}"))],
        vec![authorization(&good), authorization(&good)],
        vec![authorization(&good), authorization("Bearer x")],
        vec![authorization("Bearer x"), ("cookie".to_owned(), format!("longshore_key={key}"))],
        vec![("cookie".to_owned(), format!("longshore={key}; key={key}; Longshore_Key={key}"))],
        vec![("x-api-key".to_owned(), key.clone()), ("proxy-authorization".to_owned(), good.clone())],
    ]);
    let before = api.tables().await;
    for headers in &headers {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).chain([JSON]).collect();
        for (method, path, _) in ROUTES {
            let answer = api.request(method, &path.replace("{id}", "1").replace("{name}", "a"), &headers, body(path).as_bytes()).await;
            problem(&answer, 401, &[], &format!("{method} {path} {headers:?}"));
        }
    }
    for (method, path, _) in ELSEWHERE {
        problem(&api.request(method, path, &[], b"").await, 401, &[], path);
        problem(&api.with_key(&wrong_secret, method, path, "").await, 401, &[], path);
    }
    problem(&api.get(&format!("/v1/jobs?key={key}&access_token={key}")).await, 401, &[], "not in the address, which logs keep");
    assert_eq!(api.tables().await, before);
    // the answer does not tell a key that nobody has from a wrong secret
    let (one, another) = (ask(&api, &wrong_secret, "GET", "/v1/jobs").await, ask(&api, &unknown_prefix, "GET", "/v1/jobs").await);
    assert_eq!(one.body, another.body);
    assert!(one.text().contains("keys list"), "{}", one.text());
    // whatever the header's case
    for value in [format!("bearer {key}"), format!("BEARER   {key}  ")] {
        assert_eq!(api.request("GET", "/v1/jobs", &[("authorization", &value)], b"").await.status, 200, "{value}");
    }
    for path in ["/livez", "/readyz", "/health"] {
        assert_eq!(api.request("GET", path, &[("authorization", "Bearer x")], b"").await.status, 200, "{path}");
    }
    // pages need none, and beside them is nothing but that they are not there
    for path in ["/docs/index.html", "/assets/app.js", "/docs/../v1/jobs", "/assets/%2e%2e/v1/jobs", "/docs/%2f..%2fv1%2fjobs"] {
        problem(&api.get(path).await, 404, &[], path);
    }
    for path in ["//v1/jobs", "/v1/jobs/", "/V1/jobs", "/v1//jobs", "/./v1/jobs", "/livez/../v1/jobs", "/v1/jobs;x", "/v1/jobs%3f", "/login/../v1/jobs"] {
        problem(&api.get(path).await, 401, &[], path);
    }
    api.finish().await;
}

#[tokio::test]
async fn no_body_is_read_for_strangers() {
    let (api, key) = Api::start_after(&[], async |store| create_key(store, "reads", &[Scope::Read], &[]).await).await;
    let reads = format!("Bearer {key}");
    for (bearer, status) in [("Bearer x", 401), (reads.as_str(), 403)] {
        for path in ["/v1/jobs", "/v1/jobs/batch"] {
            let mut connection = Connection::open(api.address).await;
            let headers = [JSON, ("authorization", bearer), ("content-length", "33554432")];
            connection.send_head("POST", path, &headers).await.expect("sent");
            problem(&connection.response().await.expect("an answer before the body"), status, &[], path);
            // a body at fault is not looked at either
            problem(&api.request("POST", &format!("{path}?x=1"), &[("authorization", bearer)], b"{").await, status, &[], path);
        }
    }
    api.finish().await;
}

#[tokio::test]
async fn creating_and_revoking_take_effect_soon() {
    let api = Api::start().await;
    assert_eq!(api.get("/v1/jobs").await.status, 200, "open without keys");
    assert_eq!(api.request("GET", "/v1/jobs", &[("authorization", "Bearer x")], b"").await.status, 200);
    let first = create_key(&api.store, "first", &[Scope::Read], &[]).await;
    eventually("the first key closes it", EVERYWHERE, async || api.get("/v1/jobs").await.status == 401).await;
    assert_eq!(ask(&api, &first, "GET", "/v1/jobs").await.status, 200);
    let second = create_key(&api.store, "second", &[Scope::Read], &[]).await;
    eventually("the second key is known", EVERYWHERE, async || ask(&api, &second, "GET", "/v1/jobs").await.status == 200).await;
    let revoke = async |name| api.store.revoke_key(&KeyName::new(name).expect("a name")).await.expect("revoke");
    assert!(revoke("first").await && !revoke("first").await);
    eventually("it is revoked", EVERYWHERE, async || ask(&api, &first, "GET", "/v1/jobs").await.status == 401).await;
    assert_eq!(ask(&api, &second, "GET", "/v1/jobs").await.status, 200);
    // a name may be used again, the key of old may not
    let again = create_key(&api.store, "first", &[Scope::Enqueue], &[]).await;
    eventually("it is known", EVERYWHERE, async || ask(&api, &again, "GET", "/openapi.json").await.status == 200).await;
    assert_eq!(ask(&api, &first, "GET", "/openapi.json").await.status, 401);
    // rights are not remembered beyond the row
    api.sql.batch_execute("update longshore.keys set scopes = '{work}', queues = '{z}' where name = 'second'").await.expect("narrow it");
    eventually("it may no longer read", EVERYWHERE, async || ask(&api, &second, "GET", "/v1/jobs").await.status == 403).await;
    api.sql.batch_execute("delete from longshore.keys").await.expect("revoke all");
    eventually("open again, on this machine alone", EVERYWHERE, async || api.get("/v1/jobs").await.status == 200).await;
    api.finish().await;
}

#[tokio::test]
async fn keys_that_cannot_be_read_are_not_forgotten() {
    let (api, key) = Api::start_after(&[], async |store| create_key(store, "ops", &[Scope::Admin], &[]).await).await;
    api.sql.batch_execute("alter table longshore.keys rename to keys_elsewhere").await.expect("hide the table");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!((api.get("/v1/jobs").await.status, ask(&api, &key, "GET", "/v1/jobs").await.status), (401, 200));
    api.sql.batch_execute("alter table longshore.keys_elsewhere rename to keys; delete from longshore.keys").await.expect("and revoke all");
    eventually("what is there counts again", EVERYWHERE, async || api.get("/v1/jobs").await.status == 200).await;
    api.finish().await;
}
