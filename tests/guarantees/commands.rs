//! Commands: what a program says becomes the outcome of its attempt; whatever it does wrong harms that attempt alone, and
//! nothing of it is left.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{
    place::Place,
    support::{eventually::eventually, http, process::Process},
    system::{SOON, System},
};

impl Place {
    /// Processes of this place's commands.
    fn processes(&self) -> Vec<String> {
        let mark = format!("LONGSHORE_JOB_PROGRESS_FILE={}/", self.0.display());
        let all = fs::read_dir("/proc").expect("there").flatten();
        let ours = all.filter(|entry| fs::read(entry.path().join("environ")).is_ok_and(|environ| String::from_utf8_lossy(&environ).contains(&mark)));
        ours.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// Folders of attempts.
    fn folders(&self) -> Vec<PathBuf> {
        let workers = fs::read_dir(self.0.join("tmp")).expect("there").flatten();
        workers.flat_map(|worker| fs::read_dir(worker.path()).into_iter().flatten().flatten().map(|attempt| attempt.path())).collect()
    }

    async fn nothing_is_left(&self) {
        eventually("no process and no folder of a command is left", SOON, async || {
            let left = (self.processes(), self.folders());
            if left.0.is_empty() && left.1.is_empty() { Ok(()) } else { Err(left) }
        })
        .await;
    }
}

fn sh(kind: &str, script: &str, more: &str) -> String {
    format!("[handlers.{kind}]\ncommand = [\"sh\", \"-c\", '''{script}''']\n{more}\n")
}

async fn stop(mut worker: Process) {
    worker.signal(Signal::SIGTERM);
    assert!(worker.wait_exit(SOON).await.success());
}

async fn log(system: &System, id: i64) -> String {
    let logs = http::request(system.address, "GET", &format!("/v1/jobs/{id}/logs"), &[], b"").await.json();
    let items = logs["items"].as_array().cloned().unwrap_or_default();
    items.iter().filter_map(|item| item["text"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_program_says_is_the_outcome() {
    let (system, place) = (System::start().await, Place::new());
    let handlers = [
        "[handlers.cat]\ncommand = [\"cat\"]\n".to_owned(),
        sh("text", "cat >/dev/null; echo 'two words'; echo 'said aside' >&2", ""),
        sh("nothing", "exit 0", ""),
        sh("bytes", r"printf 'a\377b'", ""),
        sh("three", "echo first >&2; echo last words >&2; exit 3", ""),
        sh("discard", "echo 'no such customer' >&2; exit 65", ""),
        sh("snooze", "exit 75", "snooze = \"1h\""),
        sh("killed", "kill -KILL $$", ""),
        sh("slow", "sleep 100", "timeout = \"300ms\""),
        "[handlers.nowhere]\ncommand = [\"no-such-program\"]\n".to_owned(),
    ];
    let mut worker = place.worker(&system, &handlers.concat(), &[]).await;
    worker.wait_for_line("there is no such program on the worker's PATH", SOON).await;
    let once = |kind: &str| json!({"kind": kind, "args": {"z": 1, "a": "ü"}, "max_attempts": 1});
    for (kind, state, outcome, result, error) in [
        ("cat", "succeeded", "succeeded", json!({"z": 1, "a": "ü"}), json!(null)),
        ("text", "succeeded", "succeeded", json!("two words"), json!(null)),
        ("nothing", "succeeded", "succeeded", json!(null), json!(null)),
        ("bytes", "succeeded", "succeeded", json!({"omitted": "the output is not UTF-8", "bytes": 3}), json!(null)),
        ("three", "failed", "failed", json!(null), json!("exit code 3: first\nlast words")),
        ("discard", "failed", "discarded", json!(null), json!("exit code 65, which says that trying again is of no use: no such customer")),
        ("snooze", "scheduled", "snoozed", json!(null), json!(null)),
        ("killed", "failed", "failed", json!(null), json!("ended by SIGKILL")),
        ("slow", "failed", "failed", json!(null), json!("it ran longer than 300ms (handlers.slow.timeout), and was ended")),
    ] {
        let id = system.enqueue(&once(kind)).await;
        let job = system.until(id, state).await;
        assert_eq!((&job["result"], &job["error"], &job["history"][0]["outcome"]), (&result, &error, &json!(outcome)), "{kind}: {job}");
    }
    let id = system.enqueue(&once("text")).await;
    system.until(id, "succeeded").await;
    assert_eq!(log(&system, id).await, "said aside\n");
    let id = system.enqueue(&once("nowhere")).await;
    let error = system.until(id, "failed").await["error"].to_string();
    assert!(error.contains("cannot start \\\"no-such-program\\\": there is no such program on the worker's PATH"), "{error}");
    place.nothing_is_left().await;
    stop(worker).await;
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn its_environment_and_its_folder_are_its_own() {
    let (system, place) = (System::start().await, Place::new());
    let script = r#"echo "$PWD $HOME $TMPDIR" >&2; touch here; mkdir locked; touch locked/in; chmod 500 locked; env | cut -d= -f1 | sort | tr '\n' ' '"#;
    let handlers = sh("look", script, "pass_environment = [\"PASSED\", \"ABSENT\"]");
    let worker = place.worker(&system, &handlers, &[("SECRET", "s3cret"), ("PASSED", "yes")]).await;
    let id = system.enqueue(&json!({"kind": "look"})).await;
    let job = system.until(id, "succeeded").await;
    let names = job["result"].as_str().expect("a text").replace("OLDPWD ", "").replace("SHLVL ", "").replace(" _ ", " ");
    let expected = "HOME LONGSHORE_JOB_ATTEMPT LONGSHORE_JOB_CHECKPOINT_FILE LONGSHORE_JOB_ID LONGSHORE_JOB_KIND LONGSHORE_JOB_LEASE \
                    LONGSHORE_JOB_MAX_ATTEMPTS LONGSHORE_JOB_PROGRESS_FILE LONGSHORE_JOB_QUEUE PASSED PATH PWD TMPDIR ";
    assert_eq!(names, expected, "PWD is the shell's own");
    let log = log(&system, id).await;
    let folders: Vec<&str> = log.split_whitespace().collect();
    assert!(folders.len() == 3 && folders.iter().all(|folder| *folder == folders[0]) && folders[0].starts_with(place.0.to_str().expect("text")), "{log}");
    place.nothing_is_left().await;
    stop(worker).await;
    assert_eq!(fs::read_dir(place.0.join("tmp")).expect("there").count(), 0, "the worker's own folder goes, too");
}

#[tokio::test(flavor = "multi_thread")]
async fn it_tells_how_far_it_is_and_goes_on_from_there() {
    let (system, place) = (System::start().await, Place::new());
    let script = r#"
        if [ -n "$LONGSHORE_JOB_CHECKPOINT" ]; then echo "$LONGSHORE_JOB_CHECKPOINT"; exit 0; fi
        echo '{"step": 1}' >"$LONGSHORE_JOB_CHECKPOINT_FILE"; echo 0.25 >"$LONGSHORE_JOB_PROGRESS_FILE"
        while [ ! -e "$GO" ]; do sleep 0.1; done
        echo '{"step": 2}' >"$LONGSHORE_JOB_CHECKPOINT_FILE"; echo 'no JSON' >"$LONGSHORE_JOB_PROGRESS_FILE"
        exit 1"#;
    let go = place.0.join("go");
    let worker = place.worker(&system, &sh("steps", script, "pass_environment = [\"GO\"]"), &[("GO", go.to_str().expect("text"))]).await;
    let id = system.enqueue(&json!({"kind": "steps", "retry": {"backoff": "fixed", "base": 1, "jitter": 0}})).await;
    eventually("it tells while it runs", SOON, async || {
        let job = system.job(id).await;
        if (&job["progress"], &job["checkpoint"]) == (&json!(0.25), &json!({"step": 1})) { Ok(()) } else { Err(job) }
    })
    .await;
    fs::write(&go, "").expect("written");
    let job = system.until(id, "succeeded").await;
    assert_eq!((&job["result"], &job["attempt"], &job["progress"]), (&json!({"step": 2}), &json!(2), &json!(0.25)));
    assert!(log(&system, id).await.contains("longshore: the progress is not kept: "), "its author is told");
    stop(worker).await;
    system.assert_no_violations().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_hostile_program_does_harms_its_own_attempt_alone() {
    let (system, place) = (System::start().await, Place::new());
    let child = r"perl -e '$x = q(x) x 40_000_000; sleep 60' &";
    let handlers = [
        sh("forks", "setsid sleep 600 & (sleep 600 &) & sleep 600", "timeout = \"500ms\""),
        sh("deaf", "trap '' TERM; while :; do sleep 1; done", "timeout = \"500ms\""),
        sh("leaves", "sleep 600 & echo done", ""),
        sh("daemon", "setsid sh -c 'sleep 3' & echo done", ""),
        sh("floods", "head -c 1000000000 /dev/zero | tr '\\0' x", ""),
        sh("shouts", "head -c 1000000000 /dev/zero | tr '\\0' '\\n' >&2; echo the end >&2; exit 4", ""),
        sh("closes", "exec <&-; sleep 0.2; echo fine", ""),
        "[handlers.eats]\ncommand = [\"perl\", \"-e\", \"my @x; push @x, 'x' x 1_000_000 while 1\"]\nmemory = \"64MiB\"\n".to_owned(),
        sh("eat_together", &format!("{child} {child} {child} {child} wait"), "memory = \"100MiB\""),
        sh("fills", "trap - XFSZ; exec head -c 50000000 /dev/zero >file", "file_size = \"2MiB\""),
        sh("burns", "while :; do :; done", "cpu = \"1s\""),
    ];
    let env = [("LONGSHORE_WORKER__QUEUES", "default=20,echo=5")];
    let mut worker = place.worker(&system, &handlers.concat(), &env).await;
    let big = "x".repeat(900_000);
    let mut ids = Vec::new();
    for (kind, state, error) in [
        ("forks", "failed", "it ran longer than 500ms"),
        ("deaf", "failed", "it ran longer than 500ms"),
        ("leaves", "succeeded", ""),
        ("daemon", "succeeded", ""),
        ("floods", "succeeded", ""),
        ("shouts", "failed", "exit code 4: the end"),
        ("closes", "succeeded", ""),
        ("eats", "failed", "Out of memory"),
        ("eat_together", "failed", "it used more than 100 MiB of memory (handlers.eat_together.memory), and was killed"),
        ("fills", "failed", "ended by SIGXFSZ: it wrote a file longer than its handler's setting file_size allows"),
        ("burns", "failed", "ended by SIGXCPU: it used more time on the processor than its handler's setting cpu allows"),
    ] {
        let args = if kind == "closes" { json!(big) } else { json!({}) };
        ids.push((system.enqueue(&json!({"kind": kind, "args": args, "max_attempts": 1, "timeout": 120})).await, kind, state, error));
    }
    // neighbours, all the while
    let mut neighbours = Vec::new();
    for n in 0..100 {
        let id = system.enqueue(&json!({"kind": "echo", "queue": "echo", "args": n})).await;
        system.until(id, "succeeded").await;
        neighbours.push(id);
    }
    for (id, kind, state, error) in ids {
        let job = eventually(&format!("{kind} is {state}"), Duration::from_mins(2), async || {
            let job = system.job(id).await;
            if job["state"] == state { Ok(job) } else { Err(job) }
        })
        .await;
        assert!(job["error"].as_str().unwrap_or_default().contains(error), "{kind}: {}", job["error"]);
        match kind {
            "floods" => assert_eq!(job["result"]["bytes"], json!(1_000_000_000)),
            "leaves" | "daemon" => assert_eq!(job["result"], json!("done")),
            _ => {}
        }
    }
    for id in neighbours {
        let job = system.job(id).await;
        assert_eq!((&job["state"], &job["attempt"]), (&json!("succeeded"), &json!(1)), "{job}");
    }
    place.nothing_is_left().await;
    assert!(peak_mib(worker.pid()) < 250, "the worker itself took {} MiB", peak_mib(worker.pid()));
    assert!(!worker.has_exited());
    stop(worker).await;
    system.assert_no_violations().await;
}

fn peak_mib(pid: u32) -> u64 {
    let status = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("status")).expect("it runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a line");
    peak.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") / 1024
}

/// However an attempt ends before its program does, the program ends, and what it has started.
#[tokio::test(flavor = "multi_thread")]
async fn it_ends_with_its_attempt() {
    let (system, place) = (System::start().await, Place::new());
    let handlers = sh("long", "trap 'echo told to end >&2; exit 0' TERM; setsid sleep 600 & sleep 600 & while :; do sleep 0.1; done", "");
    let running = async |job: Value| {
        let id = system.enqueue(&job).await;
        system.until(id, "running").await;
        eventually("its processes are there", SOON, async || if place.processes().len() >= 3 { Ok(()) } else { Err(place.processes()) }).await;
        id
    };
    let mut worker = place.worker(&system, &handlers, &[("LONGSHORE_WORKER__GRACE", "1s")]).await;

    let id = running(json!({"kind": "long", "timeout": 1, "max_attempts": 1})).await;
    assert_eq!(system.until(id, "failed").await["history"][0]["outcome"], json!("timed_out"));
    place.nothing_is_left().await;

    let id = running(json!({"kind": "long"})).await;
    assert_eq!(http::request(system.address, "POST", &format!("/v1/jobs/{id}/cancel"), &[], b"").await.status, 202);
    // it ended with 0 when it was told to: a success counts
    system.until(id, "succeeded").await;
    assert!(log(&system, id).await.contains("told to end\n"));
    place.nothing_is_left().await;

    let id = running(json!({"kind": "long"})).await;
    worker.signal(Signal::SIGTERM);
    assert!(worker.wait_exit(SOON).await.success());
    let job = system.until(id, "available").await;
    assert_eq!((&job["attempt"], &job["history"][0]["outcome"]), (&json!(0), &json!("handed_back")));
    assert_eq!(place.processes(), Vec::<String>::new(), "none outlives the worker");

    let mut worker = place.worker(&system, &handlers, &[]).await;
    system.until(id, "running").await;
    eventually("its processes are there", SOON, async || if place.processes().len() >= 3 { Ok(()) } else { Err(place.processes()) }).await;
    let group = |place: &Place| place.processes().len();
    let before = group(&place);
    worker.kill();
    eventually("the program dies with its worker", SOON, async || if group(&place) < before { Ok(()) } else { Err(place.processes()) }).await;
    // what had left its group, or was started by it, is found by nobody: end it here, by its id
    for pid in place.processes() {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid.parse().expect("a number")), Signal::SIGKILL);
    }
}

/// Whoever sees that an attempt is over meets nothing of it: neither the next attempt, nor the next job of a limited queue.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_is_over_when_its_processes_are() {
    let (system, place) = (System::start().await, Place::new());
    let handlers = sh("stubborn", "trap 'echo told to end >&2' TERM; echo began; while :; do sleep 0.1; done", "");
    let mut worker = place.worker(&system, &handlers, &[("LONGSHORE_WORKER__GRACE", "1s")]).await;
    let id = system.enqueue(&json!({"kind": "stubborn", "timeout": 1, "max_attempts": 1})).await;
    system.until(id, "failed").await;
    assert_eq!(place.processes(), Vec::<String>::new(), "killed 3 s after it was told to end, and told of then");
    assert!(log(&system, id).await.contains("told to end"), "what it said meanwhile is there");
    let id = system.enqueue(&json!({"kind": "stubborn"})).await;
    system.until(id, "running").await;
    eventually("it runs", SOON, async || if place.processes().is_empty() { Err(()) } else { Ok(()) }).await;
    worker.signal(Signal::SIGTERM);
    system.until(id, "available").await;
    assert_eq!(place.processes(), Vec::<String>::new(), "whoever takes it next does not meet it");
    assert!(worker.wait_exit(SOON).await.success());
}

/// The limit holds whatever waits, and delays nothing else of the same queue.
#[tokio::test(flavor = "multi_thread")]
async fn no_more_run_at_once_than_its_concurrency() {
    let (system, place) = (System::start().await, Place::new());
    let shared = place.0.join("shared");
    fs::create_dir(&shared).expect("made");
    let script = r#"touch "$SHARED/$$"; ls "$SHARED" | wc -l; sleep 0.2; rm "$SHARED/$$""#;
    let handlers = sh("two", script, "concurrency = 2\npass_environment = [\"SHARED\"]");
    let worker = place.worker(&system, &handlers, &[("SHARED", shared.to_str().expect("text")), ("LONGSHORE_WORKER__QUEUES", "*=20")]).await;
    let mut ids = Vec::new();
    for n in 0..20 {
        // before all others in the order
        ids.push(system.enqueue(&json!({"kind": "two", "priority": -10, "args": n})).await);
    }
    let mut others = Vec::new();
    for n in 0..50 {
        others.push(system.enqueue(&json!({"kind": "echo", "args": n})).await);
    }
    for id in &others {
        system.until(*id, "succeeded").await;
    }
    let waiting = system.count("longshore.jobs where kind = 'two' and state = 'available'").await;
    println!("{waiting} of the limited kind still waited when all others were done");
    let mut most = 0;
    for id in ids {
        most = most.max(system.until(id, "succeeded").await["result"].as_i64().expect("a number"));
    }
    assert_eq!(most, 2, "as many as allowed, and no more");
    stop(worker).await;
    system.assert_no_violations().await;
}
