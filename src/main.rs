//! The `gleaner` command.

/// Blocks of at least so many bytes are given back to the system as soon as they are free.
///
/// By itself glibc's allocator raises this to the largest block that was ever freed (up to
/// 32 MiB). The batches of a load, whose sizes differ, then lie in its heaps with holes between
/// them that are kept: half as much again as is in use (`make bench-ingest`).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GIVEN_BACK_BYTES: libc::c_int = 256 << 10;

fn main() -> std::process::ExitCode {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: called before there is a second thread; it changes when the allocator gives
    // memory back and nothing else, and does nothing where it refuses.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, GIVEN_BACK_BYTES);
    }
    gleaner::cli::main()
}
