#!/usr/bin/env bash
# Mutants of the pure modules: changes them at every place, one at a time, and asks that a test
# notices. What no test can or need notice is listed with its reason in tests/mutants.txt; a
# survivor that is not listed is a failure, and so is a listed one that survives no more.
#
#   tests/mutants.sh             all
#   tests/mutants.sh GLOB...     these files only, as src/resilience/retry.rs
#
# Building the whole proxy for each of them would take a night. They need nothing of it, so they
# are tried in a crate of their own under target/mutants; the results are in target/mutants-out.
set -euo pipefail
cd "$(dirname "$0")/.."

crate=target/mutants
out=target/mutants-out
rm -rf "$crate" "$out"
mkdir -p "$crate/src"
cp -R src/resilience src/balance "$crate/src"

# The clock is what their tests take from elsewhere.
cat >"$crate/src/lib.rs" <<'RUST'
pub mod balance;
pub mod resilience;
#[cfg(test)]
mod time {
    pub(crate) use std::time::Instant;
    pub(crate) fn now() -> Instant {
        Instant::now()
    }
}
RUST
dependency() {
    grep -m 1 "^$1 = " Cargo.toml
}
cat >"$crate/Cargo.toml" <<TOML
[package]
name = "mutants"
version = "0.0.0"
$(dependency edition)

[dependencies]
$(dependency fastrand)

[dev-dependencies]
$(dependency proptest)

# The simulations take longer to run than to optimise.
[profile.dev]
debug = false
opt-level = 1

[workspace]
TOML
cp Cargo.lock "$crate"
cargo update --quiet --workspace --offline --manifest-path "$crate/Cargo.toml"

files=("$@")
[ $# = 0 ] && files=('src/resilience/**' 'src/balance/**')

# The same cases in each run: a mutant that is noticed by luck would come and go.
export PROPTEST_RNG_SEED=1 PROPTEST_CASES=64 PROPTEST_MAX_SHRINK_ITERS=0 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1
# Each job builds in its own copy of the crate. One that allocates for ever is to fail, not to swap.
unset CARGO_TARGET_DIR
ulimit -v $((8 * 1024 * 1024))
# 2: there are survivors. 3: some did not end, which is noticing too.
status=0
cargo mutants --manifest-path "$crate/Cargo.toml" --gitignore false --output "$out" --no-shuffle \
    --jobs "${MUTANTS_JOBS:-2}" --timeout "${MUTANTS_TIMEOUT:-30}" "${files[@]/#/--file=}" -- --lib || status=$?
case $status in
0 | 2 | 3) ;;
*) exit "$status" ;;
esac

# Without the places, which move with every edit.
grep -v '^\(#\|$\)' tests/mutants.txt | sort >"$out/listed"
sed 's/:[0-9]*:[0-9]*:/:/' "$out/mutants.out/missed.txt" | sort >"$out/survived"
{
    comm -13 "$out/listed" "$out/survived" | sed 's/^/survives and is not listed: /'
    # Of some files only, the rest of the list was not tried.
    [ $# -gt 0 ] || comm -23 "$out/listed" "$out/survived" | sed 's/^/is listed and does not survive: /'
} >"$out/wrong"
if [ -s "$out/wrong" ]; then
    cat "$out/wrong" >&2
    exit 1
fi
