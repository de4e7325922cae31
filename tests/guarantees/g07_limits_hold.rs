//! Guarantee 7: limits hold over all workers together, ours and those that lease over HTTP, while workers are killed and come back
//! late. Watched from outside: somebody counts, all the time, what runs.

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    time::{Duration, Instant},
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    support::{eventually::eventually, http, process::Process},
    system::{SOON, System, post},
};

const MAX_RUNNING: i64 = 12;
const PER_KEY: i64 = 2;
const KEYS: i64 = 10;
const RATE: f64 = 40.0;
const BURST: f64 = 20.0;

/// How long it goes on; longer where somebody wants to see more of it.
fn lasts() -> Duration {
    // not a setting of the product, and not one that a test needs
    Duration::from_secs(
        std::env::var_os("LONGSHORE_TEST_SECONDS").and_then(|seconds| seconds.into_string().ok()).and_then(|seconds| seconds.parse().ok()).unwrap_or(30),
    )
}

async fn put(system: &System, queue: &str, settings: &Value) {
    let path = format!("/v1/queues/{queue}");
    let answer = http::request(system.address, "PUT", &path, &[("content-type", "application/json")], settings.to_string().as_bytes()).await;
    assert!(answer.status < 300, "{}", answer.text());
}

/// A user's worker that leases over HTTP, and now and then forgets what it has, or reports when its lease has long ended.
async fn pull(address: SocketAddr, until: Instant) {
    let mut late: Vec<(Instant, Value)> = Vec::new();
    while Instant::now() < until {
        let leased = post(address, "/v1/leases", &json!({"queues": ["few", "keyed", "rated"], "limit": 4, "lease_for": "5s", "wait": "1s"})).await.json();
        tokio::time::sleep(Duration::from_millis(150)).await;
        for job in leased["jobs"].as_array().into_iter().flatten() {
            match fastrand::u8(..20) {
                0 => {}
                1 => late.push((Instant::now() + Duration::from_secs(7), job.clone())),
                _ => drop(post(address, &format!("/v1/jobs/{}/complete", job["id"]), &json!({"lease": job["lease"]})).await),
            }
        }
        while let Some((_, job)) = late.pop_if(|(at, _)| *at < Instant::now()) {
            let answer = post(address, &format!("/v1/jobs/{}/complete", job["id"]), &json!({"lease": job["lease"]})).await;
            assert_eq!(answer.status, 409, "who comes late changes nothing");
        }
    }
}

/// What was seen to run, by somebody who looked often.
#[derive(Default)]
struct Seen {
    looks: i64,
    few: i64,
    keyed: i64,
}

impl Seen {
    async fn look(&mut self, system: &System) {
        let statement = "select q.name, j.concurrency_key, count(*) from longshore.running r join longshore.job_data j using (id)
            join longshore.lanes l on l.lane = r.lane join longshore.queues q using (queue) group by 1, 2";
        let mut running: HashMap<String, i64> = HashMap::new();
        for row in system.sql.query(statement, &[]).await.expect("look") {
            let (queue, n): (String, i64) = (row.get(0), row.get(2));
            assert!(queue != "keyed" || n <= PER_KEY, "{n} jobs of key {:?} run", row.get::<_, Option<&str>>(1));
            *running.entry(queue).or_default() += n;
        }
        let of = |queue: &str| running.get(queue).copied().unwrap_or(0);
        assert!(of("few") <= MAX_RUNNING, "{} jobs run", of("few"));
        self.looks += 1;
        self.few += of("few");
        self.keyed += of("keyed");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn while_a_worker_is_killed_each_second() {
    let system = System::start().await;
    put(&system, "few", &json!({"max_running": MAX_RUNNING})).await;
    put(&system, "keyed", &json!({"max_running_per_key": PER_KEY})).await;
    put(&system, "rated", &json!({"rate": {"limit": 20, "per": BURST / RATE}})).await;
    let lasts = lasts();
    let seconds = i64::try_from(lasts.as_secs()).expect("some");
    for (queue, jobs) in [("few", seconds * 90), ("keyed", seconds * 150), ("rated", seconds * 60)] {
        let all: Vec<Value> = (0..jobs)
            .map(|n| json!({"kind": "sleep", "queue": queue, "args": {"for": "150ms"}, "concurrency_key": format!("k{}", n % KEYS), "retry": {"base": 0}}))
            .collect();
        for some in all.chunks(5000) {
            assert_eq!(post(system.address, "/v1/jobs/batch", &json!({"jobs": some})).await.status, 201);
        }
    }
    let mut workers: Vec<Process> = Vec::new();
    for _ in 0..3 {
        workers.push(system.worker(&[]).await);
    }
    let began = Instant::now();
    let until = began + lasts;
    let pulling = tokio::spawn(pull(system.address, until));
    eventually("all is under way", SOON, async || if system.count("longshore.running").await >= MAX_RUNNING { Ok(()) } else { Err(()) }).await;
    let started = Instant::now();
    let mut seen = Seen::default();
    let mut next_kill = Instant::now() + Duration::from_secs(1);
    let mut turn = 0;
    while Instant::now() < until {
        seen.look(&system).await;
        if Instant::now() > next_kill {
            turn += 1;
            let victim = turn % workers.len();
            workers[victim].signal(Signal::SIGKILL);
            workers[victim].wait_exit(SOON).await;
            // the checker looks on while it comes back
            let mut starting = Box::pin(system.worker(&[]));
            workers[victim] = loop {
                tokio::select! {
                    worker = &mut starting => break worker,
                    () = tokio::time::sleep(Duration::from_millis(5)) => seen.look(&system).await,
                }
            };
            next_kill += Duration::from_secs(1);
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let watched = started.elapsed().as_secs_f64();
    pulling.await.expect("no panic");
    for queue in ["few", "keyed", "rated"] {
        let waits = system.count(&format!("longshore.jobs where queue = '{queue}' and state = 'available'")).await;
        assert!(waits > 0, "there was enough to do in {queue}");
    }
    for mut worker in workers {
        worker.signal(Signal::SIGKILL);
        worker.wait_exit(SOON).await;
    }
    // a start is a token: of any stretch of time, no more start than it brings, and a full bucket. (A start is dated from the beginning of its
    // claim, which may have waited for others: half a second of grace.)
    let starts = "select extract(epoch from s.started_at)::float8 from (
        select id, started_at from longshore.attempts union all select id, started_at from longshore.finished where started_at is not null
        union all select id, started_at from longshore.running) s join longshore.jobs j using (id) where j.queue = 'rated' order by 1";
    let starts: Vec<f64> = system.sql.query(starts, &[]).await.expect("look").iter().map(|row| row.get(0)).collect();
    for (first, from) in starts.iter().enumerate() {
        for (last, to) in starts.iter().enumerate().skip(first + 1) {
            #[expect(clippy::cast_precision_loss, reason = "few")]
            let n = (last - first + 1) as f64;
            assert!(n <= BURST + 1.0 + (to - from + 0.5) * RATE, "{n} started within {} s", to - from);
        }
    }
    #[expect(clippy::cast_precision_loss, reason = "few")]
    let shares: BTreeMap<&str, f64> = [
        ("few", seen.few as f64 / (seen.looks * MAX_RUNNING) as f64),
        ("keyed", seen.keyed as f64 / (seen.looks * KEYS * PER_KEY) as f64),
        ("rated", starts.len() as f64 / (watched * RATE)),
    ]
    .into();
    println!("{} looks in {watched:.0} s, {turn} workers killed; of what the limits allow, there ran: {shares:.3?}", seen.looks);
    assert!(seen.looks > seconds * 10, "{} looks", seen.looks);
    assert!(shares.values().all(|share| *share >= 0.9), "{shares:?}");
    system.assert_no_violations().await;
}
