#!/bin/sh
# Builds the limit program; usage: build.sh OUTPUT [ENGINE_ARCHIVE]
# ENGINE_ARCHIVE is libmediaserver_load.a of `cargo build --release -p mediaserver-load`; without it the cipher "engine"
# is missing. libsrtp2 and liburing are used where their headers are installed.
set -eu
output=$1 archive=${2:-} flags="" libraries="-lcrypto"
if [ -n "$archive" ]; then flags="-DHAVE_ENGINE_AEAD" libraries="$archive $libraries -lpthread -ldl -lm"; fi
if [ -e /usr/include/srtp2/srtp.h ]; then flags="$flags -DHAVE_SRTP" libraries="$libraries -lsrtp2"; fi
if [ -e /usr/include/liburing.h ]; then flags="$flags -DHAVE_URING" libraries="$libraries -luring"; fi
cd "$(dirname "$0")"
# shellcheck disable=SC2086
exec ${CC:-cc} -O3 -std=gnu11 -Wall -Wextra -Wno-deprecated-declarations $flags -o "$output" ./*.c $libraries
