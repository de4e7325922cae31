//! `docs/reference/command-line.md`, from the help of each command.

use crate::page_ends_with;

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
