//! Lists of jobs: every filter, alone and together, against a plain reading of all jobs.

use std::time::Duration;

use longshore_common::{
    job::{JobFilter, JobState, JobView},
    outcome::Outcome,
    settings::DatabaseSettings,
    store::{Store, read::Fields},
};

use crate::fixture::{Fixture, parsed, settings};

pub async fn filled() -> Fixture {
    let f = Fixture::new().await;
    let worker = f.worker("w").await;
    let mut jobs = Vec::new();
    for n in 0..120 {
        let delay = if n % 6 == 5 { r#","delay":"1h""# } else { "" };
        let key = if n % 10 == 0 { format!(r#","unique":{{"key":"u{n}"}},"concurrency_key":"c{}""#, n % 3) } else { String::new() };
        jobs.push(parsed(&format!(
            r#"{{"kind":"k{}","queue":"q{}","tags":["t{}"],"meta":{{"n":{n},"half":"{}"}},"priority":{}{delay}{key}}}"#,
            n % 4,
            n % 3,
            n % 5,
            n % 2,
            n % 2
        )));
    }
    f.enqueue(&jobs).await;
    for queue in ["q0", "q1"] {
        for (index, job) in f.claim_from(worker, queue, 24).await.jobs.iter().enumerate() {
            let outcome = match index % 5 {
                0 => continue,
                1 | 2 => Outcome::Succeeded { result: None },
                3 => Outcome::Failed { error: "no".to_owned(), retry_in: Some(Duration::from_hours(1)) },
                _ => Outcome::Discarded { error: "never".to_owned() },
            };
            f.store.report(&[(job.lease, outcome)]).await.expect("report");
        }
    }
    f
}

fn label_of(view: &JobView, label: &str) -> bool {
    label.strip_prefix("t:").map_or_else(
        || {
            let (key, value) = label.strip_prefix("m:").and_then(|l| l.split_once('=')).expect("a label");
            let meta: serde_json::Value = view.meta.read().expect("JSON");
            meta[key].as_str().map_or_else(|| meta[key].to_string(), str::to_owned) == value
        },
        |tag| view.tags.iter().any(|t| t == tag),
    )
}

pub fn holds(filter: &JobFilter, view: &JobView) -> bool {
    (filter.states.is_empty() || filter.states.contains(&view.state))
        && (filter.queues.is_empty() || filter.queues.contains(&view.queue))
        && (filter.kinds.is_empty() || filter.kinds.contains(&view.kind))
        && filter.labels.iter().all(|label| label_of(view, label))
        && (filter.unique_key.is_none() || filter.unique_key == view.unique_key)
        && (filter.concurrency_key.is_none() || filter.concurrency_key == view.concurrency_key)
        && filter.created_after.is_none_or(|t| view.created_at >= t)
        && filter.created_before.is_none_or(|t| view.created_at < t)
        && filter.finished_after.is_none_or(|t| view.finished_at.is_some_and(|f| f >= t))
        && filter.finished_before.is_none_or(|t| view.finished_at.is_some_and(|f| f < t))
}

/// Each filter, alone and together with others.
pub fn filters(all: &[JobView]) -> Vec<JobFilter> {
    let middle = all[60].created_at;
    let finished = all.iter().filter_map(|v| v.finished_at).max();
    let text = |s: &str| Some(s.to_owned());
    let mut filters = vec![
        JobFilter { labels: vec!["t:t1".to_owned()], ..JobFilter::default() },
        JobFilter { labels: vec!["m:n=17".to_owned()], ..JobFilter::default() },
        JobFilter { labels: vec!["m:half=1".to_owned(), "t:t3".to_owned()], ..JobFilter::default() },
        JobFilter { unique_key: text("u20"), ..JobFilter::default() },
        JobFilter { concurrency_key: text("c1"), ..JobFilter::default() },
        JobFilter { kinds: vec!["k1".to_owned(), "k2".to_owned()], ..JobFilter::default() },
        JobFilter { queues: vec!["q1".to_owned()], ..JobFilter::default() },
        JobFilter { queues: vec!["q0".to_owned()], kinds: vec!["k3".to_owned()], labels: vec!["t:t2".to_owned()], ..JobFilter::default() },
        JobFilter { created_after: Some(middle), ..JobFilter::default() },
        JobFilter { created_before: Some(middle), ..JobFilter::default() },
        JobFilter { finished_before: finished, ..JobFilter::default() },
        JobFilter { finished_after: finished, ..JobFilter::default() },
        JobFilter { queues: vec!["nowhere".to_owned()], ..JobFilter::default() },
    ];
    for state in JobState::ALL {
        filters.push(JobFilter { states: vec![state], ..JobFilter::default() });
        filters.push(JobFilter { states: vec![state], queues: vec!["q1".to_owned()], ..JobFilter::default() });
        filters.push(JobFilter { states: vec![state, JobState::Available], kinds: vec!["k1".to_owned()], ..JobFilter::default() });
    }
    filters
}

#[tokio::test]
async fn every_filter_finds_what_it_says_newest_first() {
    let f = filled().await;
    let all = f.store.list_jobs(&JobFilter::default(), Fields::default(), None, 1000).await.expect("list").items;
    assert_eq!(all.len(), 120);
    assert!(all.is_sorted_by(|a, b| a.id > b.id));
    let filters = filters(&all);
    let mut found_something = 0;
    for filter in filters {
        let expected: Vec<i64> = all.iter().filter(|view| holds(&filter, view)).map(|v| v.id).collect();
        // page by page
        let (mut ids, mut before) = (Vec::new(), None);
        loop {
            let page = f.store.list_jobs(&filter, Fields::default(), before, 7).await.expect("list").items;
            ids.extend(page.iter().map(|v| v.id));
            before = page.last().map(|v| v.id);
            if page.len() < 7 {
                break;
            }
        }
        assert_eq!(ids, expected, "{filter:?}");
        found_something += usize::from(!expected.is_empty());
    }
    assert!(found_something > 25, "the filters are not all empty: {found_something}");
    f.assert_no_violations().await;
}

/// Texts that are put together are as many as filters; a connection that kept them all would grow without end.
#[tokio::test]
async fn filters_leave_no_more_than_some_statements_behind() {
    let f = filled().await;
    let settings = DatabaseSettings { pool: 1, ..settings(f.database.url()) };
    let store = Store::new(&settings, "test", Duration::from_secs(10)).expect("the URL is fine");
    let kept = async || {
        let only_connection = store.begin().await.expect("begin");
        let kept: i64 = only_connection.query_one("select count(*) from pg_prepared_statements", &[]).await.expect("look").get(0);
        only_connection.rollback().await.expect("ended");
        kept
    };
    let mut most = 0;
    for some in 1..=255_u8 {
        let states: Vec<JobState> = JobState::ALL.into_iter().enumerate().filter(|(index, _)| some >> index & 1 == 1).map(|(_, state)| state).collect();
        store.list_jobs(&JobFilter { states, ..JobFilter::default() }, Fields::default(), None, 1).await.expect("list");
        most = most.max(kept().await);
    }
    assert!((100..=201).contains(&most), "{most}");
    assert!(kept().await < 150, "they were forgotten");
}

#[tokio::test]
async fn queues_are_counted() {
    let f = filled().await;
    let queues = f.store.queues(None).await.expect("list");
    assert_eq!(queues.iter().map(|q| q.name.as_str()).collect::<Vec<_>>(), ["q0", "q1", "q2"]);
    for queue in &queues {
        let count = async |state: &str| f.count(&format!("longshore.jobs where queue = '{}' and state = '{state}'", queue.name)).await;
        let c = queue.counts;
        let counted = [c.scheduled, c.available, c.running, c.retryable, c.succeeded, c.failed, c.cancelled];
        let mut expected = Vec::new();
        for state in ["scheduled", "available", "running", "retryable", "succeeded", "failed", "cancelled"] {
            expected.push(count(state).await);
        }
        assert_eq!(counted.to_vec(), expected, "{}", queue.name);
        assert!(!queue.estimated && queue.workers == 1);
    }
    assert_eq!(f.store.queues(Some("q1")).await.expect("one").len(), 1);
    assert!(f.store.queues(Some("none")).await.expect("none").is_empty());
}
