//! What is taken, what is refused, and how it is drawn.

use super::*;

fn pointers(text: &str) -> Vec<String> {
    match NewWorkflow::parse(text.as_bytes()) {
        Err(InvalidJob::Faults(faults)) => faults.into_iter().map(|fault| fault.pointer).collect(),
        other => panic!("{text}: {other:?}"),
    }
}

fn names(tasks: &[NewTask]) -> Vec<&str> {
    tasks.iter().map(|task| &*task.name).collect()
}

#[test]
fn jobs_are_sorted_behind_those_they_come_after() {
    let text = r#"{"name": "nightly import", "jobs": [
        {"name": "d", "kind": "k", "after": ["b", "c"], "if_failed": "run", "args": {"z": 1.50}},
        {"name": "b", "kind": "k", "after": ["a"]}, {"name": "c", "kind": "k", "after": ["a"], "queue": "q"}, {"name": "a", "kind": "k", "after": null}]}"#;
    let workflow = NewWorkflow::parse(text.as_bytes()).expect("fine");
    assert_eq!(workflow.name.as_deref(), Some("nightly import"));
    assert_eq!(names(&workflow.tasks), ["a", "b", "c", "d"]);
    assert_eq!(workflow.tasks.iter().map(|task| task.place).collect::<Vec<_>>(), [3, 1, 2, 0]);
    assert_eq!(workflow.tasks[3].after, [Upstream::New(1), Upstream::New(2)]);
    assert_eq!((workflow.tasks[3].if_failed, workflow.tasks[2].if_failed), (IfFailed::Run, IfFailed::Cancel));
    assert_eq!((workflow.tasks[3].job.args.as_str(), &*workflow.tasks[2].job.queue), (r#"{"z": 1.50}"#, "q"));
}

#[test]
fn every_fault_is_told() {
    let text = r#"{"name": "", "colour": 1, "jobs": [
        {"kind": "k"}, {"name": "a b", "kind": "k"}, {"name": "a", "kind": "x y", "after": "b", "colour": 1}, {"name": "a", "kind": "k", "if_failed": "skip"},
        {"name": "b", "kind": "k", "after": ["nobody", 7, "a", "a"]}, {"name": "c", "kind": "k", "unique": {"key": "u", "on_conflict": "replace"}}, 5]}"#;
    let expected = [
        "/name",
        "/jobs/0/name",
        "/jobs/1/name",
        "/jobs/2/after",
        "/jobs/2/kind",
        "/jobs/2/colour",
        "/jobs/3/name",
        "/jobs/3/if_failed",
        "/jobs/4/after/1",
        "/jobs/5/unique/on_conflict",
        "/jobs/6",
        "/jobs/4/after/0",
        "/jobs/4/after/2",
        "/colour",
    ];
    assert_eq!(pointers(text), expected);
    for (text, pointer) in [("{}", "/jobs"), (r#"{"jobs": []}"#, "/jobs"), (r#"{"jobs": {}}"#, "/jobs"), ("[]", "")] {
        assert_eq!(pointers(text), [pointer], "{text}");
    }
    let many = format!(r#"{{"jobs": [{}]}}"#, vec![r#"{"name":"a","kind":"k"}"#; MAX_TASKS + 1].join(","));
    assert_eq!(pointers(&many), ["/jobs"]);
    assert!(matches!(NewWorkflow::parse(b"{"), Err(InvalidJob::Malformed(_))));
}

#[test]
fn circles_are_refused() {
    let text = r#"{"jobs": [{"name": "start", "kind": "k"}, {"name": "a", "kind": "k", "after": ["start", "c"]}, {"name": "b", "kind": "k", "after": ["a"]},
        {"name": "c", "kind": "k", "after": ["b"]}, {"name": "behind", "kind": "k", "after": ["c"]}, {"name": "self", "kind": "k", "after": ["self"]}]}"#;
    let Err(InvalidJob::Faults(faults)) = NewWorkflow::parse(text.as_bytes()) else { panic!("must be refused") };
    let told: Vec<(&str, &str)> = faults.iter().map(|fault| (&*fault.pointer, &*fault.detail)).collect();
    assert_eq!(
        told,
        [
            ("/jobs/2/after/0", "closes a circle, in which each waits for the next: a → c → b → a"),
            ("/jobs/5/after/0", "closes a circle, in which each waits for the next: self → self"),
        ]
    );
}

#[test]
fn what_is_added_may_come_after_what_stands() {
    let standing = BTreeSet::from([TaskName::new("old").expect("a name")]);
    let more = parse_more(br#"{"jobs": [{"name": "n", "kind": "k", "after": ["m", "old"]}, {"name": "m", "kind": "k"}]}"#, &standing).expect("fine");
    assert_eq!(names(&more), ["m", "n"]);
    assert_eq!(more[1].after, [Upstream::New(0), Upstream::Standing(TaskName::new("old").expect("a name"))]);
    let Err(InvalidJob::Faults(faults)) = parse_more(br#"{"name": "x", "jobs": [{"name": "old", "kind": "k"}]}"#, &standing) else { panic!("must be refused") };
    assert_eq!(faults.iter().map(|fault| &*fault.pointer).collect::<Vec<_>>(), ["/jobs/0/name", "/name"]);
}

#[test]
fn ten_thousand_jobs_are_not_too_many() {
    let chain: Vec<String> = (0..MAX_TASKS)
        .rev()
        .map(|n| format!(r#"{{"name":"n{n}","kind":"k","after":[{}]}}"#, if n == 0 { String::new() } else { format!("\"n{}\"", n - 1) }))
        .collect();
    let workflow = NewWorkflow::parse(format!(r#"{{"jobs":[{}]}}"#, chain.join(",")).as_bytes()).expect("fine");
    assert!(workflow.tasks.iter().enumerate().all(|(n, task)| *task.name == *format!("n{n}") && (n == 0 || task.after == [Upstream::New(n - 1)])));
    let all: Vec<String> = (0..MAX_TASKS - 1).map(|n| format!(r#""n{n}""#)).collect();
    let mut wide: Vec<String> = all.iter().map(|name| format!(r#"{{"name":{name},"kind":"k"}}"#)).collect();
    wide.insert(0, format!(r#"{{"name":"last","kind":"k","after":[{}]}}"#, all.join(",")));
    let workflow = NewWorkflow::parse(format!(r#"{{"jobs":[{}]}}"#, wide.join(",")).as_bytes()).expect("fine");
    assert_eq!(workflow.tasks[MAX_TASKS - 1].after.len(), MAX_TASKS - 1);
    // a circle through all of them
    let circle = format!(r#"{{"jobs":[{}]}}"#, chain.join(",").replace(r#""name":"n0","kind":"k","after":[]"#, r#""name":"n0","kind":"k","after":["n9999"]"#));
    assert_eq!(pointers(&circle).len(), 1);
}

#[test]
fn nothing_in_a_name_breaks_a_drawing() {
    let task =
        |name: &str, id, state, after: &[&str]| TaskView { name: name.to_owned(), id, state, after: after.iter().map(|name| (*name).to_owned()).collect() };
    let tasks = [task("a", 1, JobState::Succeeded, &[]), task("end\"]\n x", 2, JobState::Blocked, &["a", "forgotten"])];
    let drawn = mermaid(Some("a \"b\"\n---\n<script>"), &tasks);
    assert!(
        drawn.starts_with("flowchart TD\n  subgraph workflow[\"a #34;b#34;#10;#45;#45;#45;#10;#60;script#62;\"]\n  n0[\"a<br/>succeeded\"]:::succeeded\n"),
        "{drawn}"
    );
    assert!(drawn.contains("n1[\"end#34;#93;#10; x<br/>blocked\"]:::blocked\n  n0 --> n1\n  end\n  classDef scheduled"), "{drawn}");
    let drawn = dot(Some("a \\ \"b\""), &tasks);
    assert!(drawn.contains("label=\"a \\\\ \\\"b\\\"\";\n  n0 [label=\"a\\nsucceeded\","), "{drawn}");
    assert!(drawn.contains("label=\"end\\\"]\n x\\nblocked\"") && drawn.ends_with("  n0 -> n1;\n}\n"), "{drawn}");
}
