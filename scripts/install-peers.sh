#!/usr/bin/env bash
# Installs the real peers that the tests talk to, where they are missing: Debian's packages, nothing upgraded, and SIP
# clients for web pages from npm, by the hashes of their lock file.
set -eu

# command, and the package that has it
wanted=(
    "chromium chromium"
    "firefox-esr firefox-esr"
    "baresip baresip"
    "sipp sip-tester"
    "kamailio kamailio"
    "ip iproute2"
    "nft nftables"
    "tshark tshark"
    "sipsak sipsak"
    "npm npm"
    "linphonec linphone-cli"
    "turnutils_uclient coturn"
    "unshare util-linux"
    "systemd-analyze systemd"
)
# files, for packages without a command of their own
wanted_files=(
    "/usr/lib/baresip/modules/avcodec.so baresip-ffmpeg"
    "/usr/lib/x86_64-linux-gnu/kamailio/modules/tls.so:/usr/lib/aarch64-linux-gnu/kamailio/modules/tls.so kamailio-tls-modules"
    "/usr/lib/x86_64-linux-gnu/kamailio/modules/outbound.so:/usr/lib/aarch64-linux-gnu/kamailio/modules/outbound.so kamailio-outbound-modules"
)

missing=()
for line in "${wanted[@]}"; do
    read -r command package <<<"$line"
    PATH=$PATH:/usr/sbin:/sbin command -v "$command" >/dev/null || missing+=("$package")
done
for line in "${wanted_files[@]}"; do
    read -r files package <<<"$line"
    found=
    for file in ${files//:/ }; do
        [ -e "$file" ] && found=yes
    done
    [ -n "$found" ] || missing+=("$package")
done
step=$(dirname "$0")/step
if [ ${#missing[@]} -ne 0 ]; then
    if ! command -v apt-get >/dev/null; then
        echo "These peers are missing, and there is no apt-get here to install them: ${missing[*]}" >&2
        exit 1
    fi
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "These peers are missing: run as root: apt-get install --no-install-recommends ${missing[*]}" >&2
            exit 1
        fi
        as_root=(sudo)
    fi
    "$step" "apt-get update" "${as_root[@]}" apt-get update -qq
    "$step" "peers: ${missing[*]}" "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get install -y -qq --no-install-recommends --no-upgrade "${missing[@]}"
fi

clients=$(dirname "$0")/../tests/peers/sip_clients
if ! cmp -s "$clients/package-lock.json" "$clients/node_modules/installed.json"; then
    "$step" "peers: SIP clients for web pages" npm ci --silent --prefix "$clients"
    cp "$clients/package-lock.json" "$clients/node_modules/installed.json"
fi
