//! `longshore keys`.

use longshore_common::key::Credential;
use serde_json::{Value, json};

use crate::{
    api::{SOON, migrated},
    support::{
        postgres::{Database, connect},
        process::Program,
    },
};

/// Runs `longshore keys …`; returns its exit code and all that it said.
async fn keys(url: &str, args: &[&str]) -> (i32, Vec<String>) {
    let mut process = Program::longshore([&["keys"], args].concat()).env("LONGSHORE_DATABASE__URL", url).start();
    let code = process.wait_exit(SOON).await.code().expect("no signal");
    (code, process.all_lines(SOON).await)
}

async fn as_json(url: &str, args: &[&str]) -> Value {
    let (code, lines) = keys(url, &[args, &["--json"]].concat()).await;
    assert_eq!(code, 0, "{args:?}: {lines:?}");
    serde_json::from_str(&lines.join("\n")).unwrap_or_else(|error| panic!("{args:?}: {error}: {lines:?}"))
}

#[tokio::test]
async fn created_listed_and_revoked() {
    // an API on an address for others does not start without a key: so the command brings up the schema itself
    let database = Database::empty().await;
    let url = database.url();
    let (code, lines) = keys(url, &["list"]).await;
    assert!(code == 1 && lines.join("\n").contains("longshore migrate"), "{code} {lines:?}");
    let shop = as_json(url, &["create", "--name", "shop", "--scope", "enqueue,read", "--scope", "enqueue", "--queue", "b", "--queue", "a,b"]).await;
    let text = shop["key"].as_str().expect("a key");
    assert_eq!(Credential::of(text).expect("it has the form of one").prefix, shop["prefix"]);
    assert_eq!((&shop["name"], &shop["scopes"], &shop["queues"]), (&json!("shop"), &json!(["enqueue", "read"]), &json!(["a", "b"])));

    let (code, lines) = keys(url, &["create", "--name", "ops", "--scope", "admin"]).await;
    assert_eq!(code, 0, "{lines:?}");
    let printed: Vec<&String> = lines.iter().filter(|line| Credential::of(line).is_some()).collect();
    assert_eq!(printed.len(), 1, "alone on a line, once: {lines:?}");
    let secret = printed[0].rsplit('_').next().expect("a secret");
    assert_eq!(lines.iter().filter(|line| line.contains(secret)).count(), 1, "{lines:?}");

    let list = as_json(url, &["list"]).await;
    assert_eq!(list, as_json(url, &[]).await, "no word is needed");
    assert_eq!((&list["items"][0]["name"], &list["items"][0]["queues"], &list["next_cursor"]), (&json!("ops"), &Value::Null, &Value::Null));
    assert_eq!(
        list["items"][1].as_object().map(|key| key.keys().map(String::as_str).collect::<Vec<_>>().join(" ")).as_deref(),
        Some("created_at created_by name prefix queues scopes")
    );
    let (_, table) = keys(url, &["list"]).await;
    assert!(table[0].starts_with("NAME") && table[1].starts_with("ops ") && table[2].contains("enqueue,read") && table[2].contains("a,b"), "{table:#?}");
    assert!(!format!("{list}{table:?}").contains(secret));

    let before = connect(url).await.query_one("select md5(string_agg(k::text, '' order by name)) from longshore.keys k", &[]).await.expect("look");
    let (code, lines) = keys(url, &["create", "--name", "shop", "--scope", "admin"]).await;
    assert!(code == 1 && lines.join("\n").contains("\"shop\" already"), "{code} {lines:?}");
    let after = connect(url).await.query_one("select md5(string_agg(k::text, '' order by name)) from longshore.keys k", &[]).await.expect("look");
    assert_eq!(before.get::<_, String>(0), after.get::<_, String>(0), "it stays as it is");

    assert_eq!(as_json(url, &["revoke", "shop"]).await, json!({"name": "shop", "revoked": true}));
    let (code, lines) = keys(url, &["revoke", "shop"]).await;
    assert!(code == 1 && lines.join("\n").contains("no API key \"shop\""), "{code} {lines:?}");
    let (code, lines) = keys(url, &["revoke", "ops"]).await;
    assert!(code == 0 && lines.join("\n").contains("the last"), "{code} {lines:?}");
    let (code, lines) = keys(url, &[]).await;
    assert!(code == 0 && lines.join("\n").contains("No API keys"), "{code} {lines:?}");
}

#[tokio::test]
async fn wrong_use_is_explained() {
    let database = migrated().await;
    let create = ["create", "--name", "x"];
    for (args, said) in [
        (&["--scope", "root"][..], "enqueue, read, work, admin"),
        (&["--scope", "Read"], "enqueue, read, work, admin"),
        (&["--scope", "read,"], "enqueue, read, work, admin"),
        (&[], "--scope"),
        (&["--scope", "read", "--queue", "a b"], "A-Z a-z 0-9"),
        (&["--scope", "read", "--queue", ""], "A-Z a-z 0-9"),
        (&["--scope", "read", "--queue", "*"], "A-Z a-z 0-9"),
        (&["--scope", "read", "--name", "y"], "cannot be used multiple times"),
    ] {
        let (code, lines) = keys(database.url(), &[&create, args].concat()).await;
        assert!(code == 2 && lines.join("\n").contains(said), "{args:?}: {code} {lines:#?}");
    }
    for name in ["", "a b", "ä", &"x".repeat(129)] {
        for args in [&["create", "--scope", "read", "--name", name][..], &["revoke", name]] {
            assert_eq!(keys(database.url(), args).await.0, 2, "{args:?}");
        }
    }
    assert_eq!(as_json(database.url(), &["list"]).await["items"], json!([]));
    // a schema that is too old to work with
    let sql = connect(database.url()).await;
    sql.batch_execute("update longshore.schema_version set minor = 0").await.expect("go back");
    for args in [&["list"][..], &["revoke", "x"]] {
        let (code, lines) = keys(database.url(), args).await;
        assert!(code == 1 && lines.join("\n").contains("or an old one: run `longshore migrate`"), "{code} {lines:?}");
    }
    assert_eq!(as_json(database.url(), &["create", "--name", "x", "--scope", "work"]).await["scopes"], json!(["work"]));
    sql.batch_execute("update longshore.schema_version set major = 99").await.expect("a newer schema");
    for args in [&["list"][..], &["revoke", "x"], &["create", "--name", "y", "--scope", "read"]] {
        assert_eq!(keys(database.url(), args).await.0, 3, "{args:?}");
    }
}
