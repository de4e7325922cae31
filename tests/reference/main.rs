//! What the documentation lists is what the code has. After a change that is meant: `UPDATE_SNAPSHOTS=1 cargo test --test
//! reference`, and the difference is reviewed with the rest.

mod api;
mod command_line;
mod metrics;
mod schemas;
mod settings;
mod sql;
#[path = "../support/mod.rs"]
mod support;

use std::{fs, path::Path};

/// Where the written part of a page begins.
const WRITTEN: &str = "<!-- written by: UPDATE_SNAPSHOTS=1 cargo test --test reference -->\n";

/// A file of the project.
fn read(path: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The rest of the page below that line is this, and nothing else.
fn page_ends_with(page: &str, expected: &str) {
    let text = read(page);
    let (by_hand, written) = text.split_once(WRITTEN).unwrap_or_else(|| panic!("{page} has no line {WRITTEN}"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
        fs::write(path, format!("{by_hand}{WRITTEN}{expected}")).unwrap_or_else(|error| panic!("{page}: {error}"));
        return;
    }
    let differs = written.lines().zip(expected.lines()).find(|(written, expected)| written != expected);
    assert!(written == expected, "{page} is not what the code says, first at {differs:?}; if that is meant: UPDATE_SNAPSHOTS=1 cargo test --test reference");
}

/// A text as a cell of a table bears it.
fn cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|").replace('<', "&lt;")
}
