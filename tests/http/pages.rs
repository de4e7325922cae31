//! The pages: what the browser gets of the dashboard and of `/docs`, key or no key.

use longshore_common::key::Scope;

use crate::{
    api::{Api, create_key, problem},
    support::http::{Connection, Response},
};

/// What a page loads of its own.
fn loaded(page: &Response) -> Vec<String> {
    page.text().split('"').filter(|part| part.starts_with("/assets/") || part.starts_with("/docs/")).map(str::to_owned).collect()
}

fn policy(page: &Response) -> &str {
    page.header("content-security-policy").expect("a page has one")
}

#[tokio::test]
async fn pages_and_what_they_load_need_no_key_and_run_nothing_from_elsewhere() {
    let (api, key) = Api::start_after(&[], async |store| create_key(store, "k", &[Scope::Read], &[]).await).await;
    for path in ["/", "/docs"] {
        let page = api.get(path).await;
        assert_eq!(
            (page.status, page.header("content-type"), page.header("cache-control")),
            (200, Some("text/html; charset=utf-8"), Some("no-cache")),
            "{path}"
        );
        for (directive, allowed) in
            [("default-src", "'none'"), ("script-src", "'self'"), ("connect-src", "'self'"), ("frame-ancestors", "'none'"), ("base-uri", "'none'")]
        {
            assert!(policy(&page).split(';').any(|part| part.trim() == format!("{directive} {allowed}")), "{path}: {}", policy(&page));
        }
        assert_eq!((page.header("x-content-type-options"), page.header("referrer-policy")), (Some("nosniff"), Some("no-referrer")));
        assert!(!page.text().contains("://"), "{path} is whole without a network");
        let files = loaded(&page);
        assert!(files.len() >= 3, "{files:?}");
        for file in files {
            let answer = api.get(&file).await;
            assert_eq!(answer.status, 200, "{file}");
            let lasting = file.starts_with("/assets/");
            assert_eq!(answer.header("cache-control").expect("says so").contains("immutable"), lasting, "{file}: only a name with a hash never changes");
            let tag = answer.header("etag").expect("has one").to_owned();
            let known = api.request("GET", &file, &[("if-none-match", &format!("\"other\", W/{tag}"))], b"").await;
            assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, Some(tag.as_str())), "{file}");
            assert_eq!(api.request("GET", &file, &[("if-none-match", "\"other\"")], b"").await.status, 200);
        }
    }
    assert!(!policy(&api.get("/").await).contains("unsafe"), "the dashboard's is strict");
    // what they show needs one
    for path in ["/v1/stats", "/v1/jobs", "/openapi.json"] {
        problem(&api.get(path).await, 401, &[], path);
    }
    assert_eq!(api.get("/docs/openapi.json").await.body, api.with_key(&key, "GET", "/openapi.json", "").await.body);
    api.finish().await;
}

#[tokio::test]
async fn head_gets_what_get_gets_and_nothing_else_is_there() {
    let api = Api::start().await;
    for path in ["/", "/docs"] {
        let mut connection = Connection::open(api.address).await;
        connection.send_head("HEAD", path, &[]).await.expect("sent");
        let head = connection.response_head().await.expect("an answer");
        assert_eq!((head.status, head.header("etag")), (200, api.get(path).await.header("etag")), "{path}");
        let refused = api.post(path, "{}").await;
        problem(&refused, 405, &[], path);
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    }
    for path in ["/index.html", "/assets", "/assets/", "/assets/../index.html", "/assets/nothing.js", "/docs/", "/docs/index.html", "/dashboard"] {
        problem(&api.get(path).await, 404, &[], path);
    }
    api.finish().await;
}
