//! `agenthub completions`: what a shell needs to complete this command line.

use anyhow::Result;
use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, output};

#[derive(Debug, clap::Args)]
#[command(after_long_help = "For the shell that runs now:\n  \
    bash  source <(agenthub completions bash)\n  \
    zsh   source <(agenthub completions zsh)\n  \
    fish  agenthub completions fish | source")]
pub(super) struct Args {
    /// bash, zsh, fish, elvish or powershell
    #[arg(hide_possible_values = true)]
    shell: Shell,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "agenthub", &mut script);
    output::line(String::from_utf8_lossy(&script).trim_end())
}
