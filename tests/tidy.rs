//! The house's habits, where a machine can check them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use longshore_common::settings::{SETTINGS, env_name};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files of ours with that ending.
fn files(ending: &str) -> Vec<PathBuf> {
    fn walk(folder: &Path, ending: &str, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            if path.is_dir() && name != "target" && !name.as_encoded_bytes().starts_with(b".") {
                walk(&path, ending, found);
            } else if name.as_encoded_bytes().ends_with(ending.as_bytes()) {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    walk(root(), ending, &mut found);
    assert!(found.len() > 2, "{ending}: the files are found");
    found
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn every_setting_is_documented_where_people_look() {
    let page = read(&root().join("docs/reference/settings.md"));
    let example = read(&root().join("longshore.example.toml"));
    for setting in SETTINGS {
        let name = env_name(setting.key);
        assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/reference/settings.md");
        let key = setting.key.rsplit('.').next().expect("a name");
        let line = format!("# {key} = {}", example_value(setting.default));
        assert!(example.lines().any(|l| l == line), "longshore.example.toml has no line {line}");
    }
}

/// As TOML: numbers and booleans bare, all else in quotes.
fn example_value(default: &str) -> String {
    if default.parse::<i64>().is_ok() || default.parse::<bool>().is_ok() { default.to_owned() } else { format!("\"{default}\"") }
}

#[test]
fn every_statement_is_used() {
    let code: String = files(".rs").iter().filter(|p| p.starts_with(root().join("common/src"))).map(|p| read(p)).collect();
    let folder = root().join("common/sql");
    for path in files(".sql").iter().filter(|p| p.starts_with(&folder)) {
        let name = path.strip_prefix(&folder).expect("below").display().to_string();
        assert!(code.contains(&name), "common/sql/{name} is used by nobody");
    }
}

#[test]
fn every_module_says_what_it_is_for() {
    for path in files(".rs") {
        let text = read(&path);
        let first = text.lines().find(|line| !line.is_empty()).unwrap_or_default();
        // a handler's own sentence stands at its type
        let handler = path.starts_with(root().join("worker/src/handlers"));
        assert!(first.starts_with("//!") || handler, "{} does not begin with what it is for", shown(&path));
    }
}

#[test]
fn files_fit_in_a_head() {
    for path in files(".rs") {
        let lines = read(&path).lines().count();
        assert!(lines <= 450, "{} has {lines} lines: look for the second noun", shown(&path));
    }
}

#[test]
fn sql_stays_in_the_store() {
    for path in files(".toml").iter().filter(|p| p.ends_with("Cargo.toml")) {
        let text = read(path);
        let dependencies = text.split("[dependencies]").nth(1).and_then(|rest| rest.split("\n[").next()).unwrap_or_default();
        let may = path.parent().is_some_and(|folder| folder.ends_with("common"));
        assert!(may || !dependencies.contains("tokio-postgres"), "{} depends on the driver of PostgreSQL", shown(path));
    }
}
