//! `/login` and `/logout`: a cookie for a key.

use longshore_common::key::{KeyName, Scope};
use serde_json::json;

use crate::{
    api::{Api, JSON, create_key, problem},
    support::{
        eventually::eventually,
        http::{Connection, Response},
    },
};

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// What a browser would send back, and the cookie's attributes.
fn cookie(answer: &Response) -> (String, Vec<String>) {
    assert_eq!((answer.status, answer.body.len()), (204, 0), "{}", answer.text());
    let set = answer.headers.iter().filter(|(name, _)| name == "set-cookie").map(|(_, value)| value).collect::<Vec<_>>();
    assert_eq!(set.len(), 1, "{set:?}");
    let mut parts = set[0].split("; ").map(str::to_owned);
    (parts.next().expect("a value"), parts.collect())
}

#[tokio::test]
async fn a_cookie_for_a_key() {
    let (api, key) = Api::start_after(&[], async |store| create_key(store, "page", &[Scope::Read], &["a"]).await).await;
    let json_body = json!({"key": key}).to_string();
    let form_body = format!("key={}", key.replace('_', "%5F"));
    for (headers, body) in [
        (&[JSON][..], &json_body),
        (&[], &json_body),
        (&[FORM], &form_body),
        (&[("content-type", "application/x-www-form-urlencoded; charset=utf-8")], &form_body),
    ] {
        let (value, attributes) = cookie(&api.request("POST", "/login", headers, body.as_bytes()).await);
        assert_eq!(attributes, ["Path=/", "HttpOnly", "SameSite=Strict"], "a cookie of the session, for this site alone");
        let get = async |path: &str| api.request("GET", path, &[("cookie", &format!("theme=dark; {value}"))], b"").await;
        assert_eq!(get("/v1/jobs").await.status, 200);
        assert_eq!(get("/openapi.json").await.status, 200);
        problem(&get("/v1/jobs?queue=b").await, 403, &["/queue"], "a cookie does what its key does, and no more");
        let post = api.request("POST", "/v1/jobs", &[JSON, ("cookie", &value)], br#"{"kind":"k","queue":"a"}"#).await;
        problem(&post, 403, &[], "it has no scope for that");
        let (gone, attributes) = cookie(&api.request("POST", "/logout", &[("cookie", &value)], b"").await);
        assert_eq!((gone.as_str(), attributes.iter().any(|a| a == "Max-Age=0")), ("longshore_key=", true));
        problem(&api.request("GET", "/v1/jobs", &[("cookie", &gone)], b"").await, 401, &[], "logged out");
    }
    for (proto, secure) in [("https", true), ("HTTPS", true), ("http", false), ("https, http", false), ("", false)] {
        let (_, attributes) = cookie(&api.request("POST", "/login", &[JSON, ("x-forwarded-proto", proto)], json_body.as_bytes()).await);
        assert_eq!(attributes.iter().any(|a| a == "Secure"), secure, "{proto}");
    }
    // revoking the key ends it
    let (value, _) = cookie(&api.post("/login", &json_body).await);
    create_key(&api.store, "other", &[Scope::Read], &[]).await;
    api.store.revoke_key(&KeyName::new("page").expect("a name")).await.expect("revoke");
    let get = async || api.request("GET", "/v1/jobs", &[("cookie", &value)], b"").await;
    eventually("the cookie is worth nothing", std::time::Duration::from_secs(5), async || get().await.status == 401).await;
    problem(&api.post("/login", &json_body).await, 401, &[], "nor does it open the door again");
    api.finish().await;
}

#[tokio::test]
async fn what_is_no_login() {
    let (api, key) = Api::start_after(&[], async |store| create_key(store, "page", &[Scope::Read], &[]).await).await;
    let wrong = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' });
    let form = |text: &str| (FORM, text.to_owned());
    let json = |value: serde_json::Value| (JSON, value.to_string());
    for ((content_type, body), status, pointers) in [
        (json(json!({"key": wrong})), 401, &[][..]),
        (json(json!({"key": ""})), 401, &[]),
        (json(json!({"key": "x".repeat(4000)})), 401, &[]),
        (form(&format!("key={wrong}")), 401, &[]),
        (form("key="), 401, &[]),
        (form(&format!("key=+{key}")), 401, &[]),
        ((JSON, "{".to_owned()), 400, &[]),
        ((JSON, format!("key={key}")), 400, &[]),
        ((JSON, String::new()), 400, &[]),
        (json(json!([key])), 422, &[""]),
        (json(json!({})), 422, &["/key"]),
        (json(json!({"key": [key]})), 422, &["/key"]),
        (json(json!({"key": key, "user": "me"})), 422, &["/user"]),
        (form(""), 422, &["/key"]),
        (form(&format!("key={key}&key={key}")), 422, &["/key"]),
        (json(json!({"key": "x".repeat(5000)})), 413, &[]),
        ((("content-type", "text/plain"), key.clone()), 415, &[]),
        ((("content-type", "multipart/form-data; boundary=x"), key.clone()), 415, &[]),
        ((("content-type", "application/x-ndjson"), json!({"key": key}).to_string()), 415, &[]),
    ] {
        let answer = api.request("POST", "/login", &[content_type], body.as_bytes()).await;
        problem(&answer, status, pointers, &body);
        assert!(answer.header("set-cookie").is_none() && !answer.text().contains(&key), "{body}");
    }
    let good = json!({"key": key}).to_string();
    problem(&api.post(&format!("/login?key={key}"), &good).await, 422, &["/key"], "not in the address");
    for from in [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")] {
        let answer = api.request("POST", "/login", &[JSON, from], good.as_bytes()).await;
        problem(&answer, 403, &[], "a page of another site logs nobody in");
        assert!(answer.header("set-cookie").is_none());
    }
    // only what is there is read of a body that never comes
    let mut connection = Connection::open(api.address).await;
    connection.send_head("POST", "/login", &[JSON, ("transfer-encoding", "chunked")]).await.expect("sent");
    connection.send_chunk(&[b' '; 5000]).await.expect("sent");
    problem(&connection.response().await.expect("an answer"), 413, &[], "endless");
    api.finish().await;
}
