//! `docs/reference/settings.md`, from the list that the programs read their settings by.

use longshore_common::settings::{SETTINGS, Setting, env_name};

use crate::{cell, page_ends_with};

#[test]
fn settings() {
    let sections = [("Database", "database."), ("API", "api."), ("Worker", "worker."), ("Log", "log")];
    let mut text = String::new();
    let mut told = 0;
    for (title, prefix) in sections {
        text += &format!("\n### {title}\n\n| in the environment | in `longshore.toml` | default | meaning |\n|---|---|---|---|\n");
        for Setting { key, default, meaning } in SETTINGS.iter().filter(|setting| setting.key.starts_with(prefix)) {
            let default = if default.is_empty() { "–".to_owned() } else { format!("`{default}`") };
            text += &format!("| `{}` | `{key}` | {default} | {} |\n", env_name(key), cell(meaning));
            told += 1;
        }
    }
    assert_eq!(told, SETTINGS.len(), "a setting is in none of the sections, or in two");
    text += "\n## The file, with everything in it\n\n```toml\n{{#include ../../longshore.example.toml}}\n```\n";
    page_ends_with("docs/reference/settings.md", &text);
}
