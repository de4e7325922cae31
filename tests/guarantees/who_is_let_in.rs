//! API keys with real processes: on which address the API starts without one, that keys count in every API within five
//! seconds, what holds while the database is away, and that no key is ever written down.

use std::{net::SocketAddr, time::Duration};

use longshore_common::key::Credential;
use serde_json::{Value, json};

use crate::{
    support::{
        eventually::eventually,
        http::{self, Response},
        postgres::{Database, server},
        process::{Process, Program},
        proxy::{Proxy, Target},
    },
    system::{SOON, start_api},
};

/// What both creating and revoking take at most.
const EVERYWHERE: Duration = Duration::from_secs(5);

fn api_for_others(url: &str, env: &[(&str, &str)]) -> Program {
    let program = Program::longshore(["api"]).env("LONGSHORE_DATABASE__URL", url).env("LONGSHORE_API__LISTEN", "0.0.0.0:0");
    env.iter().fold(program, |program, (name, value)| program.env(name, *value))
}

/// Where a process listens that was told to on all addresses.
async fn reached_at(api: &mut Process) -> SocketAddr {
    let line = api.wait_for_line("listening", SOON).await;
    let address = line.split("addr=").nth(1).and_then(|rest| rest.split_whitespace().next()).expect("the line names the address");
    let address: SocketAddr = address.parse().expect("an address");
    assert!(address.ip().is_unspecified(), "{address}");
    ([127, 0, 0, 1], address.port()).into()
}

/// `longshore keys …`, which must succeed.
async fn keys(url: &str, args: &[&str]) -> Value {
    let mut process = Program::longshore([&["keys"], args, &["--json"]].concat()).env("LONGSHORE_DATABASE__URL", url).start();
    assert_eq!(process.wait_exit(SOON).await.code(), Some(0), "{args:?}: {:?}", process.lines());
    serde_json::from_str(&process.all_lines(SOON).await.join("\n")).expect("JSON")
}

async fn create(url: &str, name: &str, scope: &str) -> String {
    keys(url, &["create", "--name", name, "--scope", scope]).await["key"].as_str().expect("a key").to_owned()
}

async fn get(address: SocketAddr, path: &str, key: Option<&str>) -> Response {
    let bearer = key.map(|key| format!("Bearer {key}"));
    let headers: Vec<(&str, &str)> = bearer.iter().map(|bearer| ("authorization", bearer.as_str())).collect();
    http::request(address, "GET", path, &headers, b"").await
}

fn said(process: &Process, text: &str) -> usize {
    process.lines().iter().filter(|line| line.contains(text)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_api_for_others_does_not_start_without_a_key() {
    let database = Database::empty().await;
    let mut api = api_for_others(database.url(), &[]).start();
    assert_eq!(api.wait_exit(SOON).await.code(), Some(2));
    let lines = api.all_lines(SOON).await;
    let last = lines.last().expect("it says why");
    for name in ["LONGSHORE_API__LISTEN=0.0.0.0:0", "LONGSHORE_API__OPEN=true", "longshore keys create"] {
        assert!(last.contains(name), "{lines:#?}");
    }
    assert_eq!(lines.iter().filter(|line| line.contains("LONGSHORE_API__OPEN")).count(), 1, "one line: {lines:#?}");
    // a key that was revoked is none
    create(database.url(), "gone", "admin").await;
    keys(database.url(), &["revoke", "gone"]).await;
    assert_eq!(api_for_others(database.url(), &[]).start().wait_exit(SOON).await.code(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_key_it_serves_others_and_never_opens_up() {
    let database = Database::empty().await;
    let key = create(database.url(), "ops", "admin").await;
    let mut api = api_for_others(database.url(), &[]).start();
    let address = reached_at(&mut api).await;
    api.wait_for_line("the schema is up to date", SOON).await;
    assert_eq!((get(address, "/v1/jobs", None).await.status, get(address, "/v1/jobs", Some(&key)).await.status), (401, 200));
    assert_eq!((said(&api, "API keys are set"), said(&api, "keys=1")), (1, 1), "{:#?}", api.lines());
    keys(database.url(), &["revoke", "ops"]).await;
    api.wait_for_line("there are no API keys any more", EVERYWHERE).await;
    for key in [None, Some(key.as_str()), Some("x")] {
        for path in ["/v1/jobs", "/openapi.json", "/nothing"] {
            assert_eq!(get(address, path, key).await.status, 401, "{path}");
        }
    }
    assert_eq!(get(address, "/health", None).await.status, 200);
    tokio::time::sleep(EVERYWHERE).await;
    assert_eq!(said(&api, "there are no API keys any more"), 1, "said once: {:#?}", api.lines());
    assert!(!api.has_exited());
    let key = create(database.url(), "ops", "read").await;
    eventually("the next key opens it", EVERYWHERE, async || get(address, "/v1/jobs", Some(&key)).await.status == 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn told_to_be_open_it_is_until_there_is_a_key() {
    let database = Database::empty().await;
    let mut open = api_for_others(database.url(), &[("LONGSHORE_API__OPEN", "true")]).start();
    let address = reached_at(&mut open).await;
    open.wait_for_line("open to whoever reaches it", SOON).await;
    open.wait_for_line("the schema is up to date", SOON).await;
    // and another API, of which the same is true
    let (mut local, local_address) = start_api(database.url(), &[]).await;
    local.wait_for_line("the schema is up to date", SOON).await;
    let both = async |key: Option<&str>| (get(address, "/v1/jobs", key).await.status, get(local_address, "/v1/jobs", key).await.status);
    assert_eq!(both(None).await, (200, 200));
    let key = create(database.url(), "ops", "read").await;
    eventually("both are closed", EVERYWHERE, async || both(None).await == (401, 401)).await;
    assert_eq!(both(Some(&key)).await, (200, 200));
    let other = create(database.url(), "other", "read").await;
    eventually("both know the second", EVERYWHERE, async || both(Some(&other)).await == (200, 200)).await;
    keys(database.url(), &["revoke", "ops"]).await;
    eventually("both have forgotten the first", EVERYWHERE, async || both(Some(&key)).await == (401, 401)).await;
    keys(database.url(), &["revoke", "other"]).await;
    eventually("both are open again", EVERYWHERE, async || both(None).await == (200, 200)).await;
    assert_eq!(said(&open, "open to whoever reaches it"), 2, "{:#?}", open.lines());
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_database_it_knows_whom_it_knew() {
    let database = Database::empty().await;
    let key = create(database.url(), "ops", "admin").await;
    let proxy = Proxy::start(Target::Unix(server().socket())).await;
    let url = database.url_through(proxy.address());
    proxy.refuse(true);
    let mut api = api_for_others(&url, &[("LONGSHORE_API__TIMEOUT", "2s")]).start();
    let address = reached_at(&mut api).await;
    // who may use it is not known yet: neither is anybody let in, nor does it give up
    for key in [None, Some(key.as_str())] {
        for path in ["/v1/jobs", "/openapi.json", "/nothing"] {
            assert_eq!(get(address, path, key).await.status, 503, "{path}");
        }
    }
    assert_eq!((get(address, "/livez", None).await.status, get(address, "/readyz", None).await.status), (200, 503));
    proxy.resume();
    eventually("it is ready", SOON, async || get(address, "/readyz", None).await.status == 200).await;
    assert_eq!(get(address, "/v1/jobs", Some(&key)).await.status, 200);

    proxy.refuse(true);
    proxy.cut_all();
    api.wait_for_line("the database is away", SOON).await;
    tokio::time::sleep(Duration::from_secs(4)).await; // longer than keys are remembered while all is well
    assert_eq!(get(address, "/v1/jobs", Some(&key)).await.status, 503);
    let wrong = format!("{}{}", &key[..key.len() - 1], if key.ends_with('0') { '1' } else { '0' });
    for key in [None, Some(wrong.as_str())] {
        assert_eq!(get(address, "/v1/jobs", key).await.status, 401);
    }
    keys(database.url(), &["revoke", "ops"]).await;
    proxy.resume();
    eventually("it hears that the key was revoked", EVERYWHERE + EVERYWHERE, async || get(address, "/v1/jobs", Some(&key)).await.status == 401).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_key_is_written_down() {
    let database = Database::empty().await;
    let key = create(database.url(), "shop", "enqueue").await;
    let secret = key.rsplit('_').next().expect("a secret");
    assert!(Credential::of(&key).is_some());
    let (mut api, address) = start_api(database.url(), &[("LONGSHORE_LOG", "trace")]).await;
    api.wait_for_line("the schema is up to date", SOON).await;
    let cookie = format!("longshore_key={key}");
    let login = json!({"key": key});
    assert_eq!(http::json(address, "POST", "/login", &login).await.status, 204);
    for headers in [&[("authorization", format!("Bearer {key}"))][..], &[("authorization", format!("Basic {key}"))], &[("cookie", cookie)]] {
        let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (*name, value.as_str())).chain([("content-type", "application/json")]).collect();
        http::request(address, "POST", "/v1/jobs", &headers, br#"{"kind":"k"}"#).await;
        http::request(address, "GET", &format!("/v1/jobs?key={key}"), &headers, b"").await;
        http::request(address, "POST", "/v1/jobs", &headers, key.as_bytes()).await;
    }
    api.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(api.wait_exit(SOON).await.code(), Some(0));
    let lines = api.all_lines(SOON).await;
    let of = |status: u16, more: &str| lines.iter().filter(|line| line.contains(&format!(" status={status} ")) && line.contains(more)).count();
    assert_eq!((of(201, " key=\"shop\""), of(403, " key=\"shop\""), of(401, " key=")), (2, 2, 0), "{lines:#?}");
    assert!(!lines.iter().any(|line| line.contains(secret)), "{:#?}", lines.iter().filter(|line| line.contains(secret)).collect::<Vec<_>>());
    // nor does the database have it anywhere
    let sql = crate::support::postgres::connect(database.url()).await;
    let row = sql.query_one("select count(*) from longshore.keys k where k::text like '%' || $1 || '%'", &[&secret]).await.expect("look");
    assert_eq!(row.get::<_, i64>(0), 0);
}
