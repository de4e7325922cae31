//! `Idempotency-Key` over crashes: whoever gets no answer sends the same request again until there is one, while the API is
//! killed again and again; each key has made one job.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
};

use nix::sys::signal::Signal;

use crate::{
    support::http,
    system::{SOON, System, start_api},
};

const CALLERS: usize = 8;
const KEYS: usize = 40;
const KILLS: usize = 6;

#[tokio::test(flavor = "multi_thread")]
async fn while_the_api_is_killed() {
    let mut system = System::start().await;
    let address = Arc::new(Mutex::new(system.address));
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let address = address.clone();
            tokio::spawn(async move {
                let (mut ids, mut repeated) = (BTreeSet::new(), 0);
                for n in 0..KEYS {
                    let key = format!("{caller}-{n}");
                    loop {
                        let to = *address.lock().expect("no panic while held");
                        let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
                        match http::try_request(to, "POST", "/v1/jobs", &headers, br#"{"kind": "nobody-knows"}"#).await {
                            Ok(answer) if answer.status == 201 => {
                                ids.insert(answer.json()["id"].as_i64().expect("an id"));
                                break;
                            }
                            Ok(answer) => assert!(matches!(answer.status, 409 | 503), "{}", answer.text()),
                            Err(_) => tokio::task::yield_now().await,
                        }
                        repeated += 1;
                    }
                }
                (ids, repeated)
            })
        })
        .collect();
    let mut api = None;
    for round in 1..=KILLS {
        crate::support::eventually::eventually("some more are done", SOON, async || {
            let done = system.count("longshore.idempotency").await;
            if done >= i64::try_from(round * 30).expect("few") { Ok(()) } else { Err(done) }
        })
        .await;
        let killed = api.as_mut().unwrap_or(&mut system.api);
        killed.signal(Signal::SIGKILL);
        let (process, listens) = start_api(system.database.url(), &[]).await;
        *address.lock().expect("no panic while held") = listens;
        api = Some(process);
    }
    let (mut ids, mut repeated) = (BTreeSet::new(), 0);
    for caller in callers {
        let (own, again) = caller.await.expect("no panic");
        ids.extend(own);
        repeated += again;
    }
    println!("{repeated} requests were sent again");
    assert!(repeated >= KILLS, "the kills were felt");
    let expected = i64::try_from(CALLERS * KEYS).expect("few");
    assert_eq!((i64::try_from(ids.len()).expect("few"), system.count("longshore.job_data").await), (expected, expected));
    system.assert_no_violations().await;
}
