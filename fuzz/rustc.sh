#!/bin/sh
# RUSTC_WRAPPER of `make fuzz`: counts what is reached in the crates that read what comes from outside, and
# leaves the others as they are, which makes the build and the runs several times as fast. The flags are
# those of cargo-fuzz; the stable compiler takes them.
counted=" gleaner gleaner_fuzz filter query requests mapping files snapshot_lists vector_files parquet winnow "
rustc=$1
shift
name=
last=
for argument; do
    [ "$last" = --crate-name ] && name=$argument
    last=$argument
done
case "$counted" in
*" $name "*)
    set -- "$@" --cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares -Cllvm-args=-simplifycfg-branch-fold-threshold=0
    ;;
esac
exec "$rustc" "$@"
