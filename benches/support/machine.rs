//! What processes use, as Linux tells it.

use std::time::Instant;

use anyhow::{Context, Result};

/// Ticks a second in /proc (USER_HZ), fixed for programs on every Linux.
const TICKS: f64 = 100.0;

/// What a process has used up to now.
#[derive(Debug, Clone, Copy, Default)]
pub struct Usage {
    /// Seconds of processor time, of all its threads.
    pub cpu: f64,
    /// Its largest resident memory in MB (10^6 bytes), ever; 0 once it has ended.
    pub peak_mb: f64,
}

impl Usage {
    /// Of this process.
    pub fn own() -> Result<Usage> {
        Usage::of(std::process::id())
    }

    /// Of another process that has not been waited for.
    pub fn of(pid: u32) -> Result<Usage> {
        let stat = read(&format!("/proc/{pid}/stat"))?;
        // The name, in brackets, may hold anything; what follows it is numbers.
        let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
        let cpu = after
            .split_ascii_whitespace()
            .skip(11)
            .take(2)
            .map(|ticks| ticks.parse::<f64>().unwrap_or_default())
            .sum::<f64>()
            / TICKS;
        let status = read(&format!("/proc/{pid}/status"))?;
        let peak_kib = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().strip_suffix(" kB"))
            .and_then(|kib| kib.trim().parse::<f64>().ok())
            .unwrap_or_default();
        Ok(Usage {
            cpu,
            peak_mb: peak_kib * 1024.0 / 1e6,
        })
    }
}

/// Memory of this process that is resident now, in MB (10^6 bytes).
pub fn resident_mb() -> Result<f64> {
    let status = read("/proc/self/status")?;
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .and_then(|kib| kib.trim().parse::<f64>().ok())
        .context("no VmRSS")?;
    Ok(kib * 1024.0 / 1e6)
}

/// Processor time of the whole machine over a while, to tell how much others took.
pub struct Watch {
    began: Instant,
    busy: f64,
}

impl Watch {
    pub fn start() -> Result<Watch> {
        Ok(Watch {
            busy: busy()?,
            began: Instant::now(),
        })
    }

    /// Seconds since the start.
    pub fn wall(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// Cores that were busy since the start with anything but `cpu` seconds of ours.
    pub fn others(&self, cpu: f64) -> Result<f64> {
        Ok(((busy()? - self.busy - cpu) / self.wall().max(1e-3)).max(0.0))
    }
}

/// Seconds that all cores together have worked since the machine started; what the
/// machine's own host took from it counts as work of others.
fn busy() -> Result<f64> {
    let stat = read("/proc/stat")?;
    let all: Vec<f64> = stat
        .lines()
        .next()
        .unwrap_or_default()
        .split_ascii_whitespace()
        .skip(1)
        .map(|ticks| ticks.parse().unwrap_or_default())
        .collect();
    // user nice system idle iowait irq softirq steal; guest time is in user already.
    let of = |n: usize| all.get(n).copied().unwrap_or_default();
    Ok((of(0) + of(1) + of(2) + of(5) + of(6) + of(7)) / TICKS)
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| format!("reading {path}"))
}
