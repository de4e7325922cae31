//! What holders tell of their jobs while they run: who is heard, what is kept, what is forgotten.

use std::time::{Duration, Instant};

use longshore_common::{
    job::{JobFilter, JobState, JobView, NewJob},
    json::RawJson,
    notes::{MAX_LOG_BYTES, Notes},
    outcome::Outcome,
    store::{
        claim::Lease,
        notes::{AttemptLog, Standing},
        read::Fields,
    },
};

use crate::{
    fixture::{Fixture, job, parsed},
    races::fastrand_below,
    states::job_in,
    support::{eventually::eventually, postgres::connect},
};

const SOON: Duration = Duration::from_secs(20);

fn json(text: &str) -> RawJson {
    RawJson::parse(text.to_owned()).expect("JSON")
}

fn notes(progress: Option<&str>, checkpoint: Option<&str>, log: &str) -> Notes {
    Notes { progress: progress.map(json), checkpoint: checkpoint.map(json), log: log.to_owned() }
}

fn standing(lease: Lease, stands: bool, cancel_requested: bool) -> Standing {
    Standing { lease, stands, cancel_requested }
}

fn log(attempt: i16, text: &str) -> AttemptLog {
    AttemptLog { attempt, text: text.to_owned() }
}

impl Fixture {
    async fn note(&self, lease: Lease, notes: Notes) -> Standing {
        let standings = self.store.note(&[(lease, notes)]).await.expect("note").expect("the schema is today's");
        assert_eq!((standings.len(), standings[0].lease), (1, lease));
        standings[0]
    }

    async fn view(&self, id: i64) -> JobView {
        self.store.job(id).await.expect("read").expect("there")
    }

    async fn noted(&self, id: i64) -> (Option<String>, Option<String>) {
        let view = self.view(id).await;
        (view.progress.map(|p| p.as_str().to_owned()), view.checkpoint.map(|c| c.as_str().to_owned()))
    }

    async fn logs(&self, id: i64) -> Vec<AttemptLog> {
        self.store.logs(id).await.expect("read").expect("there").items
    }

    /// All that was ever told.
    async fn told(&self) -> Vec<String> {
        let all = "select n::text from longshore.notes n union all select l::text from longshore.logs l order by 1";
        self.sql.query(all, &[]).await.expect("look").iter().map(|row| row.get(0)).collect()
    }
}

fn some(text: &str) -> Option<String> {
    text.to_owned().into()
}

#[tokio::test]
async fn what_the_holder_tells_is_kept_and_shown() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let lease = f.leased(worker, job("echo")).await;
    assert_eq!(f.noted(lease.id).await, (None, None));
    assert_eq!(f.note(lease, notes(None, None, "")).await, standing(lease, true, false));
    assert_eq!(f.told().await, [""; 0], "nothing is kept of nothing");
    f.note(lease, notes(Some("0.250"), Some(r#"{"z": 1.50, "a": [12345678901234567890]}"#), "one\n")).await;
    let (progress, checkpoint) = f.noted(lease.id).await;
    assert_eq!((progress.as_deref(), checkpoint.as_deref()), (Some("0.250"), Some(r#"{"z": 1.50, "a": [12345678901234567890]}"#)), "digit for digit");
    f.note(lease, notes(Some(r#"{"done": 1}"#), None, "")).await;
    f.note(lease, notes(None, None, "two")).await;
    f.note(lease, notes(None, Some("[2]"), " \0and\n")).await;
    assert_eq!(f.noted(lease.id).await, (some(r#"{"done": 1}"#), some("[2]")), "what is not told stays");
    assert_eq!(f.logs(lease.id).await, [log(1, "one\ntwo \u{fffd}and\n")]);
    assert_eq!(f.store.checkpoint(lease.id).await.expect("read"), Some(json("[2]")));
    let list = f.store.list_jobs(&JobFilter::default(), Fields::default(), None, 10).await.expect("list");
    assert_eq!((list.items[0].progress.clone(), list.items[0].checkpoint.clone()), (Some(json(r#"{"done": 1}"#)), Some(json("[2]"))));
    f.note(lease, notes(None, Some("null"), "")).await;
    assert_eq!(f.store.checkpoint(lease.id).await.expect("read"), None, "null is none");
    // and everything stays when the job has ended
    f.store.report(&[(lease, Outcome::Succeeded { result: None })]).await.expect("report");
    assert_eq!(f.noted(lease.id).await.0, some(r#"{"done": 1}"#));
    assert_eq!(f.logs(lease.id).await.len(), 1);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn nobody_is_heard_but_the_holder_of_the_current_lease() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let mut stale = vec![Lease { id: 4_000_000, lease: 1 }];
    // available last: whoever claims after it would get it
    for state in JobState::ALL.into_iter().filter(|state| *state != JobState::Available).chain([JobState::Available]) {
        let (id, lease) = job_in(&f, state, worker, job("echo")).await;
        stale.push(if state == JobState::Running { Lease { id, lease: lease.lease - 1 } } else { lease });
    }
    assert_eq!(stale.len(), 1 + JobState::ALL.len());
    let places = "select state::text, lane from longshore.places order by id";
    let before = f.sql.query(places, &[]).await.expect("look").iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>();
    for lease in &stale {
        assert_eq!(f.note(*lease, notes(Some("1"), Some("1"), "x")).await, standing(*lease, false, false));
    }
    let told: Vec<(Lease, Notes)> = stale.iter().map(|lease| (*lease, notes(Some("1"), Some("1"), "x"))).collect();
    assert!(f.store.note(&told).await.expect("note").expect("kept").iter().all(|one| !one.stands));
    assert_eq!(f.told().await, [""; 0]);
    assert_eq!(f.sql.query(places, &[]).await.expect("look").iter().map(|row| row.get::<_, String>(0)).collect::<Vec<_>>(), before);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_checkpoint_outlives_its_attempt_and_logs_are_by_lease() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let id = f.enqueue_one(job("echo")).await;
    let mut leases = Vec::new();
    for (outcome, text) in [
        (Outcome::Snoozed { delay: Duration::ZERO }, "snoozes"),
        (Outcome::HandedBack, "is handed back"),
        (Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::ZERO) }, "fails"),
        (Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::ZERO) }, ""),
        (Outcome::Discarded { error: "no".to_owned() }, "gives up"),
    ] {
        let lease = f.claim(worker, 1).await.jobs[0].lease;
        assert_eq!(f.note(lease, notes(None, None, text)).await, standing(lease, true, false));
        if leases.is_empty() {
            f.note(lease, notes(Some("0.5"), Some("\"half\""), "")).await;
        }
        assert_eq!(f.noted(id).await, (some("0.5"), some("\"half\"")), "until another is told: {text}");
        leases.push(lease);
        f.store.report(&[(lease, outcome)]).await.expect("report");
    }
    f.store.retry(id).await.expect("is finished");
    let last = f.claim(worker, 1).await.jobs[0].lease;
    f.note(last, notes(Some("0.1"), None, "once more")).await;
    for lease in &leases {
        assert!(!f.note(*lease, notes(Some("1"), Some("1"), "too late")).await.stands);
    }
    assert_eq!(f.noted(id).await, (some("0.1"), some("\"half\"")));
    let logs = f.logs(id).await;
    assert_eq!(logs, [log(1, "snoozes"), log(1, "is handed back"), log(1, "fails"), log(3, "gives up"), log(4, "once more")]);
    f.assert_no_violations().await;
}

#[tokio::test]
async fn the_logs_of_the_last_twenty_attempts_are_kept() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let other = f.leased(worker, job("echo")).await;
    f.note(other, notes(None, None, "of another job")).await;
    let id = f.enqueue_one(NewJob { max_attempts: Some(100), ..job("echo") }).await;
    for n in 1..=23_u8 {
        let lease = f.claim(worker, 1).await.jobs[0].lease;
        f.note(lease, notes(None, None, &format!("{n}"))).await;
        f.note(lease, notes(None, None, "\n")).await;
        assert_eq!(f.logs(id).await.len(), usize::from(20.min(n)));
        f.store.report(&[(lease, Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::ZERO) })]).await.expect("report");
    }
    assert_eq!(f.logs(other.id).await, [log(1, "of another job")]);
    assert_eq!(f.logs(id).await, (4..=23).map(|n: i16| log(n, &format!("{n}\n"))).collect::<Vec<_>>());
    assert_eq!(f.store.logs(id + 1).await.expect("read"), None);
}

#[tokio::test]
async fn many_at_once_each_for_itself() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    f.enqueue(&vec![job("echo"); 90]).await;
    let leases: Vec<Lease> = f.claim(worker, 90).await.jobs.iter().map(|job| job.lease).collect();
    for (n, lease) in leases.iter().enumerate() {
        match n % 3 {
            0 => drop(f.store.cancel(lease.id).await.expect("asked for")),
            1 => drop(f.store.report(&[(*lease, Outcome::HandedBack)]).await.expect("report")),
            _ => {}
        }
    }
    let mut told: Vec<(Lease, Notes)> = leases
        .iter()
        .enumerate()
        .map(|(n, lease)| (*lease, if n % 2 == 0 { notes(Some("0.5"), None, &format!("{n}")) } else { notes(None, Some(&n.to_string()), "") }))
        .collect();
    told.reverse();
    told.push((leases[2], notes(Some("0.6"), None, "+"))); // one lease twice in one call
    let mut standings = f.store.note(&told).await.expect("note").expect("kept");
    standings.sort_by_key(|one| one.lease);
    let expected: Vec<Standing> = leases.iter().enumerate().map(|(n, lease)| standing(*lease, n % 3 != 1, n % 3 == 0)).collect();
    assert_eq!(standings, expected, "each once");
    for (n, lease) in leases.iter().enumerate() {
        let (text, progress) = if n == 2 { ("2+".to_owned(), "0.6") } else { (n.to_string(), "0.5") };
        let (notes, logs) = match (n % 3 != 1, n % 2 == 0) {
            (false, _) => ((None, None), vec![]),
            (true, true) => ((some(progress), None), vec![log(1, &text)]),
            (true, false) => ((None, Some(n.to_string())), vec![]),
        };
        assert_eq!((f.noted(lease.id).await, f.logs(lease.id).await), (notes, logs), "job {n}");
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn a_log_keeps_its_last_64_kib_at_whole_characters() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    for (unit, first) in [("x", 0), ("ä", 1), ("€", 2), ("😀", 3)] {
        let lease = f.leased(worker, job("echo")).await;
        let whole = "-".repeat(MAX_LOG_BYTES % unit.len()) + &unit.repeat(MAX_LOG_BYTES / unit.len());
        f.note(lease, notes(None, None, &whole)).await;
        assert_eq!(f.logs(lease.id).await, [log(1, &whole)], "64 KiB are kept as they are");
        f.note(lease, notes(None, None, "!")).await;
        // what it would be, had all been told at once
        let expected = notes(None, None, &format!("{whole}!")).storable_log().expect("some");
        assert_eq!(f.logs(lease.id).await, [log(1, &expected)], "{unit}");
        assert!(expected.len() <= MAX_LOG_BYTES && expected.starts_with("… (cut: ") && expected.ends_with(&format!("{unit}!")));
        for n in 0..300 {
            f.note(lease, notes(None, None, &format!("{}{n}\n", unit.repeat(first + 150)))).await;
        }
        f.note(lease, notes(None, None, &"🦀".repeat(10_000))).await;
        let kept = f.logs(lease.id).await.remove(0).text;
        assert!(kept.len() <= MAX_LOG_BYTES && kept.len() > MAX_LOG_BYTES - 4 && kept.ends_with('🦀'), "{}", kept.len());
        assert_eq!((kept.matches("(cut: ").count(), kept.starts_with("… (cut: ")), (1, true));
        assert!(kept.contains(&format!("{unit}299\n🦀")));
        f.store.report(&[(lease, Outcome::Succeeded { result: None })]).await.expect("report");
    }
    f.assert_no_violations().await;
}

#[tokio::test]
async fn notes_are_forgotten_with_their_job() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let mut ids = Vec::new();
    for n in 0..3 {
        let lease = f.leased(worker, job("echo")).await;
        // the others only log
        f.note(lease, notes((n == 2).then_some("1"), (n == 2).then_some("{}"), "first")).await;
        f.store.report(&[(lease, Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::ZERO) })]).await.expect("report");
        let again = f.claim(worker, 1).await.jobs[0].lease;
        f.note(again, notes(None, None, "second")).await;
        f.store.report(&[(again, Outcome::Succeeded { result: None })]).await.expect("report");
        if n == 0 {
            f.run("update longshore.finished set finished_at = now() - interval '2 days'").await;
        }
        ids.push(lease.id);
    }
    assert_eq!((f.count("longshore.notes").await, f.count("longshore.logs").await), (3, 6));
    assert_eq!(f.store.prune(100).await.expect("prune"), 1);
    f.store.delete(ids[1]).await.expect("finished");
    for table in ["notes", "logs"] {
        assert_eq!(f.count(&format!("longshore.{table} where id <> {}", ids[2])).await, 0, "{table}");
    }
    assert_eq!((f.noted(ids[2]).await, f.logs(ids[2]).await.len()), ((some("1"), some("{}")), 2));
    f.assert_no_violations().await;
    f.run("insert into longshore.notes (id) values (4000000); insert into longshore.logs (id, lease, attempt, text) values (4000000, 1, 1, ''), (4000001, 1, 1, '')").await;
    let said = f.sql.query("select id, what from longshore.violations order by id", &[]).await.expect("ask");
    let said: Vec<(i64, &str)> = said.iter().map(|row| (row.get(0), row.get(1))).collect();
    assert_eq!(said, [(4_000_000, "has notes but no job_data"), (4_000_001, "has logs but no notes")]);
}

/// Waits until so many backends of this database wait for a lock.
async fn waiting(f: &Fixture, n: i64) {
    let locked = "pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
    eventually(&format!("{n} wait for a lock"), SOON, async || f.count(locked).await == n).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_report_comes_between() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    f.run("alter function longshore.note set lock_timeout = '20s'").await; // the machine may be slow
    let lease = f.leased(worker, job("echo")).await;
    f.note(lease, notes(Some("0.1"), None, "")).await;
    let other = connect(f.database.url()).await;
    other.batch_execute("begin; select from longshore.notes for update").await.expect("locked");
    let (a, b, c) = (f.store.clone(), f.store.clone(), f.store.clone());
    let note = tokio::spawn(async move { a.note(&[(lease, notes(Some("0.2"), None, "last words"))]).await.expect("note") });
    waiting(&f, 1).await;
    let report = tokio::spawn(async move { b.report(&[(lease, Outcome::HandedBack)]).await.expect("report") });
    waiting(&f, 2).await;
    // a cancellation is not held up
    c.cancel(lease.id).await.expect("asked for");
    other.batch_execute("commit").await.expect("unlocked");
    assert_eq!(note.await.expect("no panic"), Some(vec![standing(lease, true, false)]));
    assert_eq!(report.await.expect("no panic").states, [(lease, JobState::Cancelled)]);
    assert_eq!((f.noted(lease.id).await, f.logs(lease.id).await), ((some("0.2"), None), vec![log(1, "last words")]));

    // and the other way round: who comes while a report is under way has lost the lease
    let lease = f.leased(worker, job("echo")).await;
    let report = format!("begin; select longshore.report(array[{}], array[{}], array['handed_back'])", lease.id, lease.lease);
    other.batch_execute(&report).await.expect("reported, not committed");
    let a = f.store.clone();
    let note = tokio::spawn(async move { a.note(&[(lease, notes(Some("0.2"), None, "too late"))]).await.expect("note") });
    waiting(&f, 1).await;
    other.batch_execute("commit").await.expect("committed");
    assert_eq!(note.await.expect("no panic"), Some(vec![standing(lease, false, false)]));
    assert_eq!((f.noted(lease.id).await, f.logs(lease.id).await), ((None, None), vec![]));
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_locked_table_does_not_hold_up_outcomes() {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let lease = f.leased(worker, job("echo")).await;
    let other = connect(f.database.url()).await;
    other.batch_execute("begin; lock table longshore.logs").await.expect("locked");
    let asked = Instant::now();
    let refused = f.store.note(&[(lease, notes(Some("0.2"), None, "words"))]).await.expect_err("it gives up");
    assert!(asked.elapsed() < Duration::from_secs(7), "after a second, not after the 10 s that all else may wait: {:?}", asked.elapsed());
    assert!(refused.is_unavailable(), "and may be tried again: {refused}");
    let reported = f.store.report(&[(lease, Outcome::Succeeded { result: None })]).await.expect("report");
    assert_eq!(reported.states, [(lease, JobState::Succeeded)]);
    other.batch_execute("commit").await.expect("unlocked");
    assert_eq!(f.told().await, [""; 0]);
    assert_eq!(f.store.back_for(), None, "the database was not away");
    f.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_holder_against_rescue_and_the_next() {
    let f = Fixture::new().await;
    let (mut heard, mut rescued, mut round) = (0, 0, 0);
    while round < 300 || (heard == 0 || rescued == 0) && round < 3000 {
        round += 1;
        let (old, new) = (f.worker(&format!("old{round}")).await, f.worker(&format!("new{round}")).await);
        let lease = f.leased(old, parsed(r#"{"kind": "echo", "retry": {"backoff": "fixed", "base": 0, "jitter": 0}}"#)).await;
        f.run(&format!("update longshore.workers set last_seen = now() - interval '1 h' where name = 'old{round}'")).await;
        let store = f.store.clone();
        let late = Duration::from_micros(fastrand_below(2500));
        let told = tokio::spawn(async move {
            tokio::time::sleep(late).await;
            store.note(&[(lease, notes(Some("0.1"), Some("\"old\""), "old\n"))]).await.expect("note").expect("kept")[0].stands
        });
        f.store.rescue().await.expect("rescue");
        let next = f.claim(new, 1).await.jobs[0].lease;
        assert_eq!(next.id, lease.id);
        assert!(f.note(next, notes(Some("0.9"), Some("\"new\""), "new\n")).await.stands);
        let stood = told.await.expect("no panic");
        let expected = if stood { vec![log(1, "old\n"), log(2, "new\n")] } else { vec![log(2, "new\n")] };
        assert_eq!(f.logs(lease.id).await, expected, "round {round}");
        assert_eq!(f.noted(lease.id).await, (some("0.9"), some("\"new\"")), "round {round}");
        if stood {
            heard += 1;
        } else {
            rescued += 1;
        }
        f.store.report(&[(next, Outcome::Succeeded { result: None })]).await.expect("report");
    }
    f.assert_no_violations().await;
    assert!(heard > 0 && rescued > 0, "both must win sometimes: {heard} heard, {rescued} rescued");
}
