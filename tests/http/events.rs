//! `GET /v1/events`: what happens is told in the order of commits, once, to all who watch, also to those who come back.

use std::{collections::VecDeque, net::SocketAddr, time::Duration};

use longshore_common::{
    key::{KeyName, Scope},
    outcome::Outcome,
    store::Store,
};
use serde_json::{Value, json};

use crate::{
    api::{Api, JSON, SOON, create_key, problem},
    support::{
        eventually::eventually,
        http::{self, Connection},
    },
};

/// One who watches.
struct Watcher {
    connection: Connection,
    text: String,
    come: VecDeque<Told>,
}

#[derive(Debug, Clone, PartialEq)]
struct Told {
    id: i64,
    event: String,
    data: Value,
}

impl Watcher {
    async fn open(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut connection = Connection::open(address).await;
        connection.send_head("GET", path, headers).await.expect("sent");
        let head = connection.response_head().await.expect("an answer");
        assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")), "{path}: {head:?}");
        Self { connection, text: String::new(), come: VecDeque::new() }
    }

    async fn start(api: &Api) -> Self {
        Self::open(api.address, "/v1/events", &[]).await
    }

    async fn after(api: &Api, id: i64) -> Self {
        Self::open(api.address, "/v1/events", &[("last-event-id", &id.to_string())]).await
    }

    /// The next event; `None`: the stream has ended.
    async fn try_next(&mut self) -> Option<Told> {
        // comments keep a stream alive that tells nothing
        tokio::time::timeout(SOON, self.read_next()).await.expect("an event, or the end")
    }

    async fn read_next(&mut self) -> Option<Told> {
        loop {
            if let Some(told) = self.come.pop_front() {
                return Some(told);
            }
            self.text += &String::from_utf8(self.connection.next_part().await.expect("it goes on")?).expect("text");
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                assert!(!block.contains('\r'), "which ends a line of a stream: {block:?}");
                let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(|value| value.trim_start().to_owned());
                if let Some(event) = field("event:") {
                    let id = field("id:").expect("an id").parse().expect("a number");
                    self.come.push_back(Told { id, event, data: serde_json::from_str(&field("data:").expect("data")).expect("JSON") });
                }
                self.text = String::from(rest);
            }
        }
    }

    async fn next(&mut self) -> Told {
        self.try_next().await.expect("the stream goes on")
    }

    /// The next ones, as event, job and attempt, in order; their ids must rise.
    async fn next_are(&mut self, expected: &[(&str, Option<i64>, Option<i64>)]) {
        for (index, (event, job, attempt)) in expected.iter().enumerate() {
            let told = self.next().await;
            let found = (told.event.as_str(), told.data["job_id"].as_i64(), told.data["attempt"].as_i64());
            assert_eq!(found, (*event, *job, *attempt), "event {index} of {expected:?}: {told:?}");
            assert_eq!(told.data["event"], *event);
            assert!(told.data["at"].is_string());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_happens_to_a_job_is_told() {
    let api = Api::start().await;
    let worker = api.worker("w", &["*=50"]).await;
    let mut watcher = Watcher::start(&api).await;
    let claimed = async || api.claim(worker, "default", 1).await.jobs[0].lease;
    let report = async |outcome: Outcome| drop(api.store.report(&[(claimed().await, outcome)]).await.expect("report"));
    let control = async |method: &str, path: &str, body: &str| {
        let answer = api.request(method, path, &[JSON], body.as_bytes()).await;
        assert!(answer.status < 300, "{method} {path}: {}", answer.text());
    };

    let id = api.enqueue(r#"{"kind": "echo", "max_attempts": 3}"#).await;
    let path = format!("/v1/jobs/{id}");
    report(Outcome::Snoozed { delay: Duration::ZERO }).await;
    report(Outcome::HandedBack).await;
    report(Outcome::Failed { error: "once".to_owned(), retry_in: Some(Duration::from_hours(1)) }).await;
    let id = Some(id);
    let started = |attempt| ("job.started", id, Some(attempt));
    watcher.next_are(&[("job.enqueued", id, Some(0)), started(1), ("job.snoozed", id, Some(1)), started(1), ("job.handed_back", id, Some(1))]).await;
    watcher.next_are(&[started(1)]).await;
    let failed = watcher.next().await;
    let expected = json!({"event": "job.retryable", "at": failed.data["at"], "job_id": id, "kind": "echo", "queue": "default", "attempt": 1, "error": "once"});
    assert_eq!((failed.event.as_str(), failed.data), ("job.retryable", expected));

    control("PATCH", &path, r#"{"priority": 5}"#).await;
    control("POST", &format!("{path}/retry"), "").await;
    report(Outcome::TimedOut { error: "late".to_owned() }).await;
    control("POST", &format!("{path}/retry"), "").await;
    report(Outcome::Discarded { error: "no".to_owned() }).await;
    watcher.next_are(&[("job.changed", id, Some(1)), ("job.retried", id, Some(1)), started(2), ("job.retryable", id, Some(2))]).await;
    watcher.next_are(&[("job.retried", id, Some(2)), started(3), ("job.failed", id, Some(3))]).await;
    control("POST", &format!("{path}/retry"), "").await;
    report(Outcome::Succeeded { result: None }).await;
    control("POST", &format!("{path}/retry"), "").await;
    control("POST", &format!("{path}/cancel"), "").await;
    control("DELETE", &path, "").await;
    watcher.next_are(&[("job.retried", id, Some(3)), started(4), ("job.succeeded", id, Some(4)), ("job.retried", id, Some(4))]).await;
    watcher.next_are(&[("job.cancelled", id, Some(4)), ("job.deleted", id, None)]).await;

    // what its handler tells of it
    let telling = Some(api.enqueue(r#"{"kind": "echo"}"#).await);
    let lease = claimed().await;
    let note = r#"select longshore.note(array[$1::bigint], array[$2::bigint], array[e'{"done": 0.50,\r\n "of":\r1}'::json], '{}', array['a line'])"#;
    api.sql.execute(note, &[&lease.id, &lease.lease]).await.expect("note");
    watcher.next_are(&[("job.enqueued", telling, Some(0)), ("job.started", telling, Some(1))]).await;
    let told = watcher.next().await;
    assert_eq!((told.event.as_str(), &told.data["job_id"], &told.data["progress"]), ("job.progress", &json!(telling), &json!({"done": 0.5, "of": 1})));
    api.store.report(&[(lease, Outcome::Succeeded { result: None })]).await.expect("report");
    watcher.next_are(&[("job.succeeded", telling, Some(1))]).await;

    // one that runs is cancelled by its report, one that comes too late by a duty, one that is replaced is changed
    let running = Some(api.enqueue(r#"{"kind": "echo"}"#).await);
    let lease = claimed().await;
    control("POST", &format!("/v1/jobs/{}/cancel", lease.id), "").await;
    api.store.report(&[(lease, Outcome::Failed { error: "stopped".to_owned(), retry_in: None })]).await.expect("report");
    let late = Some(api.enqueue(r#"{"kind": "echo", "expires_in": "1ms", "queue": "other"}"#).await);
    watcher.next_are(&[("job.enqueued", running, Some(0)), ("job.started", running, Some(1)), ("job.cancelled", running, Some(1))]).await;
    watcher.next_are(&[("job.enqueued", late, Some(0)), ("job.cancelled", late, Some(0))]).await;
    let unique = r#"{"kind": "echo", "delay": "1h", "unique": {"key": "k", "on_conflict": "replace"}}"#;
    let unique_id = Some(api.enqueue(unique).await);
    assert_eq!(api.post("/v1/jobs", unique).await.status, 200);
    watcher.next_are(&[("job.enqueued", unique_id, Some(0)), ("job.changed", unique_id, Some(0))]).await;

    control("POST", "/v1/queues/other/pause", "").await;
    control("POST", "/v1/queues/other/pause", "").await;
    api.sql.batch_execute("select longshore.resume('other'); select longshore.resume('other'); select longshore.pause('other')").await.expect("control");
    control("POST", "/v1/queues/other/resume", "").await;
    control("PUT", "/v1/queues/other", "{}").await;
    control("DELETE", "/v1/queues/other?purge=true", "").await;
    for event in ["queue.paused", "queue.resumed", "queue.paused", "queue.resumed", "queue.changed", "job.deleted", "queue.deleted"] {
        let told = watcher.next().await;
        assert_eq!((told.event.as_str(), &told.data["queue"]), (event, &json!("other")));
    }
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_is_wanted() {
    let api = Api::start().await;
    let worker = api.worker("w", &["*=50"]).await;
    let open = async |query: &str| Watcher::open(api.address, &format!("/v1/events?{query}"), &[]).await;
    let (mut queues, mut kinds, mut both) = (open("queue=a&queue=b").await, open("kind=echo").await, open("kind=echo&queue=b").await);
    let enqueue = async |queue: &str, kind: &str| Some(api.enqueue(json!({"kind": kind, "queue": queue}).to_string()).await);
    let (ax, cx, ce) = (enqueue("a", "x").await, enqueue("c", "x").await, enqueue("c", "echo").await);
    queues.next_are(&[("job.enqueued", ax, Some(0))]).await;
    kinds.next_are(&[("job.enqueued", ce, Some(0))]).await;
    let mut one = open(&format!("job_id={}", cx.expect("an id"))).await;
    let be = enqueue("b", "echo").await;
    api.claim(worker, "c", 2).await;
    queues.next_are(&[("job.enqueued", be, Some(0))]).await;
    kinds.next_are(&[("job.enqueued", be, Some(0)), ("job.started", ce, Some(1))]).await;
    both.next_are(&[("job.enqueued", be, Some(0))]).await;
    one.next_are(&[("job.started", cx, Some(1))]).await;

    for (query, pointers) in [("queue=%20&kind=&job_id=x&colour=red", &["/queue", "/kind", "/job_id", "/colour"][..]), ("wait=1s", &["/wait"])] {
        problem(&api.get(&format!("/v1/events?{query}")).await, 422, pointers, query);
    }
    for id in ["x", "-1", "1.5"] {
        problem(&api.request("GET", "/v1/events", &[("last-event-id", id)], b"").await, 422, &[""], id);
    }
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_written_while_nobody_watches() {
    let api = Api::start().await;
    api.enqueue(r#"{"kind": "echo"}"#).await;
    assert_eq!((api.count("longshore.event_inbox").await, api.count("longshore.events").await), (0, 0));
    drop(Watcher::start(&api).await);
    let id = api.enqueue(r#"{"kind": "echo"}"#).await;
    let told = eventually("it is told, for a while yet", SOON, async || {
        let found = api.sql.query_opt("select pos from longshore.events where id = $1", &[&id]).await.expect("look");
        found.map(|row| row.get::<_, i64>(0)).ok_or("not yet")
    })
    .await;
    // who comes back a little later misses nothing
    Watcher::after(&api, told - 1).await.next_are(&[("job.enqueued", Some(id), Some(0))]).await;
    api.sql.batch_execute("update longshore.watch set events_until = now()").await.expect("lapse");
    api.enqueue(r#"{"kind": "echo"}"#).await;
    assert_eq!(api.count("longshore.event_inbox").await, 0);
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_back_goes_on_where_it_was_also_at_another_api() {
    let api = Api::start().await;
    let mut watcher = Watcher::start(&api).await;
    let ids: Vec<i64> = {
        let mut ids = Vec::new();
        for _ in 0..5 {
            ids.push(api.enqueue(r#"{"kind": "echo"}"#).await);
        }
        ids
    };
    let mut told = Vec::new();
    for _ in &ids {
        told.push(watcher.next().await);
    }
    assert_eq!(told.iter().map(|told| told.data["job_id"].as_i64().expect("a job")).collect::<Vec<_>>(), ids);
    let (second, stop) = api.beside().await;
    for address in [api.address, second.address] {
        for seen in 0..told.len() {
            let mut back = Watcher::open(address, "/v1/events", &[("last-event-id", &told[seen].id.to_string())]).await;
            for expected in &told[seen + 1..] {
                assert_eq!(back.next().await, *expected);
            }
        }
    }
    // what is not kept any more, and what never was
    api.sql.execute("delete from longshore.events where pos <= $1", &[&told[2].id]).await.expect("forget");
    let mut late = Watcher::open(second.address, "/v1/events", &[("last-event-id", &told[0].id.to_string())]).await;
    let gap = late.next().await;
    assert_eq!((gap.event.as_str(), gap.id, gap.data), ("gap", told[2].id, json!({"missed": 2})));
    assert_eq!((late.next().await, late.next().await), (told[3].clone(), told[4].clone()));
    let mut early = Watcher::after(&api, told[4].id + 1000).await;
    let gap = early.next().await;
    assert_eq!((gap.event.as_str(), gap.data), ("gap", json!({"missed": null})));
    let id = Some(api.enqueue(r#"{"kind": "echo"}"#).await);
    early.next_are(&[("job.enqueued", id, Some(0))]).await;
    late.next_are(&[("job.enqueued", id, Some(0))]).await;

    stop.cancel();
    assert_eq!(late.try_next().await, None, "a server that stops ends the stream");
    second.wait().await.expect("a clean stop");
    // nobody watched for a while: whoever was there before is told
    api.sql.batch_execute("update longshore.watch set events_until = now() - interval '1 s'").await.expect("lapse");
    api.enqueue(r#"{"kind": "echo"}"#).await;
    api.store.watch_events().await.expect("watch again");
    let gap = early.next().await;
    assert_eq!((gap.event.as_str(), gap.data), ("gap", json!({"missed": null})));
    api.finish().await;
}

/// Transactions that commit late, out of the order of their events, or never.
#[tokio::test(flavor = "multi_thread")]
async fn the_order_is_that_of_commits() {
    let api = Api::start().await;
    // kinds are made when first used, which others would wait for
    api.sql.batch_execute("select longshore.enqueue(kind) from unnest(array['late', 'never', 'echo']) kind").await.expect("enqueue");
    let mut watcher = Watcher::start(&api).await;
    api.sql.batch_execute("begin; select longshore.enqueue('late')").await.expect("enqueue");
    let first = Some(api.enqueue(r#"{"kind": "echo"}"#).await);
    watcher.next_are(&[("job.enqueued", first, Some(0))]).await;
    api.sql.batch_execute("commit; begin; select longshore.enqueue('never'); rollback").await.expect("commit");
    let told = watcher.next().await;
    assert_eq!((told.event.as_str(), &told.data["kind"]), ("job.enqueued", &json!("late")), "it began before, and is told after");
    let second = Some(api.enqueue(r#"{"kind": "echo"}"#).await);
    watcher.next_are(&[("job.enqueued", second, Some(0))]).await;

    // many at once, watched at two APIs: all see the same, in the same order, each once
    let (other, stop) = api.beside().await;
    let mut others = Watcher::open(other.address, "/v1/events", &[]).await;
    let (writers, each) = (8, 100);
    let tasks: Vec<_> = (0..writers)
        .map(|n| {
            let address = if n % 2 == 0 { api.address } else { other.address };
            tokio::spawn(async move {
                for _ in 0..each {
                    http::request(address, "POST", "/v1/jobs", &[JSON], br#"{"kind": "echo"}"#).await;
                }
            })
        })
        .collect();
    let (mut seen, mut jobs) = (Vec::new(), std::collections::BTreeSet::new());
    for _ in 0..writers * each {
        let told = watcher.next().await;
        assert!(jobs.insert(told.data["job_id"].as_i64().expect("a job")), "{told:?} comes twice");
        seen.push(told);
    }
    assert!(seen.windows(2).all(|pair| pair[0].id < pair[1].id));
    for told in &seen {
        assert_eq!(others.next().await, *told);
    }
    for task in tasks {
        task.await.expect("sent");
    }
    stop.cancel();
    other.wait().await.expect("a clean stop");
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_sees_its_queues_as_long_as_it_is_one() {
    let prepare = async |store: &Store| (create_key(store, "mine", &[Scope::Read], &["mine"]).await, create_key(store, "all", &[Scope::Admin], &[]).await);
    let (api, (mine, all)) = Api::start_after(&[], prepare).await;
    let bearer = format!("Bearer {mine}");
    let headers = [("authorization", bearer.as_str())];
    let refused = api.request("GET", "/v1/events?queue=other", &headers, b"").await;
    problem(&refused, 403, &["/queue"], "another queue");
    let mut watcher = Watcher::open(api.address, "/v1/events", &headers).await;
    let mut ids = Vec::new();
    for queue in ["other", "mine", "other", "mine"] {
        let answer = api.with_key(&all, "POST", "/v1/jobs", &json!({"kind": "echo", "queue": queue}).to_string()).await;
        ids.push(answer.json()["id"].as_i64());
    }
    watcher.next_are(&[("job.enqueued", ids[1], Some(0)), ("job.enqueued", ids[3], Some(0))]).await;
    assert!(api.store.revoke_key(&KeyName::new("mine").expect("a name")).await.expect("revoke"));
    assert_eq!(watcher.try_next().await, None, "a key that is revoked sees nothing more");
    api.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quiet_stream_says_that_it_lives() {
    let api = Api::start().await;
    let mut watcher = Watcher::start(&api).await;
    let comment = watcher.connection.next_part().await.expect("within the client's patience").expect("it goes on");
    assert_eq!(String::from_utf8_lossy(&comment), ":\n\n");
    api.finish().await;
}
