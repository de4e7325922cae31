//! `docs/metrics.md`, from the constants that the programs tell their metrics by.

use longshore_common::metrics::Metric;

use crate::page_ends_with;

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
