//! Whether the schema is the one that this program makes, object by object. What it is made of was written into
//! `objects.txt` from a database that was migrated, by a test that also says when it is out of date.

use std::collections::{BTreeMap, BTreeSet};

use super::{Facts, Faults, Finding, Level, Schema};
use crate::store::migrate::{MAJOR, MINOR};

/// What the schema is made of: a name, a tab, and what belongs to it, a line each.
const OBJECTS: &str = include_str!("objects.txt");

/// The objects as lines, sorted: what `objects.txt` holds.
pub fn lines(objects: &[(String, String)]) -> String {
    let lines: BTreeSet<String> = objects.iter().map(|(name, detail)| format!("{name}\t{detail}\n")).collect();
    lines.into_iter().collect()
}

/// Whether there is a schema that this program works with.
pub(super) fn schema(schema: &Schema) -> Finding {
    let name = "schema";
    match schema {
        Schema::Known { version: (major, minor), .. } => Finding::good(name, format!("{major}.{minor} works with this program, which has {MAJOR}.{MINOR}")),
        Schema::Missing => Finding::bad(name, Level::Fail, "there is none, or an old one", "run `longshore migrate`, or start the API, which does it"),
        Schema::TooNew { major } => {
            Finding::bad(name, Level::Fail, format!("has major version {major}, this program knows {MAJOR}"), "install a newer Longshore")
        }
        Schema::Locked => Finding::good(name, "not looked at, nor what is in it, while somebody has locked it: see locks"),
        Schema::Unseen { why } => Finding::bad(name, Level::Fail, why.clone(), "`grant longshore_reader to` this user, who may not read the schema longshore"),
    }
}

/// Whether it is made of what this program makes.
pub(super) fn judge(facts: &Facts) -> Finding {
    let name = "objects";
    let Schema::Known { version, ours, objects } = &facts.schema else { return Finding::good(name, "not looked at: there is no schema") };
    if !ours {
        let (major, minor) = version;
        return Finding::good(name, format!("not compared: the schema {major}.{minor} was made by another build than this {MAJOR}.{MINOR}"));
    }
    let there: BTreeMap<&str, &str> = objects.iter().map(|(name, detail)| (&name[..], &detail[..])).collect();
    compare(&OBJECTS.lines().filter_map(|line| line.split_once('\t')).collect(), &there)
        .finding(name, || format!("all {} are as this program makes them", there.len()))
}

fn compare(made: &BTreeMap<&str, &str>, there: &BTreeMap<&str, &str>) -> Faults {
    /// Migrations are numbered and never run twice, functions and views are replaced whenever their text is another.
    fn mend(object: &str) -> &'static str {
        if object.starts_with("function ") || object.starts_with("view ") {
            "`update longshore.schema_version set routines = ''`, then `longshore migrate`, which makes all functions and views anew"
        } else {
            "make it again as `common/migrations` does, or restore the schema: `longshore migrate` runs no migration twice"
        }
    }
    let mut faults = Faults::new();
    for (object, detail) in made {
        match there.get(object) {
            // a column or an index is gone with its table
            None if object.strip_prefix("column ").and_then(|rest| rest.split_once('.')).is_some_and(|(table, _)| gone(there, table)) => {}
            None => faults.add(Level::Fail, format!("{object} is missing ({detail})"), mend(object)),
            Some(other) if other != detail => {
                let (was, is) = (without_text(detail), without_text(other));
                let how = if was == is { "has another text".to_owned() } else { format!("is \"{is}\" instead of \"{was}\"") };
                faults.add(Level::Fail, format!("{object} was changed: it {how}"), mend(object));
            }
            Some(_) => {}
        }
    }
    for (object, detail) in there.iter().filter(|(object, _)| !made.contains_key(*object)) {
        if object.strip_prefix("column ").and_then(|rest| rest.split_once('.')).is_some_and(|(table, _)| !gone(there, table) && gone(made, table)) {
            continue; // told with its table
        }
        // what acts by itself can change what happens to jobs, the rest only costs
        let acts = ["trigger ", "rule ", "constraint "].iter().any(|sort| object.starts_with(sort));
        let level = if acts { Level::Fail } else { Level::Warn };
        faults.add(level, format!("{object} was added ({detail})").replace(" ()", ""), format!("`{}`, unless it is meant", removal(object)));
    }
    faults
}

fn gone(objects: &BTreeMap<&str, &str>, table: &str) -> bool {
    ["table", "view"].iter().all(|sort| !objects.contains_key(&format!("{sort} {table}")[..]))
}

fn without_text(detail: &str) -> &str {
    detail.split_once(" text ").map_or(detail, |(before, _)| before)
}

/// The statement that takes away what was added.
fn removal(object: &str) -> String {
    let (sort, name) = object.split_once(' ').unwrap_or((object, ""));
    match (sort, name.split_once(" on ")) {
        ("trigger" | "rule", Some((name, table))) => format!("drop {sort} {name} on longshore.{table}"),
        ("constraint", Some((name, table))) => format!("alter table longshore.{table} drop constraint {name}"),
        ("column", _) => {
            let (table, column) = name.split_once('.').unwrap_or((name, ""));
            format!("alter table longshore.{table} drop column {column}")
        }
        _ => format!("drop {sort} longshore.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_named() {
        let made: BTreeMap<&str, &str> = [
            ("table a", ""),
            ("column a.x", "integer"),
            ("index i", "on a (x)"),
            ("function f(integer)", "returns integer in sql text 1"),
            ("table b", ""),
            ("column b.x", "integer"),
        ]
        .into();
        assert_eq!(compare(&made, &made).finding("objects", || "fine".to_owned()).detail, "fine");
        for (remove, add, level, said, remedy) in [
            (vec!["index i"], vec![], Level::Fail, "index i is missing (on a (x))", "common/migrations"),
            (vec!["table b", "column b.x"], vec![], Level::Fail, "table b is missing ()", "common/migrations"),
            (vec![], vec![("column a.x", "bigint")], Level::Fail, "column a.x was changed: it is \"bigint\" instead of \"integer\"", "common/migrations"),
            (
                vec![],
                vec![("function f(integer)", "returns integer in sql text 2")],
                Level::Fail,
                "function f(integer) was changed: it has another text",
                "longshore migrate",
            ),
            (vec![], vec![("trigger t on a", "")], Level::Fail, "trigger t on a was added", "drop trigger t on longshore.a"),
            (vec![], vec![("table c", ""), ("column c.x", "integer")], Level::Warn, "table c was added", "drop table longshore.c"),
            (vec![], vec![("column a.y", "text")], Level::Warn, "column a.y was added (text)", "alter table longshore.a drop column y"),
        ] {
            let mut there = made.clone();
            there.retain(|object, _| !remove.contains(object));
            there.extend(add);
            let finding = compare(&made, &there).finding("objects", || "fine".to_owned());
            assert_eq!((finding.level, &finding.detail[..]), (level, said));
            assert!(finding.remedy.as_deref().is_some_and(|text| text.contains(remedy)), "{finding:?}");
        }
    }
}
