#!/usr/bin/env bash
# The checks of this repository, the same on a developer's machine and in CI:
#
#   tests/check.sh fast       format, lints, tidy, unit, property and process tests
#   tests/check.sh full       fast, and simulation, loom, docs, dependencies, deploy/
#   tests/check.sh nightly    all pairs of real clients and servers, mutants, long property tests,
#                             fuzzing, benches as smoke tests
#   tests/check.sh STEP...    single steps by name, see the lists below
#
# `rest` is what `full` does beyond `cargo test`. For by hand are `few`, curl, httpx and grpcio
# through the binary in a minute, and `clients`, the usual pairs of real clients and servers, in some
# minutes. A step that cannot be done here prints `skipped: why`; in CI, where .ci/run has installed
# the tools, a missing tool is a failure.
set -euo pipefail
cd "$(dirname "$0")/.."

FAST=(format lint tidy unit process)
REST=(format lint loom docs deny machete deploy)
FULL=(format lint tidy unit process sim loom docs deny machete deploy)
NIGHTLY=(everyone mutants properties fuzz benches)

skip() {
    echo "skipped: $1"
}

# has TOOL: whether it is there; says so where not.
has() {
    command -v "$1" >/dev/null && return
    if [ "${CI:-}" = true ]; then
        echo "failed: \`$1\` is not installed" >&2
        exit 1
    fi
    skip "\`$1\` is not installed"
    return 1
}

# Names of the integration tests: tests/NAME.rs and tests/NAME/main.rs.
integration_tests() {
    local file
    for file in tests/*.rs tests/*/main.rs; do
        [ -e "$file" ] || continue
        file="${file#tests/}"
        file="${file%/main.rs}"
        echo "${file%.rs}"
    done
}

format() {
    cargo fmt --check
}

lint() {
    cargo clippy --locked --all-targets -- -D warnings
}

tidy() {
    cargo test --locked --test tidy
}

# Unit and property tests of every module.
unit() {
    cargo test --locked --lib --bins
}

# Everything through real sockets or the real binary.
process() {
    local name targets=()
    while read -r name; do
        case "$name" in
        tidy | sim) ;;
        *) targets+=(--test "$name") ;;
        esac
    done < <(integration_tests)
    if [ "${#targets[@]}" = 0 ]; then
        skip "there is no process test"
        return
    fi
    cargo test --locked "${targets[@]}"
}

# The request path over in-memory pipes in virtual time.
sim() {
    if [ ! -e tests/sim/main.rs ]; then
        skip "there is no simulation test"
        return
    fi
    cargo test --locked --test sim
}

# Every interleaving of the shells around the policies, in modules named `models`.
loom() {
    if ! grep -rq 'cfg(outrigger_loom)' src; then
        skip "no module has a loom model"
        return
    fi
    # A cfg of our own: `loom` would reach tokio as well. Own folder: the flags rebuild everything.
    RUSTFLAGS="--cfg outrigger_loom" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/loom" LOOM_MAX_PREEMPTIONS=3 \
        cargo test --locked --lib models
}

# With private items, for those who work on it: links to these are fine then.
docs() {
    RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" cargo doc --locked --no-deps --document-private-items
}

# Bans, licences and sources need no network; advisories need a copy of their database.
deny() {
    has cargo-deny || return 0
    cargo deny --offline --locked check bans licenses sources

    local files="${OUTRIGGER_ADVISORY_DB:-../shared/advisory-db}" work clone
    if [ ! -d "$files/crates" ]; then
        skip "advisories: no database at OUTRIGGER_ADVISORY_DB or ../shared/advisory-db"
        return
    fi
    # cargo-deny wants a git clone, under the name that it derives from the address of the
    # database; there is no address here, only files.
    work="$(mktemp -d)"
    clone="$work/advisory-db-3157b0e258782691"
    cp -r "$files" "$clone"
    chmod -R u+w "$clone"
    git -C "$clone" init --quiet
    git -C "$clone" add --all
    git -C "$clone" -c user.name=check -c user.email=check@localhost commit --quiet --message copy
    sed "s,^\[advisories\],&\ndb-path = \"$work\"," .deny.toml >"$work/deny.toml"
    cargo deny --offline --locked --config "$work/deny.toml" check advisories
    rm -rf "$work"
}

# Dependencies that nothing uses.
machete() {
    has cargo-machete || return 0
    cargo machete --with-metadata .
}

deploy() {
    deploy/check.sh
}

# A few real clients and servers through the binary: nothing but curl and packages of PyPI.
few() {
    has python3 || return 0
    has curl || return 0
    cargo build --locked
    tests/clients/run --few
}

# Real clients and servers through the binary; what this machine lacks is skipped with its reason.
clients() {
    has python3 || return 0
    has curl || return 0
    cargo build --locked
    tests/clients/run
}

# The same, every way to every upstream.
everyone() {
    has python3 || return 0
    has curl || return 0
    cargo build --locked
    tests/clients/run --all
}

mutants() {
    has cargo-mutants || return 0
    tests/mutants.sh
}

properties() {
    PROPTEST_CASES="${PROPTEST_CASES:-20000}" cargo test --locked --release --lib
}

# Each fuzz target for FUZZ_SECONDS, from the corpus that is kept; what it finds beyond that is in
# target/fuzz/TARGET, and where the next run goes on. The twins on stable are the integration test
# `fuzz`.
fuzz() {
    has cargo-fuzz || return 0
    if ! cargo +nightly --version >/dev/null 2>&1; then
        skip "there is no nightly toolchain"
        return
    fi
    local target found options
    for target in tests/fuzz/targets/*.rs; do
        target="$(basename "$target" .rs)"
        found="${CARGO_TARGET_DIR:-target}/fuzz/$target"
        mkdir -p "$found"
        options=(-max_total_time="${FUZZ_SECONDS:-60}" -max_len=4096 -verbosity=0)
        if [ -e "tests/fuzz/dictionaries/$target.dict" ]; then
            options+=(-dict="tests/fuzz/dictionaries/$target.dict")
        fi
        cargo +nightly fuzz run --fuzz-dir tests/fuzz "$target" "$found" \
            "tests/fuzz/corpus/$target" -- "${options[@]}"
    done
}

# Each bench once: that it runs, not how fast.
benches() {
    if ! compgen -G 'benches/*.rs' >/dev/null; then
        skip "there is no bench"
        return
    fi
    cargo bench --locked -- --test
}

if [ $# = 0 ]; then
    sed -n '2,/^set/s/^# \{0,1\}//p' "$0" >&2
    exit 64
fi
steps=()
for word in "$@"; do
    case "$word" in
    fast) steps+=("${FAST[@]}") ;;
    full) steps+=("${FULL[@]}") ;;
    rest) steps+=("${REST[@]}") ;;
    nightly) steps+=("${NIGHTLY[@]}") ;;
    format | lint | tidy | unit | process | sim | loom | docs | deny | machete | deploy | \
        few | clients | everyone | mutants | properties | fuzz | benches) steps+=("$word") ;;
    *)
        echo "unknown tier or step: $word" >&2
        exit 64
        ;;
    esac
done
for step in "${steps[@]}"; do
    echo "== $step"
    start=$SECONDS
    # Not in a condition: that would switch `set -e` off inside the step.
    "$step"
    echo "== $step: done in $((SECONDS - start)) s"
done
