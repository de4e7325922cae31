//! Workflows: jobs that come after other jobs, as in `POST /v1/workflows`; and how they are drawn.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    fmt::Write as _,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{
    fields::{Object, type_of},
    name::TaskName,
    new::{NewJob, OnConflict},
    parse::{self, InvalidJob},
    state::JobState,
};
use crate::fault::Faults;

/// Jobs of a workflow at most, and of a call that adds some.
pub const MAX_TASKS: usize = 10_000;
/// Characters of its name at most.
pub const MAX_NAME_CHARS: usize = 255;
/// Names that are said of a cycle at most.
const MOST_OF_A_CYCLE: usize = 10;

/// What becomes of a job when one of those it comes after fails or is cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IfFailed {
    /// It is cancelled.
    #[default]
    Cancel,
    /// It runs all the same.
    Run,
}

impl IfFailed {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Cancel, Self::Run];

    /// Its name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Run => "run",
        }
    }
}

/// A job that another one comes after.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Upstream {
    /// One of the same request: its index among the sorted ones.
    New(usize),
    /// One that stands in the workflow already.
    Standing(TaskName),
}

/// A job of a workflow that satisfies every rule.
#[derive(Debug, Clone, PartialEq)]
pub struct NewTask {
    /// Its name in the workflow.
    pub name: TaskName,
    /// Where it stands in the request, from 0.
    pub place: usize,
    /// The job.
    pub job: NewJob,
    /// What it comes after.
    pub after: Vec<Upstream>,
    /// What becomes of it when one of those fails or is cancelled.
    pub if_failed: IfFailed,
}

/// A workflow that satisfies every rule.
#[derive(Debug, Clone, PartialEq)]
pub struct NewWorkflow {
    /// What people call it.
    pub name: Option<String>,
    /// Its jobs, each behind those that it comes after, otherwise in the order of the request.
    pub tasks: Vec<NewTask>,
}

impl NewWorkflow {
    /// Reads a workflow.
    ///
    /// # Errors
    /// [`InvalidJob`]: what is wrong, all at once.
    pub fn parse(text: &[u8]) -> Result<Self, InvalidJob> {
        read_body(text, "name, jobs", |fields, faults| {
            let name = read_name(fields, faults);
            Some(Self { name, tasks: read_tasks(fields, &BTreeSet::new(), faults)? })
        })
    }
}

/// Reads jobs that are to be added to a workflow in which those names stand already; sorted as those of [`NewWorkflow`].
///
/// # Errors
/// [`InvalidJob`]: what is wrong, all at once.
pub fn parse_more(text: &[u8], standing: &BTreeSet<TaskName>) -> Result<Vec<NewTask>, InvalidJob> {
    read_body(text, "jobs", |fields, faults| read_tasks(fields, standing, faults))
}

fn read_body<T>(text: &[u8], allowed: &str, read: impl FnOnce(&mut Object<'_>, &mut Faults) -> Option<T>) -> Result<T, InvalidJob> {
    let value: &RawValue = serde_json::from_slice(text).map_err(|error| InvalidJob::Malformed(parse::malformed(&error)))?;
    let mut faults = Faults::default();
    let read = Object::read(value, "", &mut faults).and_then(|mut fields| {
        let read = read(&mut fields, &mut faults);
        fields.refuse_rest("", allowed, &mut faults);
        read
    });
    match read {
        Some(read) if faults.is_empty() => Ok(read),
        _ => Err(InvalidJob::Faults(faults.into_vec())),
    }
}

fn read_name(fields: &mut Object<'_>, faults: &mut Faults) -> Option<String> {
    let name = fields.take_as::<String>("name", "", "a text", faults)?;
    let length = name.chars().count();
    if length == 0 || length > MAX_NAME_CHARS || name.chars().any(char::is_control) {
        faults.add("/name", format!("must have 1 to {MAX_NAME_CHARS} characters, and no control characters"));
    }
    Some(name)
}

/// A job as it was read, before anybody knows what its names mean.
struct Draft {
    name: TaskName,
    job: NewJob,
    after: Vec<String>,
    if_failed: IfFailed,
}

fn read_tasks(fields: &mut Object<'_>, standing: &BTreeSet<TaskName>, faults: &mut Faults) -> Option<Vec<NewTask>> {
    if !fields.has("jobs") {
        faults.add("/jobs", "is missing");
        return None;
    }
    let values = fields.take_as::<Vec<Box<RawValue>>>("jobs", "", "an array of jobs", faults)?;
    if values.is_empty() || values.len() > MAX_TASKS {
        faults.add("/jobs", format!("must have 1 to {MAX_TASKS} jobs, has {}", values.len()));
        return None;
    }
    // a job that is at fault has no place in the graph, but its name is known to others
    let mut names: HashMap<String, usize> = HashMap::with_capacity(values.len());
    let mut drafts: Vec<Option<Draft>> = Vec::with_capacity(values.len());
    for (place, value) in values.iter().enumerate() {
        drafts.push(faults.below(&format!("/jobs/{place}"), |faults| read_draft(value, place, &mut names, standing, faults)));
    }
    let mut after: Vec<Vec<Upstream>> = Vec::with_capacity(drafts.len());
    for (place, draft) in drafts.iter().enumerate() {
        let path = format!("/jobs/{place}/after");
        let mut seen = HashSet::new();
        let mut upstreams = Vec::new();
        for (index, name) in draft.iter().flat_map(|draft| &draft.after).enumerate() {
            if !seen.insert(name) {
                faults.add(&format!("{path}/{index}"), format!("names \"{name}\" a second time"));
            } else if let Some(other) = names.get(name) {
                upstreams.push(Upstream::New(*other));
            } else if let Some(name) = TaskName::new(name).ok().filter(|name| standing.contains(name)) {
                upstreams.push(Upstream::Standing(name));
            } else {
                faults.add(&format!("{path}/{index}"), format!("names \"{}\", and no job of this workflow has that name", shortened(name)));
            }
        }
        after.push(upstreams);
    }
    let sorted = sort(&after);
    if sorted.len() < after.len() {
        tell_cycles(&drafts, &after, &sorted, faults);
    }
    if !faults.is_empty() {
        return None;
    }
    let mut index_of = vec![0; sorted.len()];
    for (index, place) in sorted.iter().enumerate() {
        index_of[*place] = index;
    }
    let task = |place: usize| {
        let Draft { name, job, if_failed, .. } = drafts[place].take()?;
        let after = std::mem::take(&mut after[place]).into_iter().map(|upstream| match upstream {
            Upstream::New(place) => Upstream::New(index_of[place]),
            standing @ Upstream::Standing(_) => standing,
        });
        Some(NewTask { name, place, job, after: after.collect(), if_failed })
    };
    sorted.into_iter().map(task).collect()
}

fn read_draft(value: &RawValue, place: usize, names: &mut HashMap<String, usize>, standing: &BTreeSet<TaskName>, faults: &mut Faults) -> Option<Draft> {
    let mut fields = Object::read(value, "", faults)?;
    if !fields.has("name") {
        faults.add("/name", "is missing: it is what other jobs name in `after`");
    }
    let name = fields.take_as::<String>("name", "", "a text", faults).and_then(|name| TaskName::new(&name).map_err(|why| faults.add("/name", why)).ok());
    if let Some(name) = &name {
        if standing.contains(name) {
            faults.add("/name", format!("\"{name}\" is the name of a job that stands in this workflow already"));
        }
        if let Some(other) = names.get(&**name) {
            faults.add("/name", format!("\"{name}\" is the name of /jobs/{other}, too"));
        } else {
            names.insert(name.to_string(), place);
        }
    }
    let after = read_after(&mut fields, faults);
    let if_failed = fields.take_as::<String>("if_failed", "", "cancel or run", faults).map(|word| {
        let known = IfFailed::ALL.into_iter().find(|known| known.word() == word);
        if known.is_none() {
            faults.add("/if_failed", format!("must be cancel or run, is \"{}\"", shortened(&word)));
        }
        known.unwrap_or_default()
    });
    let job = NewJob::read_fields(fields, &format!("name, after, if_failed, {}", parse::FIELDS), faults)?;
    if job.unique.as_ref().is_some_and(|unique| unique.on_conflict == OnConflict::Replace) {
        faults.add("/unique/on_conflict", "must be return or reject: a workflow consists of its own jobs, and is refused where a key is held");
    }
    Some(Draft { name: name?, job, after, if_failed: if_failed.unwrap_or_default() })
}

fn read_after(fields: &mut Object<'_>, faults: &mut Faults) -> Vec<String> {
    let values = fields.take_as::<Vec<Box<RawValue>>>("after", "", "an array of names", faults).unwrap_or_default();
    let mut after = Vec::with_capacity(values.len());
    for (index, value) in values.into_iter().enumerate() {
        match serde_json::from_str::<String>(value.get()) {
            Ok(name) => after.push(name),
            Err(_) => faults.add(&format!("/after/{index}"), format!("must be the name of a job, is {}", type_of(&value))),
        }
    }
    after
}

/// Their places, each behind those it comes after, otherwise as they are (Kahn's algorithm); what is in a cycle, or behind one, is
/// left out.
fn sort(after: &[Vec<Upstream>]) -> Vec<usize> {
    let mut waits: Vec<usize> = Vec::with_capacity(after.len());
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); after.len()];
    for (place, upstreams) in after.iter().enumerate() {
        let new = upstreams.iter().filter_map(|upstream| if let Upstream::New(parent) = upstream { Some(*parent) } else { None });
        waits.push(new.map(|parent| children[parent].push(place)).count());
    }
    // the lowest place first, so that the order is the request's wherever it can be
    let mut free: std::collections::BinaryHeap<_> = (0..after.len()).filter(|place| waits[*place] == 0).map(std::cmp::Reverse).collect();
    let mut sorted = Vec::with_capacity(after.len());
    while let Some(std::cmp::Reverse(place)) = free.pop() {
        sorted.push(place);
        for child in &children[place] {
            waits[*child] -= 1;
            if waits[*child] == 0 {
                free.push(std::cmp::Reverse(*child));
            }
        }
    }
    sorted
}

/// A fault for each cycle that is met on the way from a job that could not be sorted to what it comes after.
fn tell_cycles(drafts: &[Option<Draft>], after: &[Vec<Upstream>], sorted: &[usize], faults: &mut Faults) {
    let mut done = vec![false; after.len()];
    for place in sorted {
        done[*place] = true;
    }
    let mut seen = done.clone();
    for start in 0..after.len() {
        // each that is left comes after another that is left, so the way ends where it has been before
        let mut way: Vec<(usize, usize)> = Vec::new();
        let mut at = start;
        while !seen[at] {
            seen[at] = true;
            let next = after[at].iter().enumerate().find_map(|(index, upstream)| match upstream {
                Upstream::New(parent) if !done[*parent] => Some((index, *parent)),
                _ => None,
            });
            let Some((index, parent)) = next else { break };
            way.push((at, index));
            at = parent;
        }
        let Some(from) = way.iter().position(|(place, _)| *place == at) else { continue };
        let cycle = &way[from..];
        let name = |place: usize| drafts[place].as_ref().map_or("?", |draft| &*draft.name);
        let mut said: Vec<&str> = cycle.iter().take(MOST_OF_A_CYCLE).map(|(place, _)| name(*place)).collect();
        if cycle.len() > MOST_OF_A_CYCLE {
            said.push("…");
        }
        said.push(name(at));
        let (last, index) = cycle[cycle.len() - 1];
        // the index among those that were understood is that in the request unless others are at fault, too
        faults.add(&format!("/jobs/{last}/after/{index}"), format!("closes a circle, in which each waits for the next: {}", said.join(" → ")));
    }
}

/// The beginning of a text, for a message.
fn shortened(text: &str) -> String {
    if text.chars().count() <= 40 { text.to_owned() } else { format!("{}…", text.chars().take(40).collect::<String>()) }
}

/// A job of a workflow, as it is shown and drawn.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TaskView {
    /// Its name in the workflow.
    pub name: String,
    /// The job.
    pub id: i64,
    /// Where it stands.
    pub state: JobState,
    /// What it comes after, by name.
    pub after: Vec<String>,
}

/// The colours of states: fill and line.
fn colours(state: JobState) -> (&'static str, &'static str) {
    match state {
        JobState::Succeeded => ("#d7f0db", "#2e7d32"),
        JobState::Failed => ("#f9d6d5", "#b3261e"),
        JobState::Cancelled => ("#e6e6e6", "#757575"),
        JobState::Running => ("#d3e5fb", "#1565c0"),
        JobState::Retryable => ("#fdebc8", "#b26a00"),
        JobState::Scheduled | JobState::Available | JobState::Blocked => ("#ffffff", "#757575"),
    }
}

/// Edges between indexes; one to a job that is forgotten is left out.
fn edges(tasks: &[TaskView]) -> impl Iterator<Item = (usize, usize)> + '_ {
    let index: HashMap<&str, usize> = tasks.iter().enumerate().map(|(index, task)| (&*task.name, index)).collect();
    tasks.iter().enumerate().flat_map(move |(child, task)| {
        let parents: Vec<usize> = task.after.iter().filter_map(|name| index.get(&**name).copied()).collect();
        parents.into_iter().map(move |parent| (parent, child))
    })
}

/// As a flow chart of Mermaid. Names are texts of its own: nothing in them is read as anything else
/// (<https://mermaid.js.org/syntax/flowchart.html#entity-codes-to-escape-characters>).
pub fn mermaid(name: Option<&str>, tasks: &[TaskView]) -> String {
    // Mermaid reads Markdown in quoted labels, too: "1. load" would be a list, "__x__" bold
    let escaped = |text: &str| {
        let mut before = ' ';
        text.chars().fold(String::new(), |mut escaped, c| {
            if c.is_alphanumeric() || c == ' ' || c == '-' && before.is_alphanumeric() {
                escaped.push(c);
            } else {
                let _ = write!(escaped, "#{};", u32::from(c));
            }
            before = c;
            escaped
        })
    };
    let mut drawn = String::from("flowchart TD\n");
    if let Some(name) = name {
        let _ = writeln!(drawn, "  subgraph workflow[\"{}\"]", escaped(name));
    }
    for (index, task) in tasks.iter().enumerate() {
        let state = task.state.word();
        let _ = writeln!(drawn, "  n{index}[\"{}<br/>{state}\"]:::{state}", escaped(&task.name));
    }
    for (parent, child) in edges(tasks) {
        let _ = writeln!(drawn, "  n{parent} --> n{child}");
    }
    if name.is_some() {
        drawn.push_str("  end\n");
    }
    for state in JobState::ALL {
        let (fill, line) = colours(state);
        let _ = writeln!(drawn, "  classDef {} fill:{fill},stroke:{line},color:#1c1b1f", state.word());
    }
    drawn
}

/// As a graph of Graphviz (<https://graphviz.org/doc/info/lang.html>: in a quoted text only the quote, and here the backslash, mean
/// anything).
pub fn dot(name: Option<&str>, tasks: &[TaskView]) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut drawn = String::from("digraph workflow {\n  rankdir=TB;\n  node [shape=box, style=\"rounded,filled\"];\n");
    if let Some(name) = name {
        let _ = writeln!(drawn, "  label=\"{}\";", escaped(name));
    }
    for (index, task) in tasks.iter().enumerate() {
        let (fill, line) = colours(task.state);
        let _ = writeln!(drawn, "  n{index} [label=\"{}\\n{}\", fillcolor=\"{fill}\", color=\"{line}\"];", escaped(&task.name), task.state.word());
    }
    for (parent, child) in edges(tasks) {
        let _ = writeln!(drawn, "  n{parent} -> n{child};");
    }
    drawn.push_str("}\n");
    drawn
}

#[cfg(test)]
mod tests;
