//! `docs/reference/settings.md`, from the list that the programs read their settings by.

use longshore_common::settings::{SETTINGS, Setting, env_name};

use crate::{cell, page_ends_with};

#[test]
fn settings() {
    let mut text = String::new();
    let mut section = None;
    for Setting { key, default, meaning } in SETTINGS {
        let of = key.split_once('.').map_or("", |(of, _)| of);
        if section != Some(of) {
            let title = if of.is_empty() { "Beside the tables".to_owned() } else { format!("`[{of}]`") };
            text += &format!("\n### {title}\n\n| in the environment | in `longshore.toml` | default | meaning |\n|---|---|---|---|\n");
            section = Some(of);
        }
        let default = if default.is_empty() { "–".to_owned() } else { format!("`{default}`") };
        text += &format!("| `{}` | `{key}` | {default} | {} |\n", env_name(key), cell(meaning));
    }
    text += "\n## The file, with everything in it\n\n```toml\n{{#include ../../longshore.example.toml}}\n```\n";
    page_ends_with("docs/reference/settings.md", &text);
}
