//! Guarantee 1: a 2xx answer to an enqueue is sent after the commit. Kill any process, any time: the job is there.

use std::{
    collections::HashSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde_json::json;

use crate::system::{System, start_api, try_post};

#[tokio::test(flavor = "multi_thread")]
async fn the_api_is_killed_under_load_and_nothing_acknowledged_is_missing() {
    let mut system = System::start().await;
    let acknowledged = Arc::new(Mutex::new(HashSet::new()));
    for _ in 0..5 {
        let stop = Arc::new(AtomicBool::new(false));
        let callers: Vec<_> = (0..16)
            .map(|caller| {
                let (address, acknowledged, stop) = (system.address, acknowledged.clone(), stop.clone());
                tokio::spawn(async move {
                    while !stop.load(Ordering::Relaxed) {
                        let (path, body) = if caller == 0 {
                            ("/v1/jobs/batch", json!({"jobs": vec![json!({"kind": "nobody-runs-this"}); 50]}))
                        } else {
                            ("/v1/jobs", json!({"kind": "nobody-runs-this"}))
                        };
                        let Ok(answer) = try_post(address, path, "application/json", &body.to_string()).await else { continue };
                        if answer.status == 201 {
                            let answer = answer.json();
                            let ids = answer["ids"].as_array().cloned().unwrap_or_else(|| vec![answer["id"].clone()]);
                            acknowledged.lock().expect("no panic").extend(ids.iter().map(|id| id.as_i64().expect("an id")));
                        }
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(300)).await; // some load, then the blow
        system.api.kill();
        stop.store(true, Ordering::Relaxed);
        for caller in callers {
            caller.await.expect("no panic");
        }
        (system.api, system.address) = start_api(system.database.url(), &[]).await;
        system.api.wait_for_line("the schema is up to date", crate::system::SOON).await;
    }
    let acknowledged: Vec<i64> = acknowledged.lock().expect("no panic").iter().copied().collect();
    assert!(acknowledged.len() > 200, "there was some load: {}", acknowledged.len());
    let missing = "select id from unnest($1::bigint[]) a(id) where not exists (select from longshore.ready r where r.id = a.id)";
    let missing = system.sql.query(missing, &[&acknowledged]).await.expect("compare");
    assert!(missing.is_empty(), "{} acknowledged jobs are missing", missing.len());
    system.assert_no_violations().await;
}
