//! What the documentation lists is what the code has. After a change that is meant: `UPDATE_SNAPSHOTS=1 cargo test --test
//! reference`, and the difference is reviewed with the rest.

use std::{fs, path::Path};

use longshore_common::metrics::Metric;

/// Where the written part of a page begins.
const WRITTEN: &str = "<!-- written by: UPDATE_SNAPSHOTS=1 cargo test --test reference -->\n";

/// The rest of the page below that line is this, and nothing else.
fn page_ends_with(page: &str, expected: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{page}: {error}"));
    let (by_hand, written) = text.split_once(WRITTEN).unwrap_or_else(|| panic!("{page} has no line {WRITTEN}"));
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, format!("{by_hand}{WRITTEN}{expected}")).unwrap_or_else(|error| panic!("{page}: {error}"));
        return;
    }
    let differs = written.lines().zip(expected.lines()).find(|(written, expected)| written != expected);
    assert!(written == expected, "{page} is not what the code says, first at {differs:?}; if that is meant: UPDATE_SNAPSHOTS=1 cargo test --test reference");
}

#[test]
fn metrics() {
    let mut text = String::new();
    let programs =
        [("Both programs", longshore_common::metrics::METRICS), ("The API", longshore_api::metrics::METRICS), ("A worker", longshore_worker::metrics::METRICS)];
    for (program, metrics) in programs {
        text += &format!("\n### {program}\n\n| metric | sort | labels | what it tells |\n|---|---|---|---|\n");
        for Metric { name, sort, labels, help } in metrics {
            let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
            text += &format!("| `{name}` | {} | {} | {help} |\n", sort.word(), labels.join(", "));
        }
    }
    page_ends_with("docs/metrics.md", &text);
}
