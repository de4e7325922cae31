//! API keys in the database: what is stored, who may read it, and what a row may not say.

use longshore_common::{
    job::QueueName,
    key::{KeyName, NewKey, Scope},
    store::{StoreError, enqueue::Origin},
};

use crate::{
    fixture::{Fixture, in_queue, parsed},
    support::postgres::connect,
};

fn new(name: &str, scopes: &[Scope], queues: &[&str]) -> NewKey {
    let queues = queues.iter().map(|queue| QueueName::new(queue).expect("a queue")).collect();
    NewKey { name: KeyName::new(name).expect("a name"), scopes: scopes.iter().copied().collect(), queues }
}

#[tokio::test]
async fn a_key_is_known_by_its_hash_alone() {
    let f = Fixture::new().await;
    let (text, view) = f.store.create_key(&new("a", &[Scope::Read, Scope::Enqueue], &["x"])).await.expect("create").expect("the name is free");
    let (other, _) = f.store.create_key(&new("b", &[Scope::Admin], &[])).await.expect("create").expect("the name is free");
    assert_ne!(text.reveal(), other.reveal());
    // psql says the same of it
    assert_eq!(f.count(&format!("longshore.keys where hash = sha256('{}') and name = 'a'", text.reveal())).await, 1);
    let secret = text.reveal().rsplit('_').next().expect("a secret");
    assert_eq!(f.count(&format!("longshore.keys k where k::text like '%{secret}%'")).await, 0);
    let known = f.store.api_keys().await.expect("read");
    let a = known.iter().find(|key| key.name == "a").expect("it is there");
    assert!(a.is(&text.credential()) && !a.is(&other.credential()));
    assert!(a.may(Scope::Read) && a.may(Scope::Enqueue) && !a.may(Scope::Admin) && a.reaches("x") && !a.reaches("y"));
    let listed = f.store.list_keys().await.expect("list");
    assert_eq!(listed.iter().map(|key| key.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((&listed[0].prefix, listed[0].created_at, &listed[0].queues), (&view.prefix, view.created_at, &Some(vec!["x".to_owned()])));
    assert!(f.store.create_key(&new("a", &[Scope::Admin], &[])).await.expect("ask").is_none(), "the name is taken");
    assert!(f.store.api_keys().await.expect("read").iter().find(|key| key.name == "a").is_some_and(|key| key.is(&text.credential()) && !key.may(Scope::Admin)));
    let name = KeyName::new("a").expect("a name");
    assert!(f.store.revoke_key(&name).await.expect("revoke") && !f.store.revoke_key(&name).await.expect("again"));
    assert_eq!(f.count("longshore.keys").await, 1, "nothing of it stays");
}

#[tokio::test]
async fn no_row_may_allow_more_than_it_says() {
    let f = Fixture::new().await;
    let insert = async |scopes: &str, queues: &str, hash: &str| {
        let row = format!("insert into longshore.keys (name, prefix, hash, scopes, queues) values ('n', '0123456789ab', {hash}, {scopes}, {queues})");
        f.sql.batch_execute(&row).await.err().map(|error| error.as_db_error().map(|error| error.code().code().to_owned()).unwrap_or_default())
    };
    let hash = "sha256('x')";
    for (scopes, queues, hash) in [
        ("'{}'", "null", hash),
        ("'{root}'", "null", hash),
        ("'{read,null}'", "null", hash),
        ("null", "null", hash),
        ("'{read}'", "'{}'", hash),
        ("'{read}'", "'{a,null}'", hash),
        ("'{read}'", "null", "''"),
        ("'{read}'", "null", "null"),
    ] {
        let code = insert(scopes, queues, hash).await;
        assert!(matches!(code.as_deref(), Some("23514" | "23502")), "{scopes} {queues} {hash}: {code:?}");
    }
    assert_eq!(insert("'{read}'", "'{a}'", hash).await, None);
    // a word of a newer version, once its check allows it
    f.run("alter table longshore.keys drop constraint keys_scopes_check; update longshore.keys set scopes = '{rule,read}'").await;
    assert_eq!(f.store.api_keys().await.expect("read")[0].scopes, [Scope::Read]);
}

#[tokio::test]
async fn other_roles_learn_no_hash() {
    let f = Fixture::new().await;
    f.store.create_key(&new("a", &[Scope::Read], &[])).await.expect("create").expect("the name is free");
    let refused = async |role: &str, statement: &str| {
        let client = connect(f.database.url()).await;
        client.batch_execute(&format!("set role {role}")).await.expect("the role is there");
        client.batch_execute(statement).await.err().map(|e| e.as_db_error().map(|d| d.message().to_owned()).unwrap_or_default())
    };
    let denied = |why: Option<String>| why.is_some_and(|why| why.contains("permission denied"));
    for statement in [
        "select hash from longshore.keys",
        "select * from longshore.keys",
        "select k from longshore.keys k",
        "select count(*) from longshore.keys where hash > ''",
        "copy longshore.keys to stdout",
        "insert into longshore.keys (name, prefix, hash, scopes) values ('b', '0123456789ab', sha256('x'), '{admin}')",
        "update longshore.keys set scopes = '{admin}'",
        "delete from longshore.keys",
    ] {
        for role in ["longshore_reader", "longshore_producer"] {
            assert!(denied(refused(role, statement).await), "{role}: {statement}");
        }
    }
    let rest = "select name, prefix, scopes, queues, created_at, created_by from longshore.keys";
    assert_eq!(refused("longshore_reader", rest).await, None);
    assert!(denied(refused("longshore_producer", rest).await));
    // installed anew, as after an upgrade, it is the same
    f.run("update longshore.schema_version set routines = 'older'").await;
    assert!(f.store.migrate().await.expect("migrate"));
    assert!(denied(refused("longshore_reader", "select hash from longshore.keys").await));
    assert_eq!(refused("longshore_reader", rest).await, None);
    assert_eq!(f.count("longshore.keys").await, 1);
}

#[tokio::test]
async fn a_unique_key_leads_nowhere_outside() {
    let f = Fixture::new().await;
    let unique =
        |queue: &str, on_conflict: &str| in_queue(queue, parsed(&format!(r#"{{"kind":"echo","unique":{{"key":"k","on_conflict":"{on_conflict}"}}}}"#)));
    let standing = f.enqueue_one(unique("theirs", "return")).await;
    let inside = ["ours".to_owned(), "more".to_owned()];
    let enqueue = async |jobs: &[_], queues: Option<&[String]>| f.store.enqueue_within(jobs, &Origin::default(), queues).await;
    for on_conflict in ["return", "reject", "replace"] {
        let jobs = [in_queue("ours", parsed(r#"{"kind":"echo"}"#)), unique("ours", on_conflict)];
        let error = enqueue(&jobs, Some(&inside)).await.expect_err(on_conflict);
        assert!(matches!(&error, StoreError::KeyHeldElsewhere { index: 1, key } if key == "k"), "{on_conflict}: {error:?}");
        assert_eq!(f.count("longshore.job_data").await, 1, "{on_conflict}: nothing of the batch is stored");
        assert_eq!(f.count(&format!("longshore.jobs where id = {standing} and queue = 'theirs' and state = 'available'")).await, 1);
    }
    assert_eq!(enqueue(&[unique("ours", "return")], None).await.expect("not limited")[0].id(), standing);
    assert_eq!(enqueue(&[unique("ours", "return")], Some(&["theirs".to_owned()])).await.expect("it reaches there")[0].id(), standing);
    // the second of two equal ones meets the first, which is not stored yet
    let two = ["1", "2"].map(|_| in_queue("more", parsed(r#"{"kind":"echo","unique":{"key":"new"}}"#)));
    let met = enqueue(&two, Some(&inside)).await.expect("both within");
    assert_eq!(met[0].id(), met[1].id());
    f.assert_no_violations().await;
}
