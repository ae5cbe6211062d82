//! `gleaner jobs`: loads that were begun, and going on with them.

use std::cell::RefCell;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde::Serialize;

use super::Context;
use super::serve::stop_signal;
use crate::error::{Error, Result};
use crate::index::Index;
use crate::ingest::{Reporter, Show};
use crate::jobs::{
    self, Control, Job, JobAction, JobOwner, JobReport, JobState, MaxRejects, Running, Wish,
};

/// List, show, pause, resume, cancel and retry loads.
#[derive(Debug, Subcommand)]
pub(super) enum JobsCommand {
    /// List the jobs of an index, or of all, the latest first.
    List(List),
    /// Show how far a job is.
    Show(Named),
    /// Halt a job that waits; one that runs in another command is halted there, with Ctrl-C.
    Pause(Named),
    /// Go on with a job that was halted or interrupted, in this process.
    Resume(Going),
    /// Call a job off. What it loaded stays.
    Cancel(Named),
    /// Go on with a job that failed or was called off, behind what it has done.
    Retry(Going),
}

/// List jobs.
#[derive(Debug, Args)]
pub(super) struct List {
    /// Name of the index [default: all].
    index: Option<String>,
}

/// A job.
#[derive(Debug, Args)]
pub(super) struct Named {
    /// Name of the index.
    index: String,
    /// Id of the job, or the beginning of it.
    id: String,
}

/// A job to go on with.
#[derive(Debug, Args)]
pub(super) struct Going {
    #[command(flatten)]
    job: Named,
    /// Fail past so many rejected rows, or past a share of them (2%), from now on.
    #[arg(long, value_name = "N|N%")]
    max_rejects: Option<MaxRejects>,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
}

#[derive(Serialize)]
struct Listed {
    jobs: Vec<JobReport>,
}

impl JobsCommand {
    pub(super) fn run(self, context: &Context) -> Result<()> {
        match self {
            JobsCommand::List(list) => list.run(context),
            JobsCommand::Show(named) => named.show(context),
            JobsCommand::Pause(named) => named.act(context, JobAction::Pause),
            JobsCommand::Cancel(named) => named.act(context, JobAction::Cancel),
            JobsCommand::Resume(going) => going.run(context, JobAction::Resume),
            JobsCommand::Retry(going) => going.run(context, JobAction::Retry),
        }
    }
}

impl List {
    fn run(self, context: &Context) -> Result<()> {
        let catalog = context.catalog()?;
        let names = match self.index {
            Some(name) => vec![name],
            None => catalog.names_on_disk()?,
        };
        let mut jobs = Vec::new();
        for name in names {
            jobs.extend(jobs::reports(&*catalog.get(&name)?)?);
        }
        jobs.sort_by_key(|job| std::cmp::Reverse(job.created));
        context.print(&Listed { jobs }, |listed| {
            let lines: Vec<String> = listed.jobs.iter().map(line).collect();
            match lines.is_empty() {
                true => "no jobs".into(),
                false => lines.join("\n"),
            }
        })
    }
}

impl Named {
    fn find(&self, context: &Context) -> Result<(Arc<Index>, Job)> {
        let index = context.catalog()?.get(&self.index)?;
        let job = jobs::find(&index, &self.id)?;
        Ok((index, job))
    }

    fn show(self, context: &Context) -> Result<()> {
        let (index, job) = self.find(context)?;
        context.print(&jobs::report(&index, &job.id)?, in_words)
    }

    fn act(self, context: &Context, action: JobAction) -> Result<()> {
        let (index, job) = self.find(context)?;
        jobs::act(&index, &job.id, action, job.owner, None, &|| true)?;
        context.print(&jobs::report(&index, &job.id)?, line)
    }
}

impl Going {
    fn run(self, context: &Context, action: JobAction) -> Result<()> {
        let (index, job) = self.job.find(context)?;
        // Anywhere else than here nothing runs it.
        let owner = JobOwner::Command;
        let job = jobs::act(&index, &job.id, action, owner, self.max_rejects, &|| true)?;
        let report = run_here(context, &index, &job.id, self.quiet)?;
        context.print(&report, in_words)
    }
}

/// Runs a job in this process, to its end, with progress on standard error. Ctrl-C halts it.
///
/// # Errors
/// What it failed with; an operator's error that says how to go on where it was halted.
pub(super) fn run_here(
    context: &Context,
    index: &Index,
    id: &str,
    quiet: bool,
) -> Result<JobReport> {
    let control = Arc::new(Control::default());
    halt_on_signal(control.clone());
    let show = match quiet {
        true => Show::Nothing,
        false => Show::Auto,
    };
    let reporter = RefCell::new(None);
    let running = Running {
        settings: &context.config.ingest,
        control: &control,
        still: &|| true,
        progress: &|counters| {
            reporter.replace(Some(Reporter::start(counters, show)));
        },
        permitted: &|_| Ok(()),
        rejects: None,
        within: None,
    };
    let mut report = jobs::run(index, id, running)?;
    report.rejects = report.rejects.map(nearby);
    match (report.state, &report.error) {
        (JobState::Done, _) => {
            if let Some(reporter) = reporter.take() {
                reporter.finish();
            }
            // Ending now would throw away the graph that the load made necessary, and the
            // next command would begin it anew.
            index.wait_for_background();
            Ok(report)
        }
        (_, Some(error)) => {
            drop(reporter);
            if !quiet {
                say(&format!(
                    "{} rows were taken up; gleaner jobs retry {} {} goes on behind them",
                    report.summary.rows,
                    index.name(),
                    report.id
                ));
            }
            Err(error.clone().into())
        }
        _ => {
            drop(reporter);
            let what = format!(
                "the job was halted; {} rows were taken up and are safe",
                report.summary.rows
            );
            let how = format!("gleaner jobs resume {} {} goes on", index.name(), report.id);
            Err(Error::operator(what).advice(how))
        }
    }
}

/// A path as it is called from the current folder.
fn nearby(path: PathBuf) -> PathBuf {
    let here = std::env::current_dir();
    let below = here.ok().and_then(|here| path.strip_prefix(here).ok());
    below.map(PathBuf::from).unwrap_or(path)
}

/// Tells people, beside the result.
pub(super) fn say(text: &str) {
    // Whoever reads has left, perhaps: no reason to fail.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// The first Ctrl-C or SIGTERM halts the job, the second ends the process at once: then it goes
/// on from the last batch all the same.
fn halt_on_signal(control: Arc<Control>) {
    let listen = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            stop_signal().await;
            control.tell(Wish::Pause);
            stop_signal().await;
            std::process::exit(130);
        });
    };
    let thread = std::thread::Builder::new().name("signals".into());
    if let Err(error) = thread.spawn(listen) {
        tracing::warn!(%error, "Ctrl-C ends the job at once; it can be resumed all the same");
    }
}

fn line(job: &JobReport) -> String {
    let s = &job.summary;
    format!(
        "{}  {:<9} {}  {}  {} of {} inputs, {} documents, {} rejected",
        job.id,
        state(job),
        job.created.format("%Y-%m-%d %H:%M:%S"),
        job.index,
        s.files,
        job.inputs,
        s.loaded,
        s.rejected
    )
}

fn state(job: &JobReport) -> &'static str {
    match job.interrupted {
        true => "interrupted",
        false => job.state.as_str(),
    }
}

/// All there is to say of a job.
pub(super) fn in_words(job: &JobReport) -> String {
    let mut text = format!(
        "job {} of {}: {}, {} of {} inputs\n{}",
        job.id,
        job.index,
        state(job),
        job.summary.files,
        job.inputs,
        figures(job)
    );
    if let Some(error) = &job.error {
        text += &format!("\n{}: {}", error.code, error.message);
        for (name, value) in [
            ("field", &error.field),
            ("found", &error.found),
            ("expected", &error.expected),
        ] {
            if let Some(value) = value {
                text += &format!("; {name}: {value}");
            }
        }
    }
    text
}

/// What came of its rows.
pub(super) fn figures(job: &JobReport) -> String {
    let s = &job.summary;
    let mut text = format!(
        "{} documents loaded ({} replaced, {} unchanged), {} deleted, {} rows rejected; {} passages, {} tokens, {} cut to the model's length; {:.1} s, {:.0} documents/s",
        s.loaded,
        s.replaced,
        s.unchanged,
        s.deleted,
        s.rejected,
        s.passages,
        s.tokens,
        s.truncated,
        s.seconds,
        s.documents_per_second
    );
    if let Some(path) = &job.rejects {
        text += &format!("\nrejected rows and their reasons: {}", path.display());
    }
    text
}
