#!/usr/bin/env bash
# Builds the image as the Dockerfile says and runs it, without a registry and without a network:
# an own dockerd, base images made from Debian packages and the installed toolchain, and vendored
# crates. Needs root, dockerd and mmdebstrap; `--static` checks the static binary alone.
set -euo pipefail
cd "$(dirname "$0")/../.."

LIMIT=$((20 * 1024 * 1024)) # bytes; the binary is all there is in the image

fail() {
    echo "image: $*" >&2
    exit 1
}

# The binary alone: static, small, and at home in an empty root.
static_binary() {
    local target binary root size
    target="$(rustc --print host-tuple)"
    RUSTFLAGS="-C target-feature=+crt-static" CARGO_PROFILE_RELEASE_STRIP=debuginfo \
        cargo build --release --locked --bin outrigger --target "$target"
    binary="${CARGO_TARGET_DIR:-target}/$target/release/outrigger"
    size="$(stat -c %s "$binary")"
    echo "image: static binary of $((size / 1024)) KiB"
    ((size < LIMIT)) || fail "the binary is over $((LIMIT / 1024 / 1024)) MiB"
    if ldd "$binary" >/dev/null 2>&1; then
        fail "the binary is not static"
    fi
    if [ "$(id -u)" = 0 ]; then
        root="$(mktemp -d)"
        cp "$binary" "$root/outrigger"
        chroot "$root" /outrigger --version || fail "the binary does not run in an empty root"
        rm -r "$root"
    else
        echo "skipped: empty root: chroot needs root"
    fi
}

if [ "${1:-}" = --static ]; then
    static_binary
    exit
fi

# Overlays cannot lie on an overlay: /var/tmp is a plain file system more often than /tmp.
work="$(mktemp -d -p /var/tmp outrigger-image.XXXXXX)"
export DOCKER_HOST="unix://$work/docker.sock" DOCKER_BUILDKIT=0 DOCKER_CONFIG="$work/client"

finish() {
    local pid
    pid="$(cat "$work/docker.pid" 2>/dev/null || true)"
    if [ -n "$pid" ]; then
        kill "$pid" 2>/dev/null || true
        tail --pid="$pid" -f /dev/null || true
    fi
    rm -rf --one-file-system "$work"
}
trap finish EXIT

echo "image: starting dockerd"
dockerd --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/docker.pid" \
    --host "$DOCKER_HOST" --bridge=none --iptables=false --ip6tables=false \
    >"$work/dockerd.log" 2>&1 &
for _ in $(seq 60); do
    docker version >/dev/null 2>&1 && break
    kill -0 $! 2>/dev/null || break
    sleep 0.5
done
if ! docker version >/dev/null 2>&1; then
    tail -5 "$work/dockerd.log" >&2
    fail "dockerd does not start"
fi

echo "image: making the base image"
base="$(sed -n 's/^FROM \(rust:.*\) AS build$/\1/p' Dockerfile)"
version="$(sed -n 's/^ARG RUST_VERSION=//p' Dockerfile)"
base="${base/\$\{RUST_VERSION\}/$version}"
[ -n "$version" ] && [ -n "$base" ] || fail "no base image found in the Dockerfile"
toolchain="$(rustc --print sysroot)"
mmdebstrap --quiet --variant=minbase --include=gcc,libc6-dev \
    --aptopt='Acquire::Languages "none"' bookworm "$work/base.tar"
tar --append --file "$work/base.tar" --directory "$toolchain" \
    --transform 's,^,./opt/rust/,' bin/cargo bin/rustc lib libexec
docker import --change "ENV PATH=/opt/rust/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    "$work/base.tar" "$base" >/dev/null
rm "$work/base.tar"

echo "image: vendoring"
mkdir "$work/context"
# The committed and the new files alike, so that work in progress can be checked.
git ls-files --cached --others --exclude-standard -z |
    tar --create --null --files-from - --ignore-failed-read 2>/dev/null |
    tar --extract --directory "$work/context"
mkdir "$work/context/.cargo"
cargo vendor --quiet --locked --versioned-dirs \
    --manifest-path "$work/context/Cargo.toml" "$work/context/vendor" >/dev/null
cat >"$work/context/.cargo/config.toml" <<'END'
[source.crates-io]
replace-with = "vendored"
[source.vendored]
directory = "vendor"
END

echo "image: building"
docker build --quiet --network none --tag outrigger:check "$work/context"

size="$(docker image inspect --format '{{.Size}}' outrigger:check)"
echo "image: $((size / 1024)) KiB"
((size < LIMIT)) || fail "the image is over $((LIMIT / 1024 / 1024)) MiB"
user="$(docker image inspect --format '{{.Config.User}}' outrigger:check)"
[[ "$user" =~ ^[1-9][0-9]*:[1-9][0-9]*$ ]] || fail "the image runs as \`$user\`"

echo "image: running it read-only, without capabilities, without a network"
mkdir "$work/etc"
cp deploy/image/outrigger.toml "$work/etc/"
docker run --detach --name check --network none --read-only --cap-drop ALL \
    --security-opt no-new-privileges --volume "$work/etc:/etc/outrigger:ro" outrigger:check >/dev/null
for _ in $(seq 60); do
    health="$(docker inspect --format '{{.State.Health.Status}}' check)"
    [ "$health" = starting ] || break
    sleep 0.5
done
if [ "$health" != healthy ]; then
    docker logs check >&2 || true
    fail "the container is $health"
fi
docker stop --time 30 check >/dev/null
code="$(docker inspect --format '{{.State.ExitCode}}' check)"
[ "$code" = 0 ] || fail "the container ended with $code on SIGTERM"
echo "image: healthy, and drained on SIGTERM"
