//! `POST /v1/jobs/batch`: many jobs, all or none.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::{
    api::{Api, JSON, NDJSON, problem},
    support::http::{Connection, Response},
};

const PATH: &str = "/v1/jobs/batch";

/// The ids and the indexes of duplicates of a batch that was taken.
#[track_caller]
fn taken(answer: &Response) -> (Vec<i64>, Vec<u64>) {
    assert_eq!(answer.status, 201, "{}", answer.text());
    let body = answer.json();
    assert_eq!(body.as_object().map(serde_json::Map::len), Some(2), "{body}");
    let ids = body["ids"].as_array().expect("a list").iter().map(|id| id.as_i64().expect("an id")).collect();
    (ids, body["duplicates"].as_array().expect("a list").iter().map(|index| index.as_u64().expect("an index")).collect())
}

/// The args of all jobs in the order of their ids, as stored.
async fn stored(api: &Api) -> Vec<String> {
    let rows = api.sql.query("select args::text from longshore.job_data order by id", &[]).await.expect("look");
    rows.iter().map(|row| row.get(0)).collect()
}

#[tokio::test]
async fn from_one_to_ten_thousand() {
    let api = Api::start().await;
    let (ids, duplicates) = taken(&api.post(PATH, r#"{"jobs":[{"kind":"one","args":[1],"queue":"q","tags":["t"],"priority":7}]}"#).await);
    assert_eq!((ids.len(), duplicates), (1, vec![]));
    let job = api.read(&format!("/v1/jobs/{}", ids[0])).await;
    assert_eq!(
        (&job["kind"], &job["queue"], &job["args"], &job["priority"], &job["tags"]),
        (&json!("one"), &json!("q"), &json!([1]), &json!(7), &json!(["t"]))
    );

    let line = |n: usize| format!("{{\"kind\":\"k{}\",\"args\":{n}}}", n % 7);
    let lines = |count: usize| (0..count).map(|n| line(n) + "\n").collect::<String>();
    let array = |count: usize| format!("{{\"jobs\":[{}]}}", (0..count).map(line).collect::<Vec<_>>().join(","));
    for (headers, body) in [([JSON], array(10_000)), ([NDJSON], lines(10_000))] {
        let before = api.count("longshore.job_data").await;
        let (ids, duplicates) = taken(&api.request("POST", PATH, &headers, body.as_bytes()).await);
        assert_eq!((ids.len(), duplicates), (10_000, vec![]));
        // ids[i] is jobs[i]'s
        let rows = api
            .sql
            .query("select u.n from unnest($1::bigint[]) with ordinality u(id, n) join longshore.job_data using (id) where args::text = (n - 1)::text", &[&ids])
            .await;
        assert_eq!(rows.expect("look").len(), 10_000);
        assert_eq!(api.count("longshore.job_data").await - before, 10_000);
    }
    let detail = json!("has more than 10000 jobs");
    for (headers, body) in [([JSON], array(10_001)), ([NDJSON], lines(10_001))] {
        let said = api.refused(PATH, &headers, body, 422, &["/jobs"]).await;
        assert_eq!(said["errors"][0]["detail"], detail);
    }
    for (headers, body) in [([JSON], "{\"jobs\":[]}"), ([JSON], " {\"jobs\": [ ] }\n"), ([NDJSON], ""), ([NDJSON], "\n\r\n \n")] {
        let said = api.refused(PATH, &headers, body, 422, &["/jobs"]).await;
        assert_eq!(said["detail"], "/jobs must have 1 to 10000 jobs, has none");
    }
    api.finish().await;
}

#[tokio::test]
async fn one_bad_job_and_none_is_stored() {
    let api = Api::start().await;
    let good = r#"{"kind":"k","queue":"new","unique":{"key":"u"},"tags":["t"],"delay":60}"#.replace("\"unique\":{\"key\":\"u\"},", "");
    for (bad, pointer) in [
        ("{}", "/jobs/3/kind"),
        (r#"{"kind":7}"#, "/jobs/3/kind"),
        (r#"{"kind":"k","args":"\u0000"}"#, "/jobs/3/args"),
        (r#"{"kind":"k","unique":{"key":""}}"#, "/jobs/3/unique/key"),
        (r#"{"kind":"k","tags":["",1],"x":1}"#, ""),
        ("null", "/jobs/3"),
        ("[]", "/jobs/3"),
        ("7", "/jobs/3"),
        ("\"x\"", "/jobs/3"),
    ] {
        let pointers: &[&str] = if pointer.is_empty() { &["/jobs/3/tags/0", "/jobs/3/tags/1", "/jobs/3/x"] } else { &[pointer] };
        let jobs = [&good, &good, &good, bad, &good];
        api.refused(PATH, &[JSON], format!("{{\"jobs\":[{}]}}", jobs.join(",")), 422, pointers).await;
        let said = api.refused(PATH, &[NDJSON], jobs.join("\n"), 422, pointers).await;
        assert!(said["errors"][0]["detail"].as_str().is_some_and(|detail| detail.ends_with("(line 4)")), "{said}");
    }
    // several of them, all named
    let jobs = format!(r#"{{"jobs":[{{}},{good},{{"kind":"k","priority":"x","colour":1}},{good},{{"kind":" "}}]}}"#);
    api.refused(PATH, &[JSON], jobs, 422, &["/jobs/0/kind", "/jobs/2/priority", "/jobs/2/colour", "/jobs/4/kind"]).await;
    // a hundred are told, of the others the number
    let said = problem(&api.post(PATH, format!("{{\"jobs\":[{}{{}}]}}", "{},".repeat(249))).await, 422, &told(100), "many");
    assert_eq!(said["errors"][100]["detail"], "has 150 more faults");
    api.finish().await;
}

fn told(count: usize) -> Vec<&'static str> {
    let mut pointers: Vec<&'static str> = (0..count).map(|n| &*format!("/jobs/{n}/kind").leak()).collect();
    pointers.push("/jobs");
    pointers
}

#[tokio::test]
async fn the_object_around_the_jobs() {
    let api = Api::start().await;
    let job = r#"{"kind":"k"}"#;
    for (body, pointers) in [
        ("{}".to_owned(), &["/jobs"][..]),
        (format!(r#"{{"jobs":[{job}],"jobs":[{job}]}}"#), &["/jobs"]),
        (format!(r#"{{"jobs":{job}}}"#), &["/jobs"]),
        ("{\"jobs\":null}".to_owned(), &["/jobs"]),
        ("{\"jobs\":7}".to_owned(), &["/jobs"]),
        ("{\"jobs\":\"[]\"}".to_owned(), &["/jobs"]),
        (format!(r#"{{"jobs":[{job}],"queue":"a"}}"#), &["/queue"]),
        (format!(r#"{{"a/b":{{"jobs":[1,"]"]}},"jobs":[{job}],"c":[]}}"#), &["/a~1b", "/c"]),
        (format!(r#"{{"x":1,"jobs":[{{}}],"jobs":[{job}]}}"#), &["/x", "/jobs/0/kind", "/jobs"]),
        (format!("[{job}]"), &[""]),
        ("\"jobs\"".to_owned(), &[""]),
        (job.to_owned(), &["/kind", "/jobs"]),
    ] {
        api.refused(PATH, &[JSON], body, 422, pointers).await;
    }
    for body in [
        "",
        " ",
        "{",
        "{\"jobs\":[",
        "{\"jobs\":[{\"kind\":\"k\"}",
        "{\"jobs\":[{\"kind\":\"k\"}]",
        "{\"jobs\":[{\"kind\":\"k\"}]}}",
        "{\"jobs\":[{\"kind\":\"k\"}]} {}",
        "{\"jobs\":[{\"kind\":\"k\"},]}",
        "{\"jobs\":[,{\"kind\":\"k\"}]}",
        "{\"jobs\":[{\"kind\":\"k\"} {\"kind\":\"k\"}]}",
        "{\"jobs\":[{\"kind\":\"k\"}],}",
        "{\"jobs\" [{\"kind\":\"k\"}]}",
        "{\"jobs\":[{\"kind\":\"k\"]}",
        "{\"jobs\":[{\"kind\":\"k\"}}}",
        "{jobs:[{\"kind\":\"k\"}]}",
        "{'jobs':[{\"kind\":\"k\"}]}",
        "\u{feff}{\"jobs\":[{\"kind\":\"k\"}]}",
        "{\"x\":tru,\"jobs\":[{\"kind\":\"k\"}]}",
        "{\"jobs\":[tru]}",
        "{\"\\x\":1}",
    ] {
        api.refused(PATH, &[JSON], body, 400, &[]).await;
    }
    // a batch of lines that says that it is an array, and the other way round
    api.refused(PATH, &[JSON], format!("{job}\n{job}\n"), 400, &[]).await;
    api.refused(PATH, &[NDJSON], format!(r#"{{"jobs":[{job}]}}"#), 422, &["/jobs/0/kind", "/jobs/0/jobs"]).await;
    api.finish().await;
}

#[tokio::test]
async fn args_with_everything_that_could_mislead_a_splitter() {
    let api = Api::start().await;
    let args = [
        r#"{"z": 1.50, "a": 12345678901234567890, "z": 2}"#,
        r#""]}],\"jobs\":[{""#,
        r#""\\""#,
        r#""\\\"]""#,
        r#""\n\r\t\u005d\u007D\u0022""#,
        r#"{"]":"}","}":["{","[",{}]}"#,
        r#"[[],[[]],{"":[]}]"#,
        r#""ä😀\ud83d\ude00""#,
        "null",
        "-0.0e-7",
        "[ 1 ,\t2 ]",
    ];
    let line = |args: &&str| format!(r#"{{"kind":"k","args":{args}}}"#);
    let lines: Vec<String> = args.iter().map(line).collect();
    for (headers, body) in [
        ([JSON], format!("{{\"jobs\":[{}]}}", lines.join(","))),
        ([JSON], format!(" {{ \"\\u006aobs\" :\r\n[ {} ] }} ", lines.join(" ,\n\t"))),
        ([NDJSON], lines.join("\n")),
        ([NDJSON], lines.join("\n") + "\n"),
        ([NDJSON], lines.join("\r\n") + "\r\n"),
        ([NDJSON], format!("\n\n{}\n \t\n", lines.join("\n\r\n\n"))),
        ([("content-type", "application/ndjson")], lines.join("\n")),
    ] {
        api.sql.batch_execute("truncate longshore.job_data, longshore.ready, longshore.labels").await.expect("forget");
        let (ids, _) = taken(&api.request("POST", PATH, &headers, body.as_bytes()).await);
        assert_eq!(ids.len(), args.len());
        assert_eq!(stored(&api).await, args, "{body}");
    }
    // and whatever the pieces that it arrives in
    let body = format!("{{\"jobs\":[{}]}}", lines.join(", "));
    for (content_type, body) in [(JSON, &body), (NDJSON, &lines.join("\r\n"))] {
        for chunk in [1, 3, 64] {
            api.sql.batch_execute("truncate longshore.job_data, longshore.ready, longshore.labels").await.expect("forget");
            let mut connection = Connection::open(api.address).await;
            connection.send_head("POST", PATH, &[content_type, ("transfer-encoding", "chunked")]).await.expect("sent");
            for piece in body.as_bytes().chunks(chunk) {
                connection.send_chunk(piece).await.expect("sent");
            }
            connection.send_chunk(b"").await.expect("sent");
            taken(&connection.response().await.expect("an answer"));
            assert_eq!(stored(&api).await, args, "chunks of {chunk}");
        }
    }
    api.finish().await;
}

#[tokio::test]
async fn a_body_that_comes_byte_by_byte() {
    let api = Api::start().await;
    for (content_type, body) in [(JSON, r#"{"jobs":[{"kind":"a","args":"]}"},{"kind":"b"}]}"#), (NDJSON, "{\"kind\":\"a\"}\r\n\n{\"kind\":\"b\"}")] {
        let mut connection = Connection::open(api.address).await;
        connection.send_head("POST", PATH, &[content_type, ("content-length", &body.len().to_string())]).await.expect("sent");
        for byte in body.as_bytes() {
            sleep(Duration::from_millis(2)).await; // slowly is what is tested
            connection.send(&[*byte]).await.expect("sent");
        }
        assert_eq!(taken(&connection.response().await.expect("an answer")).0.len(), 2);
    }
    api.finish().await;
}

#[tokio::test]
async fn duplicates_are_named_by_index() {
    let api = Api::start().await;
    let held = api.enqueue(r#"{"kind":"k","args":"held","unique":{"key":"a"}}"#).await;
    let with = |key: &str, on_conflict: &str| json!({"kind": "k", "args": on_conflict, "unique": {"key": key, "on_conflict": on_conflict}});
    let plain = json!({"kind": "k"});
    let jobs = json!({"jobs": [plain, with("a", "return"), with("b", "return"), plain, with("b", "return"), with("a", "replace")]});
    let (ids, duplicates) = taken(&api.post(PATH, jobs.to_string()).await);
    assert_eq!(duplicates, [1, 4, 5]);
    assert_eq!((ids[1], ids[5], ids[4]), (held, held, ids[2]), "a duplicate's id is the standing job's");
    let fresh: std::collections::BTreeSet<i64> = [ids[0], ids[2], ids[3], held].into();
    assert_eq!(fresh.len(), 4);
    assert_eq!(api.count("longshore.job_data").await, 4);
    assert_eq!(api.read(&format!("/v1/jobs/{held}")).await["args"], json!("replace"));

    let before = api.tables().await;
    let jobs = json!({"jobs": [plain, plain, with("c", "return"), with("b", "reject"), plain]});
    let said = problem(&api.post(PATH, jobs.to_string()).await, 409, &["/jobs/3/unique/key"], "reject");
    assert_eq!(said["detail"], format!("the unique key \"b\" is held by job {}", ids[2]));
    assert_eq!(api.tables().await, before, "all or none");
    api.finish().await;
}

#[tokio::test]
async fn a_batch_is_one_transaction() {
    let api = Api::start().await;
    let jobs: Vec<Value> = (0..2500).map(|n| json!({"kind": "k", "args": n})).collect();
    taken(&api.post(PATH, json!({"jobs": jobs}).to_string()).await);
    let row = api.sql.query_one("select count(distinct xmin::text), count(distinct created_at), count(*) from longshore.job_data", &[]).await.expect("look");
    assert_eq!((row.get::<_, i64>(0), row.get::<_, i64>(1), row.get::<_, i64>(2)), (1, 1, 2500));
    api.finish().await;
}
