//! What the system says of this process, under the names that Prometheus's clients share.

use super::gauges::Sheet;

/// Notes memory, files, threads and time of this process, as far as the system says.
#[cfg(target_os = "linux")]
pub(super) fn note(sheet: &mut Sheet) {
    use procfs::process::{LimitValue, Process};
    use procfs::{WithCurrentSystemInfo, boot_time_secs, ticks_per_second};

    let Ok(process) = Process::myself() else {
        return;
    };
    if let Ok(stat) = process.stat() {
        let ticks = ticks_per_second().max(1) as f64;
        let bytes = stat.rss_bytes().get();
        sheet.add("process_resident_memory_bytes", [], bytes as f64);
        sheet.add("process_virtual_memory_bytes", [], stat.vsize as f64);
        sheet.add("process_threads", [], stat.num_threads as f64);
        let busy = (stat.utime + stat.stime) as f64 / ticks;
        sheet.add("process_cpu_seconds_total", [], busy);
        if let Ok(boot) = boot_time_secs() {
            let started = boot as f64 + stat.starttime as f64 / ticks;
            sheet.add("process_start_time_seconds", [], started);
        }
    }
    if let Ok(files) = process.fd_count() {
        sheet.add("process_open_fds", [], files as f64);
    }
    if let Ok(limits) = process.limits()
        && let LimitValue::Value(most) = limits.max_open_files.soft_limit
    {
        sheet.add("process_max_fds", [], most as f64);
    }
}

/// Notes nothing: other systems are asked in other ways.
#[cfg(not(target_os = "linux"))]
pub(super) fn note(_sheet: &mut Sheet) {}
