//! `gleaner completions` and `gleaner man`: what a package brings along beside the program.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::Cli;
use crate::error::{Error, Result};

/// Write a shell's completion of this command line to standard output.
#[derive(Debug, clap::Args)]
pub(super) struct Completions {
    /// Which shell.
    shell: Shell,
}

/// Write manual pages, one for each command.
#[derive(Debug, clap::Args)]
pub(super) struct Man {
    /// Folder that they are written to; it is made where it is missing.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

impl Completions {
    pub(super) fn run(self) -> Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "gleaner", &mut script);
        super::print(&String::from_utf8_lossy(&script))?;
        Ok(ExitCode::SUCCESS)
    }
}

impl Man {
    pub(super) fn run(self) -> Result<ExitCode> {
        let failed = |e| {
            let place = self.out.display();
            Error::operator_from(format!("cannot write manual pages to {place}"), e)
        };
        std::fs::create_dir_all(&self.out).map_err(failed)?;
        clap_mangen::generate_to(Cli::command(), &self.out).map_err(failed)?;
        Ok(ExitCode::SUCCESS)
    }
}
