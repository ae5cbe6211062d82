//! The S3 server of the tests by itself, with a bucket `lake`, for checks that are no Rust:
//! prints what a program needs to know to reach it, and the bucket's folder, and serves until
//! its standard input ends.

#[path = "../tests/it/support/s3.rs"]
#[allow(dead_code)]
mod s3;

use std::io::{Read, Write};

fn main() -> std::io::Result<()> {
    let s3 = s3::S3::start("lake");
    let mut out = std::io::stdout();
    for (name, value) in s3.environment() {
        writeln!(out, "{name}={value}")?;
    }
    writeln!(out, "BUCKET={}", s3.bucket().display())?;
    out.flush()?;
    std::io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}
