#!/usr/bin/env bash
# What this machine can do at best for an SFU or TURN data plane: builds the limit program, checks it, measures, and
# prints "name: median unit [min..max n=N]". About a minute; traffic stays on 127.0.0.1.
#   LIMIT_ROUNDS=5      rounds; each runs every part once, so that a noisy minute spoils one sample of each
#   LIMIT_ONLY=REGEX    parts: calib crypto lo recv sfu turn path uring
#   LIMIT_AEAD=FILE     libmediaserver_load.a; without it `cargo build --release -p mediaserver-load` makes it
set -euo pipefail
cd "$(dirname "$0")"
rounds=${LIMIT_ROUNDS:-5} only=${LIMIT_ONLY:-.} root=$(cd ../.. && pwd)
export LIMIT_RUN_MS=${LIMIT_RUN_MS:-15}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
archive=${LIMIT_AEAD:-}
if [ -z "$archive" ]; then
    cargo build --release --locked --quiet --manifest-path "$root/rust/Cargo.toml" --package mediaserver-load
    archive=${CARGO_TARGET_DIR:-$root/rust/target}/release/libmediaserver_load.a
fi
./build.sh "$work/limit" "$archive"
limit=$work/limit
part() { [[ $1 =~ $only ]]; }
steal() { awk '/^cpu /{print $9}' /proc/stat; }

echo "machine: $(nproc) CPUs, $(awk -F: '/model name|CPU part/{print $2; exit}' /proc/cpuinfo | xargs), kernel $(uname -r)," \
    "AES-GCM: $("$limit" ciphers | xargs)"
"$limit" check
stolen=$(steal) started=$(date +%s%N)
for ((round = 0; round < rounds; round++)); do
    if part calib; then "$limit" calib; fi
    if part crypto; then "$limit" crypto; fi
    if part lo; then
        LIMIT_SINK=lo "$limit" send 127.0.0.1 drop
        LIMIT_SINK="lo queued" "$limit" send 127.0.0.1 queue brief
        LIMIT_SINK="lo drained" "$limit" send 127.0.0.1 drain brief
    fi
    if part recv; then "$limit" recv; fi
    if part sfu; then
        LIMIT_SINK=lo "$limit" sfu 127.0.0.1 drop
        LIMIT_SINK="lo drained" "$limit" sfu 127.0.0.1 drain brief
    fi
    if part turn; then "$limit" turn; fi
    if part path; then "$limit" path; fi
    if part uring; then LIMIT_SINK=lo "$limit" uring 127.0.0.1 drop; fi
done >"$work/samples"
ms=$((($(date +%s%N) - started) / 1000000))
python3 agg.py <"$work/samples"
echo "steal: $(awk -v a="$stolen" -v b="$(steal)" -v t="$ms" 'BEGIN{printf "%.1f %% of one CPU", (b - a) * 10 / t * 100}')"
