//! Units of `gleaner encode` on a Ballista cluster.
//!
//! `gleaner manifest` writes a row for each unit to a file of its own; `run` asks the cluster
//! for `SELECT encode_shard(source, target, definition)` over these files, which Ballista makes
//! a task each of and spreads over its executors. The function starts the `gleaner` program
//! (see [`unit`]), so that nothing of it is linked here and nothing that a model does can take
//! an executor down.
//!
//! What the answer means does not depend on the engine: a shard is there whole or not at all,
//! and a unit that is run twice, at once or one after the other, makes the same shard.

mod client;
mod cluster;
mod unit;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Run units of gleaner encode on a Ballista cluster.
#[derive(Debug, Parser)]
#[command(name = "gleaner-ballista", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Hand out tasks: one for each cluster. What it knows of jobs is in memory.
    Scheduler {
        /// Address and port to listen on.
        #[arg(long, default_value = "127.0.0.1:50050")]
        listen: String,
        /// Seconds after which an executor that says nothing counts as lost.
        #[arg(long, default_value_t = 10)]
        executor_timeout: u64,
        /// Times that a unit is tried.
        #[arg(long, default_value_t = 4)]
        attempts: usize,
    },
    /// Run tasks: one on each machine.
    Executor {
        /// Host and port of the scheduler.
        #[arg(long, default_value = "127.0.0.1:50050")]
        scheduler: String,
        /// Address to listen on.
        #[arg(long, default_value = "127.0.0.1")]
        bind: String,
        /// Name or address by which others reach this machine [default: --bind].
        #[arg(long)]
        external_host: Option<String>,
        /// Ports to listen on: this one and the next.
        #[arg(long, default_value_t = 50051)]
        port: u16,
        /// Units run at once. One uses all cores for most of its time.
        #[arg(long, default_value_t = 1)]
        units: usize,
        /// The gleaner program. Models and credentials are found as it finds them: by
        /// GLEANER_MODELS, AWS_* and so on, in the environment of the executor.
        #[arg(long, env = "GLEANER_PROGRAM", default_value = "gleaner")]
        gleaner: PathBuf,
    },
    /// Run the units of a manifest, and print what became of each as a line of JSON.
    Run {
        /// URL of the scheduler.
        #[arg(long, default_value = "df://127.0.0.1:50050")]
        scheduler: String,
        /// The folder `units` that gleaner manifest has written, by a path that every executor
        /// knows it by.
        units: PathBuf,
    },
}

fn main() -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("warn")).init();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // A thread waits for each unit; those that answer the scheduler are beside them.
        .worker_threads(8)
        // Plans are walked by recursion.
        .thread_stack_size(16 << 20)
        .build();
    let done = runtime
        .map_err(|e| format!("cannot start threads: {e}"))
        .and_then(|runtime| runtime.block_on(run(Cli::parse().command)));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("gleaner-ballista: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<(), String> {
    match command {
        Command::Scheduler {
            listen,
            executor_timeout,
            attempts,
        } => cluster::scheduler(&listen, executor_timeout, attempts).await,
        Command::Executor {
            scheduler,
            bind,
            external_host,
            port,
            units,
            gleaner,
        } => {
            let place = cluster::Place {
                bind,
                external_host,
                port,
            };
            cluster::executor(&scheduler, place, units, gleaner).await
        }
        Command::Run { scheduler, units } => client::run(&scheduler, &units).await,
    }
}
