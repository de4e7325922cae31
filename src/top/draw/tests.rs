//! Frames as they should be, keys, and every size.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};

use super::*;
use crate::top::{sample::Sample, view::Action};

fn queue(name: &str, paused: bool, available: i64, failed: i64) -> Value {
    json!({
        "name": name, "paused": paused, "max_running": 5, "max_running_per_key": null, "rate": {"limit": 10, "per": 1}, "max_waiting": null, "fair": paused,
        "defaults": {"priority": 0, "max_attempts": 25, "timeout": 300, "retry": {"backoff": "exponential", "base": 1, "max": 86400, "jitter": 0.1}},
        "retention": {"succeeded": 86400, "cancelled": 604_800, "failed": 2_592_000}, "on_failed": null,
        "counts": {"scheduled": 0, "available": available, "running": 1, "retryable": 0, "blocked": 0, "succeeded": 1234, "failed": failed, "cancelled": 0},
        "estimated": false, "oldest_available_age": if available > 0 { json!(4.25) } else { Value::Null }, "workers": 1,
    })
}

fn job(id: i64, state: &str, error: Option<&str>) -> Value {
    json!({
        "id": id, "kind": "send_email", "queue": "emails", "state": state, "priority": 0, "run_at": "2030-01-31T11:59:00Z", "expires_at": null, "attempt": 2,
        "max_attempts": 25, "timeout": 300, "tags": [], "meta": {}, "unique_key": null, "concurrency_key": null, "workflow_id": null, "schedule": null,
        "scheduled_for": null, "progress": null, "checkpoint": null, "error": error, "worker": "host:1:2", "cancel_requested_at": null,
        "enqueued_by": null, "request_id": null, "created_at": "2030-01-31T11:58:00Z", "started_at": "2030-01-31T11:59:30Z", "finished_at": null,
    })
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    // as text, since what is kept as it came is read of a text alone
    serde_json::from_str(&value.to_string()).expect("is what it says")
}

fn sample() -> Sample {
    let rates = json!({"enqueued": 12.5, "started": 10.0, "succeeded": 9.75, "failed": 0.25, "cancelled": 0, "retried": 0});
    let latency = json!({"wait": {"p50": 0.012, "p95": 0.5, "p99": 1.25}, "run": {"p50": 0.2, "p95": 60, "p99": 7200}});
    let counts = json!({"scheduled": 0, "available": 3, "running": 2, "retryable": 0, "blocked": 0, "succeeded": 2468, "failed": 7, "cancelled": 0});
    let totals = json!({"counts": counts, "estimated": false, "oldest_available_age": 4.25, "workers": 1, "rates": rates, "latency": latency});
    Sample {
        at: "2030-01-31T12:00:00Z".parse().expect("a time"),
        server: "API at http://127.0.0.1:8000".to_owned(),
        version: "0.1.0".to_owned(),
        stats: read(&json!({"at": "2030-01-31T12:00:00Z", "queues": [], "totals": totals})),
        queues: read(&json!([queue("emails", false, 3, 7), queue("reports", true, 0, 0)])),
        workers: read(&json!([{"id": "host:1:2", "host": "host", "version": "0.1.0", "queues": ["*=50"], "kinds": ["send_email"], "running": 2,
            "since": "2030-01-31T10:00:00Z", "last_seen": "2030-01-31T11:59:59Z", "last_poll": null}])),
        running: read(&json!([job(41, "running", None)])),
        failing: read(&json!([job(40, "failed", Some("connection\nrefused by 10.0.0.7"))])),
    }
}

fn frame(view: &mut View, width: u16, height: u16) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| draw(frame, view, Look { colour: true }));
    let cells = &terminal.backend().buffer().content;
    let lines = cells.chunks(usize::from(width).max(1)).map(|line| line.iter().map(buffer::Cell::symbol).collect::<String>().trim_end().to_owned());
    lines.collect::<Vec<_>>().join("\n")
}

fn press(view: &mut View, code: KeyCode) -> Action {
    view.press(KeyEvent::new(code, KeyModifiers::NONE))
}

const AT_80_BY_24: &str = "
 Longshore 0.1.0  API at http://127.0.0.1:8000  2030-01-31T12:00:00Z
 available 3  running 2  succeeded 2,468  failed 7  workers 1
 enqueued      12.5/s █                  started       10.0/s █
 succeeded      9.8/s █                  failed         0.2/s █
 wait  p50 12 ms  p95 500 ms  p99 1.2 s   run  p50 200 ms  p95 60.0 s  p99 2 h

 Queues 2
 QUEUE            AVAILABLE RUNNING SCHEDULED RETRYABLE FAILED   OLDEST LIMITS
 emails                   3       1         0         0       7   4.2 s run 5 10
 reports (paused)         0       1         0         0       0       - run 5 10
 Workers 1
 WORKER                        RUNNING QUEUES          UP      SEEN    VERSION
 host:1:2                      2       *=50            2 h     1.0 s   0.1.0
 Jobs that run 1, that fail 1
 ID       KIND        QUEUE      STATE     ATTEMPT SINCE   ERROR OR WORKER
 41       send_email  emails     running   2/25    30.0 s  host:1:2
 40       send_email  emails     failed    2/25    30.0 s  connection refused by






 q quit  Tab pane  ↑↓ select  p pause  Enter job  ? help";

#[test]
fn a_frame_of_80_columns_and_24_lines() {
    assert_eq!(frame(&mut View::new(sample()), 80, 24), AT_80_BY_24[1..]);
}

#[test]
fn every_size_is_drawn() {
    let mut view = View::new(sample());
    for popup in [None, Some(Popup::Help), Some(Popup::Detail { title: "Job 1".to_owned(), text: "a line\n".repeat(50), scrolled: 3 })] {
        for (width, height) in [(0, 0), (1, 1), (5, 3), (20, 6), (40, 7), (79, 23), (80, 24), (300, 100)] {
            view.popup = popup.clone();
            let lines = frame(&mut view, width, height);
            assert!(lines.lines().count() <= usize::from(height) && lines.lines().all(|line| line.chars().count() <= usize::from(width)));
        }
    }
    assert!(frame(&mut View::new(sample()), 40, 12).contains("emails"), "the queues are seen on little room, too");
}

#[test]
fn all_lines_are_in_the_plain_frame() {
    let mut many = sample();
    many.queues = (0..200).map(|n| read(&queue(&format!("queue-{n}"), false, n, 0))).collect();
    let text = plain(&mut View::new(many), 100);
    assert!(text.contains("queue-0 ") && text.contains("queue-199 ") && text.contains("host:1:2") && text.contains("refused by"), "{text}");
    assert!(!text.contains("q quit"), "nobody can press a key");
}

#[test]
fn keys_select_ask_and_end() {
    let mut view = View::new(sample());
    assert_eq!((press(&mut view, KeyCode::Down), press(&mut view, KeyCode::Down)), (Action::Draw, Action::Draw));
    press(&mut view, KeyCode::Char('p'));
    assert_eq!(view.popup, Some(Popup::Confirm { queue: "reports".to_owned(), pause: false }), "the last one, which is paused");
    assert!(frame(&mut view, 80, 24).contains("Let queue \"reports\" start jobs again?"));
    assert_eq!((press(&mut view, KeyCode::Char('n')), view.popup.clone()), (Action::Draw, None), "anything but y is no");
    press(&mut view, KeyCode::Up);
    press(&mut view, KeyCode::Char('p'));
    assert_eq!(press(&mut view, KeyCode::Char('y')), Action::Pause { queue: "emails".to_owned(), pause: true });

    assert_eq!((press(&mut view, KeyCode::Enter), view.note.contains("jobs")), (Action::Draw, true), "queues have no detail");
    press(&mut view, KeyCode::BackTab);
    assert_eq!((press(&mut view, KeyCode::Enter), view.pane), (Action::Read(41), Pane::Jobs));
    press(&mut view, KeyCode::End);
    assert_eq!(press(&mut view, KeyCode::Enter), Action::Read(40));
    press(&mut view, KeyCode::Char('p'));
    assert!(view.popup.is_none() && view.note.contains("queue"), "{}", view.note);
    view.take(Sample { failing: Vec::new(), running: Vec::new(), ..sample() });
    assert_eq!(press(&mut view, KeyCode::Enter), Action::Draw, "there is none any more");

    press(&mut view, KeyCode::Char('?'));
    assert!(frame(&mut view, 80, 24).contains("pause or resume the selected queue"));
    assert_eq!((press(&mut view, KeyCode::Esc), view.popup.clone()), (Action::Draw, None), "it closes what lies above");
    assert_eq!(press(&mut view, KeyCode::Esc), Action::Quit);
    assert_eq!(press(&mut view, KeyCode::Char('q')), Action::Quit);
    assert_eq!(view.press(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Action::Quit);
    assert_eq!(press(&mut view, KeyCode::Char('c')), Action::Draw);
}

#[test]
fn what_is_old_is_said_and_forgotten_when_it_is_back() {
    let mut view = View::new(sample());
    view.fail("could not connect".to_owned());
    let text = frame(&mut view, 80, 24);
    assert!(text.starts_with(" AWAY for 0 s; it is tried again: could not connect\n") && text.contains("emails"), "{text}");
    view.take(sample());
    assert!(frame(&mut view, 80, 24).starts_with(" Longshore 0.1.0"));
}

#[test]
fn lengths_are_short() {
    for (seconds, text) in [
        (None, "-"),
        (Some(0.0), "0 ms"),
        (Some(0.0124), "12 ms"),
        (Some(3.25), "3.2 s"),
        (Some(300.0), "5 m"),
        (Some(7200.0), "2 h"),
        (Some(864_000.0), "10 d"),
    ] {
        assert_eq!(length(seconds), text);
    }
}
