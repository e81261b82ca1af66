//! `agenthub completions`: prints a completion script for a shell.

use anyhow::Result;
use clap_complete::Shell;

use crate::cli::terminal;

#[derive(Debug, clap::Args)]
#[command(after_long_help = "To enable completions in the current shell:\n  \
    bash  source <(agenthub completions bash)\n  \
    zsh   source <(agenthub completions zsh)\n  \
    fish  agenthub completions fish | source")]
pub(super) struct Args {
    /// Shell: bash, zsh, fish, elvish or powershell
    #[arg(hide_possible_values = true)]
    shell: Shell,
}

pub(super) fn run(args: &Args, mut definition: clap::Command) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut definition, "agenthub", &mut script);
    terminal::line(String::from_utf8_lossy(&script).trim_end())
}
