//! `gleaner doctor`: what is wrong with this installation. `gleaner health`: how a server is.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use super::Context;
use crate::doctor::{self, Examination, Finding, Outcome, Report, ask_health, local_url};
use crate::error::{Error, Result};

/// Find what is wrong with this installation, and say what to do about it. Beside a running
/// server, too.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Read every byte of indexes and vector files, and run every model once.
    #[arg(long)]
    full: bool,
    /// Print only what is not as it should be.
    #[arg(long)]
    quiet: bool,
}

impl Doctor {
    /// Looks at everything and prints it; the exit status is 1 where something failed.
    pub(super) fn run(self, context: &Context, file: Option<PathBuf>) -> Result<ExitCode> {
        let examination = Examination {
            file,
            full: self.full,
        };
        let report = doctor::examine(&context.config, &examination);
        self.print(context, &report)
    }

    /// Says what is wrong with a configuration that cannot be read.
    pub(super) fn without_configuration(self, json: bool, error: &Error) -> Result<ExitCode> {
        let report = Report::without_configuration(error);
        let context = Context {
            config: crate::config::Config::default(),
            json,
        };
        self.print(&context, &report)
    }

    fn print(&self, context: &Context, report: &Report) -> Result<ExitCode> {
        context.print(report, |report| {
            let findings = report.findings.iter();
            let shown = findings.filter(|one| !self.quiet || one.outcome != Outcome::Ok);
            let mut lines: Vec<String> = shown.map(line).collect();
            lines.push(sum(report));
            lines.join("\n")
        })?;
        Ok(match report.outcome {
            Outcome::Failed => ExitCode::FAILURE,
            Outcome::Ok | Outcome::Warning => ExitCode::SUCCESS,
        })
    }
}

fn line(finding: &Finding) -> String {
    let subject = finding.subject.as_ref();
    let subject = subject.map_or(String::new(), |subject| format!(" {subject}"));
    let mut line = format!(
        "{:7} {}{subject}: {}",
        finding.outcome.as_str(),
        finding.check.as_str(),
        finding.message
    );
    if let Some(advice) = &finding.advice {
        line += &format!("\n          {advice}");
    }
    line
}

fn sum(report: &Report) -> String {
    let count = |outcome| {
        let findings = report.findings.iter();
        findings.filter(|one| one.outcome == outcome).count()
    };
    format!(
        "{} ok, {} warnings, {} failed",
        count(Outcome::Ok),
        count(Outcome::Warning),
        count(Outcome::Failed)
    )
}

/// Ask a server how it is: for a container's health check, where there is nothing else to ask
/// with.
#[derive(Debug, Args)]
pub(super) struct AskHealth {
    /// Where the server is [default: server.listen of the configuration, on this machine].
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Ask whether indexes and models are opened (/ready), not only whether it runs (/health).
    #[arg(long)]
    ready: bool,
    /// Longest wait for the answer, in seconds.
    #[arg(long, default_value_t = 5)]
    timeout_s: u64,
}

impl AskHealth {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        let url = match self.url {
            Some(url) => url,
            None => local_url(&context.config)?,
        };
        let path = match self.ready {
            true => "/ready",
            false => "/health",
        };
        let health = ask_health(&url, path, Duration::from_secs(self.timeout_s.max(1)))?;
        if health.status != 200 {
            let reasons = health.list("reasons");
            let said = match reasons.is_empty() {
                true => format!("{url}{path} answers with status {}", health.status),
                false => format!("{url} is not ready: {}", reasons.join("; ")),
            };
            return Err(Error::operator(said).advice("look at the server's log"));
        }
        context.print(&health.body, |_| format!("{url}{path} is well"))
    }
}
