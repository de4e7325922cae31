//! Everything at once: API, worker and PostgreSQL are killed with -9 in turn under load, with fsync on. Nothing that was
//! acknowledged is missing, every job succeeds with its own result, and the law of conservation holds.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use longshore::private_postgres::{PrivatePostgres, Purpose};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::json;

use crate::{
    support::{
        eventually::eventually,
        postgres::{connect, options},
    },
    system::{SOON, assert_no_violations, count, start_api, start_worker, try_post},
};

/// Starts PostgreSQL; after a kill, its backends may take a moment to notice that their parent is gone.
async fn postgres(folder: &std::path::Path) -> PrivatePostgres {
    let start = || PrivatePostgres::start(options(folder, Purpose::Dev)).map_err(|error| error.to_string());
    eventually("PostgreSQL starts", SOON, async || tokio::task::block_in_place(start)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn api_worker_and_postgresql_are_killed_in_turn_under_load() {
    let folder = std::env::temp_dir().join(format!("longshore-test-under-fire-{}", std::process::id()));
    let mut server = postgres(&folder).await;
    let url = server.url("postgres");
    let (mut api, address) = start_api(&url, &[]).await;
    api.wait_for_line("the schema is up to date", SOON).await;
    let env = [("LONGSHORE_WORKER__QUEUES", "*=20")];
    let mut workers = [start_worker(&url, &env).await, start_worker(&url, &env).await];

    let address: Arc<Mutex<SocketAddr>> = Arc::new(Mutex::new(address));
    let acknowledged: Arc<Mutex<HashMap<i64, u64>>> = Arc::default();
    let (stop, number) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let callers: Vec<_> = (0..8)
        .map(|caller| {
            let (address, acknowledged, stop, number) = (address.clone(), acknowledged.clone(), stop.clone(), number.clone());
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let to = *address.lock().expect("no panic");
                    let n = number.fetch_add(20, Ordering::Relaxed);
                    let job = |n: u64| json!({"kind": "echo", "args": n, "retry": {"base": 0.1, "max": 0.5}}).to_string();
                    let (answer, first) = if caller == 0 {
                        let lines: Vec<String> = (n..n + 20).map(job).collect();
                        (try_post(to, "/v1/jobs/batch", "application/x-ndjson", &lines.join("\n")).await, n)
                    } else {
                        (try_post(to, "/v1/jobs", "application/json", &job(n)).await, n)
                    };
                    match answer {
                        Ok(answer) if answer.status == 201 => {
                            let answer = answer.json();
                            let ids = answer["ids"].as_array().cloned().unwrap_or_else(|| vec![answer["id"].clone()]);
                            let ids = ids.iter().map(|id| id.as_i64().expect("an id"));
                            acknowledged.lock().expect("no panic").extend(ids.zip(first..));
                        }
                        Ok(answer) => assert_eq!(answer.status, 503, "{}", answer.text()),
                        Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
                    }
                }
            })
        })
        .collect();

    for doomed in &mut workers {
        tokio::time::sleep(Duration::from_secs(1)).await;
        doomed.kill();
        *doomed = start_worker(&url, &env).await;
        tokio::time::sleep(Duration::from_millis(700)).await;
        kill(Pid::from_raw(server.pid().cast_signed()), Signal::SIGKILL).expect("it runs");
        eventually("PostgreSQL is gone", SOON, async || server.failure().is_some()).await;
        drop(server);
        server = postgres(&folder).await;
        assert_eq!(server.url("postgres"), url);
        tokio::time::sleep(Duration::from_secs(1)).await;
        api.kill();
        let (new, at) = start_api(&url, &[]).await;
        (api, *address.lock().expect("no panic")) = (new, at);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    stop.store(true, Ordering::Relaxed);
    for caller in callers {
        caller.await.expect("no panic");
    }

    let sql = connect(&url).await;
    eventually("all is done", Duration::from_secs(40), async || {
        let left = count(&sql, "longshore.places where state <> 'succeeded'").await;
        if left == 0 { Ok(()) } else { Err(left) }
    })
    .await;
    let acknowledged = acknowledged.lock().expect("no panic").clone();
    assert!(acknowledged.len() > 300, "there was some load: {}", acknowledged.len());
    let rows = sql.query("select id, result::text from longshore.finished", &[]).await.expect("read");
    let results: HashMap<i64, String> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    for (id, n) in &acknowledged {
        assert_eq!(results.get(id), Some(&n.to_string()), "job {id} was acknowledged");
    }
    assert_no_violations(&sql).await;
    drop((api, workers, sql));
    server.stop();
    std::fs::remove_dir_all(&folder).unwrap_or_else(|error| panic!("remove {}: {error}", folder.display()));
}
