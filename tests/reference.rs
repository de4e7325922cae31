//! What the documentation lists is what the code has. After a change that is meant: `UPDATE_SNAPSHOTS=1 cargo test --test
//! reference`, and the difference is reviewed with the rest.

use std::{fs, path::Path};

use longshore_common::{
    metrics::Metric,
    settings::{SETTINGS, Setting, env_name},
};

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

#[test]
fn the_command_line() {
    fn write(command: &mut clap::Command, text: &mut String) {
        *text += &format!("\n## {}\n\n```text\n", command.get_bin_name().unwrap_or_else(|| command.get_name()));
        // lines of the help end where they end, without blanks
        command.render_long_help().to_string().trim().lines().for_each(|line| *text += &format!("{}\n", line.trim_end()));
        *text += "```\n";
        command.get_subcommands_mut().for_each(|sub| write(sub, text));
    }
    let mut command = longshore::cli::command();
    command.build();
    let mut text = String::new();
    write(&mut command, &mut text);
    page_ends_with("docs/reference/command-line.md", &text);
}

#[test]
fn settings() {
    let mut text = String::new();
    let mut section = "";
    for Setting { key, default, meaning } in SETTINGS {
        let (of, name) = key.split_once('.').unwrap_or(("", key));
        if of != section || text.is_empty() {
            let heading = if of.is_empty() { "Beside the tables".to_owned() } else { format!("`[{of}]`") };
            text += &format!("\n## {heading}\n\n| in the file | in the environment | default | meaning |\n|---|---|---|---|\n");
            section = of;
        }
        let default = if default.is_empty() { "–".to_owned() } else { format!("`{default}`") };
        text += &format!("| `{name}` | `{}` | {default} | {} |\n", env_name(key), meaning.replace('|', "\\|").replace('*', "\\*"));
    }
    page_ends_with("docs/reference/settings.md", &text);
}
