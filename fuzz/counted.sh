#!/bin/sh
# A RUSTC_WRAPPER for a stable toolchain: counts the edges of the crate under test and of the targets, as cargo-fuzz does.
case "$*" in
*"--crate-name counterflow "* | *"fuzz_targets/"*)
    exec "$@" -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares ;;
*) exec "$@" ;;
esac
