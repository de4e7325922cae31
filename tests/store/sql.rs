//! `longshore.enqueue` in the caller's transaction: the rules of `POST /v1/jobs`.

use longshore_common::{
    job::{InvalidJob, NewJob},
    store::listen::Channel,
};

use crate::fixture::Fixture;

/// A field as HTTP has it, as SQL has it, and the word by which both name it.
const BAD: &[(&str, &str, &str)] = &[
    (r#""kind":"no spaces""#, "kind => 'no spaces'", "kind"),
    (r#""kind":"""#, "kind => ''", "kind"),
    (r#""queue":"ä""#, "queue => 'ä'", "queue"),
    (r#""args":"\u0000""#, r#"args => '"\u0000"'"#, "args"),
    (r#""args":["\ud800"]"#, r#"args => '["\ud800"]'"#, "args"),
    (r#""args":1e999"#, "args => '1e999'", "args"),
    (r#""args":[-1E+400]"#, "args => '[-1E+400]'", "args"),
    (r#""priority":32768"#, "priority => 32768", "priority"),
    (r#""max_attempts":0"#, "max_attempts => 0", "max_attempts"),
    (r#""max_attempts":1001"#, "max_attempts => 1001", "max_attempts"),
    (r#""timeout":"999ms""#, "timeout => '999 ms'", "timeout"),
    (r#""timeout":"169h""#, "timeout => '169 h'", "timeout"),
    (r#""run_at":"2030-01-01T00:00:00Z","delay":1"#, "run_at => '2030-01-01', delay => '1 s'", "delay"),
    (r#""run_at":"9999-12-30T22:00:01Z""#, "run_at => '9999-12-30 22:00:01+00'", "run_at"),
    (r#""delay":-1"#, "delay => '-1 s'", "delay"),
    (r#""expires_in":0"#, "expires_in => '0'", "expires_in"),
    (r#""tags":[""]"#, "tags => array['']", "tags"),
    (r#""meta":[1]"#, "meta => '[1]'", "meta"),
    (r#""meta":{"a":1e999}"#, r#"meta => '{"a":1e999}'"#, "meta"),
    (r#""concurrency_key":"""#, "concurrency_key => ''", "concurrency_key"),
    (r#""retry":{"backoff":"wild"}"#, r#"retry => '{"backoff":"wild"}'"#, "retry"),
    (r#""retry":{"base":-1}"#, r#"retry => '{"base":-1}'"#, "retry"),
    (r#""retry":{"jitter":1.5}"#, r#"retry => '{"jitter":1.5}'"#, "retry"),
    (r#""retry":{"colour":1}"#, r#"retry => '{"colour":1}'"#, "retry"),
    (r#""unique":{"key":""}"#, "unique_key => ''", "unique"),
    (r#""unique":{"key":"k","while":"never"}"#, "unique_key => 'k', unique_while => 'never'", "unique"),
    (r#""unique":{"key":"k","on_conflict":"shrug"}"#, "unique_key => 'k', on_conflict => 'shrug'", "on_conflict"),
    (r#""unique":{"while":"kept"}"#, "unique_while => 'kept'", "unique"),
];

#[tokio::test]
async fn what_http_refuses_sql_refuses() {
    let f = Fixture::new().await;
    let long_key = "k".repeat(256);
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    let long_args = format!("\"{}\"", "x".repeat(1024 * 1024));
    let many_tags = (0..21).map(|n| format!("t{n}")).collect::<Vec<_>>();
    let long_tag = "ä".repeat(65);
    let numbers = [
        format!("1{}", "0".repeat(400)),
        format!("-1{}.5e-50", "0".repeat(400)),
        format!("0.{}1e+00900", "0".repeat(400)),
        "1e99999999999999999999".to_owned(),
    ];
    let numbers = numbers.map(|number| (format!(r#""args":[{number}]"#), format!("args => '[{number}]'"), "args"));
    let built = [
        (format!(r#""unique":{{"key":"{long_key}"}}"#), format!("unique_key => '{long_key}'"), "unique"),
        (format!(r#""args":{deep}"#), format!("args => '{deep}'"), "args"),
        (format!(r#""args":{long_args}"#), format!("args => '{long_args}'"), "args"),
        (format!(r#""tags":["{}"]"#, many_tags.join("\",\"")), format!("tags => array['{}']", many_tags.join("','")), "tags"),
        (format!(r#""tags":["{long_tag}"]"#), format!("tags => array['{long_tag}']"), "tags"),
        (format!(r#""meta":{{"a":"{}"}}"#, "x".repeat(16 * 1024)), format!(r#"meta => '{{"a":"{}"}}'"#, "x".repeat(16 * 1024)), "meta"),
    ];
    let all = BAD.iter().map(|(h, s, n)| ((*h).to_owned(), (*s).to_owned(), *n)).chain(built).chain(numbers);
    for (http, sql, named) in all {
        let shown: String = sql.chars().take(80).collect();
        let kind = if http.starts_with("\"kind\"") { "" } else { r#""kind":"echo","# };
        let Err(InvalidJob::Faults(faults)) = NewJob::parse(format!("{{{kind}{http}}}").as_bytes(), "") else { panic!("{shown}: HTTP takes it") };
        assert!(faults.iter().all(|fault| fault.pointer.contains(named)), "{shown}: {faults:?}");
        let kind = if sql.starts_with("kind") { "" } else { "kind => 'echo', " };
        let error = f.sql.query(&format!("select longshore.enqueue({kind}{sql})"), &[]).await.expect_err(&shown);
        let said = error.as_db_error().map(|d| d.message().to_owned()).unwrap_or_default();
        assert!(said.starts_with("longshore.enqueue: ") && said.contains(named), "{shown}: {said}");
    }
    assert_eq!(f.count("longshore.job_data").await + f.count("longshore.queues").await, 0, "bad input changes nothing");
}

#[tokio::test]
async fn what_http_takes_sql_takes() {
    let f = Fixture::new().await;
    let deep = format!("{}{}", "[".repeat(128), "]".repeat(128));
    let small = |sign: &str, exponent: &str| {
        let number = format!("{sign}0.{}123{exponent}", "0".repeat(400));
        (format!(r#""args":{number}"#), format!("args => '{number}'"))
    };
    for (http, sql) in [
        (r#""args":"\\u0000""#.to_owned(), r#"args => '"\\u0000"'"#.to_owned()),
        (r#""args":"\ud83d\ude00""#.to_owned(), r#"args => '"\ud83d\ude00"'"#.to_owned()),
        (r#""args":1e-999"#.to_owned(), "args => '1e-999'".to_owned()),
        (r#""args":1e-99999999999999999999"#.to_owned(), "args => '1e-99999999999999999999'".to_owned()),
        small("", ""),
        small("-", "e10"),
        small("", "E-7"),
        (r#""args":"1e999""#.to_owned(), r#"args => '"1e999"'"#.to_owned()),
        (r#""args":123456789012345678901234567890"#.to_owned(), "args => '123456789012345678901234567890'".to_owned()),
        (format!(r#""args":{deep}"#), format!("args => '{deep}'")),
        (r#""timeout":null"#.to_owned(), "timeout => null".to_owned()),
        (r#""timeout":"1h30m""#.to_owned(), "timeout => '1h30m'".to_owned()),
        (r#""retry":{"base":0.5,"max":10,"jitter":0}"#.to_owned(), r#"retry => '{"base":0.5,"max":10,"jitter":0}'"#.to_owned()),
        (
            r#""delay":"7d","tags":["a"],"meta":{"a":"b"},"concurrency_key":"c""#.to_owned(),
            r#"delay => '7d', tags => array['a'], meta => '{"a":"b"}', concurrency_key => 'c'"#.to_owned(),
        ),
        (r#""unique":{"key":"k","for":"10m"}"#.to_owned(), "unique_key => 'k2', unique_for => '10 min'".to_owned()),
    ] {
        let parsed = NewJob::parse(format!(r#"{{"kind":"echo",{http}}}"#).as_bytes(), "").unwrap_or_else(|error| panic!("{http}: {error:?}"));
        let by_http = f.enqueue_one(parsed).await;
        let by_sql: i64 =
            f.sql.query_one(&format!("select longshore.enqueue('echo', {sql})"), &[]).await.unwrap_or_else(|error| panic!("{sql}: {error:?}")).get(0);
        // whatever way a job came in, it is the same
        let differ = "select count(distinct (args::text, lane, priority, max_attempts, timeout_ms, tags, meta::text, concurrency_key, unique_while, run_at > created_at)) from longshore.job_data where id in ($1, $2)";
        let different: i64 = f.sql.query_one(differ, &[&by_http, &by_sql]).await.expect("compare").get(0);
        assert_eq!(different, 1, "{sql}");
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn all_faults_are_named_at_once() {
    let f = Fixture::new().await;
    let error = f.sql.query("select longshore.enqueue('e cho', '1e999', queue => 'ä', priority => 99999)", &[]).await.expect_err("refused");
    let said = error.as_db_error().expect("by the database").message().to_owned();
    for named in ["kind: ", "args: ", "queue: ", "priority: "] {
        assert!(said.contains(named), "{said}");
    }
}

#[tokio::test]
async fn notify_wakes_after_the_commit_only() {
    let f = Fixture::new().await;
    let stop = tokio_util::sync::CancellationToken::new();
    let mut heard = f.store.listen(Channel::Work, stop.clone());
    assert_eq!(heard.recv().await, Some(None), "connected");
    f.run("select longshore.enqueue('echo'); begin; select longshore.enqueue('echo', queue => 'q1', notify => true); rollback").await;
    f.run("select longshore.enqueue('echo', queue => 'q2', notify => true)").await;
    assert_eq!(heard.recv().await, Some(Some("q2".to_owned())), "neither the silent nor the rolled back one");
    stop.cancel();
}

#[tokio::test]
async fn a_job_belongs_to_the_trace_that_its_session_names() {
    let f = Fixture::new().await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let enqueue = "select longshore.enqueue('echo')";
    f.run(&format!("begin; set local longshore.traceparent = '{trace}'; {enqueue}; commit; {enqueue}")).await;
    for none in [
        "",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        &trace.replace("00-4", "zz-4"),
        "order 7",
        &trace.replace("00-4", "ff-4"),
        &format!("{trace}-01"),
    ] {
        f.run(&format!("set longshore.traceparent = '{none}'; {enqueue}")).await;
    }
    let rows = f.sql.query("select traceparent from longshore.job_data order by id", &[]).await.expect("look");
    let stored: Vec<Option<String>> = rows.iter().map(|row| row.get(0)).collect();
    assert_eq!(stored[0].as_deref(), Some(trace));
    assert_eq!(stored[1..], vec![None; 8], "it ends with the transaction, and what is no traceparent counts for none");
}
