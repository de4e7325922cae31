//! `longshore completions`

use std::process::ExitCode;

use clap_complete::Shell;

use crate::{cli, output};

/// Prints a script that lets a shell complete commands, flags and their values.
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// For which shell
    shell: Shell,
}

const AFTER_HELP: &str = "\
Where it goes:
  bash        longshore completions bash > ~/.local/share/bash-completion/completions/longshore
  zsh         longshore completions zsh > ~/.zfunc/_longshore      with fpath+=(~/.zfunc) before compinit in ~/.zshrc
  fish        longshore completions fish > ~/.config/fish/completions/longshore.fish
  elvish      longshore completions elvish >> ~/.config/elvish/rc.elv
  powershell  longshore completions powershell >> $PROFILE";

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut cli::command(), "longshore", &mut script);
    output::print(String::from_utf8_lossy(&script).trim_end())?;
    Ok(ExitCode::SUCCESS)
}
