#!/usr/bin/env bash
# Runs every fuzz target of rust/fuzz for FUZZ_SECONDS (60) each; stops at the first crash and names its input.
# libFuzzer's instrumentation is a nightly feature; RUSTC_BOOTSTRAP lets the installed stable compiler have it.
set -eu
cd "$(dirname "$0")/../rust"
if ! command -v cargo-fuzz >/dev/null; then
    ../scripts/step "cargo-fuzz" cargo install --locked --quiet cargo-fuzz
fi
export RUSTC_BOOTSTRAP=1
for target in $(cargo fuzz list); do
    ../scripts/step "fuzz $target" cargo fuzz run "$target" -- \
        -max_total_time="${FUZZ_SECONDS:-60}" -timeout=5 -rss_limit_mb=2048 -print_final_stats=0 -verbosity=0
done
