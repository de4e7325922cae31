//! Workflows while workers are killed: each end is counted once, and what comes after others starts when the last of them has ended.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    support::process::Process,
    system::{SOON, System, get, post},
};

#[tokio::test(flavor = "multi_thread")]
async fn diamonds_and_a_wide_fan_in_while_workers_are_killed() {
    let system = System::start().await;
    let job = |name: &str, after: &[&str]| json!({"name": name, "kind": "sleep", "args": {"for": "150ms"}, "after": after, "retry": {"base": 0.05}, "max_attempts": 100});
    let mut workflows: Vec<Vec<Value>> = vec![vec![job("a", &[]), job("b", &["a"]), job("c", &["a"]), job("d", &["b", "c"]), job("e", &["d"])]; 60];
    let names: Vec<String> = (0..1000).map(|n| format!("n{n}")).collect();
    let wide: Vec<&str> = names.iter().map(String::as_str).collect();
    workflows.push(wide.iter().map(|name| job(name, &[])).chain([job("end", &wide)]).collect());
    let mut ids = Vec::new();
    for jobs in &workflows {
        let made = post(system.address, "/v1/workflows", &json!({"jobs": jobs})).await;
        assert_eq!(made.status, 201, "{}", made.text());
        ids.push(made.json()["id"].as_i64().expect("an id"));
    }
    let env = [("LONGSHORE_WORKER__QUEUES", "*=10")];
    let mut workers: Vec<Process> = Vec::new();
    for _ in 0..3 {
        workers.push(system.worker(&env).await);
    }
    let deadline = Instant::now() + Duration::from_secs(90);
    let mut killed = 0;
    while system.count("longshore.finished").await < 60 * 5 + 1001 {
        assert!(Instant::now() < deadline, "{:?}", get(system.address, "/v1/queues/default").await.json());
        tokio::time::sleep(Duration::from_millis(fastrand::u64(200..500))).await;
        // then they may come to an end
        if killed < 25 {
            let victim = killed % workers.len();
            workers[victim].signal(Signal::SIGKILL);
            workers[victim].wait_exit(SOON).await;
            workers[victim] = system.worker(&env).await;
            killed += 1;
        }
    }
    assert!(killed >= 5, "{killed} were killed");
    for id in ids {
        assert_eq!(get(system.address, &format!("/v1/workflows/{id}")).await.json()["state"], "succeeded");
    }
    assert!(system.count("longshore.attempts where outcome = 'lost'").await > 0, "some attempts were lost");
    let early = "longshore.job_data c join lateral (
            select min(s.started_at) started_at from (select id, started_at from longshore.attempts union all select id, started_at from longshore.finished) s where s.id = c.id) f on true
        join unnest(c.after) p(id) on true join longshore.finished e on e.id = p.id where f.started_at < e.finished_at";
    assert_eq!(system.count(early).await, 0, "nothing starts before what it comes after has ended");
    assert_eq!(system.count("longshore.edges").await + system.count("longshore.blocked").await, 0);
    system.assert_no_violations().await;
}

/// What was released is claimed at once, in whatever queue it is.
#[tokio::test(flavor = "multi_thread")]
async fn a_chain_does_not_wait_for_the_poll() {
    let system = System::start().await;
    let _worker = system.worker(&[("LONGSHORE_WORKER__POLL", "10s")]).await;
    let jobs: Vec<Value> = (0..20)
        .map(|n| json!({"name": format!("n{n}"), "kind": "echo", "queue": format!("q{}", n % 3), "after": if n == 0 { vec![] } else { vec![format!("n{}", n - 1)] }}))
        .collect();
    let made = post(system.address, "/v1/workflows", &json!({"jobs": jobs})).await.json();
    let last = made["jobs"][19]["id"].as_i64().expect("an id");
    let began = Instant::now();
    system.until(last, "succeeded").await;
    assert!(began.elapsed() < Duration::from_secs(8), "twenty steps took {:?}", began.elapsed());
}
