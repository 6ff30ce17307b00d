#!/usr/bin/env bash
# Changes the pure modules at every place, one at a time, and asks that a test notices. What none
# can or need notice is listed in tests/mutants.txt, with the reason: a mutant that survives and is
# not listed is a failure, and so is one that is listed and does not survive.
#
#   tests/mutants.sh             all modules
#   tests/mutants.sh MODULE...   these, as in `balance` or `resilience/retry`
#
# To build the whole proxy for each of them would take days. These modules need nothing of it, and
# little of each other: each is tried in a crate of its own under target/mutants, so that its own
# tests have to notice. What cargo-mutants says is left beside it.
set -euo pipefail
cd "$(dirname "$0")/.."

work="$PWD/target/mutants"
rm -rf "$work"
mkdir -p "$work/empty/src"

# Their dependencies, built once.
line() {
    grep -m 1 "^$1 = " Cargo.toml
}
cat >"$work/empty/Cargo.toml" <<TOML
[package]
name = "mutants"
version = "0.0.0"
$(line edition)

[dependencies]
$(line fastrand)

[dev-dependencies]
$(line proptest)

# The simulations take longer to run than to optimise.
[profile.dev]
debug = false
opt-level = 1

[workspace]
TOML
cp Cargo.lock "$work/empty"
touch "$work/empty/src/lib.rs"
unset CARGO_TARGET_DIR
cargo update --quiet --offline --workspace --manifest-path "$work/empty/Cargo.toml"
cargo test --quiet --offline --lib --no-run --manifest-path "$work/empty/Cargo.toml"

# try MODULE: all its mutants, one after the other.
try() {
    local module="$1" crate="$work/$1" status=0
    mkdir -p "$(dirname "$crate")"
    cp -a "$work/empty" "$crate"
    cp -R src/resilience src/balance "$crate/src"
    # `retry` has its statuses from `classify`.
    sed -i -E "/^pub mod/{/ (classify|${module#*/});/!d}" "$crate/src/resilience/mod.rs"
    {
        echo "pub mod ${module%/*};"
        # The clock is all that the tests take from elsewhere.
        echo '#[cfg(test)] mod time { pub(crate) fn now() -> std::time::Instant { std::time::Instant::now() } }'
    } >"$crate/src/lib.rs"
    # One that allocates for ever is to fail, not to swap.
    ulimit -v $((8 * 1024 * 1024))
    # 2: there are survivors. 3: some did not end, which is noticing too.
    cargo mutants --in-place --no-shuffle --no-times --colors never --timeout 20 \
        --dir "$crate" --output "$crate" --file "src/$module.rs" --file "src/$module/**" -- --lib || status=$?
    case $status in 0 | 2 | 3) ;; *) exit 255 ;; esac
    rm -rf "$crate/target"
}
export -f try
export work

modules=("$@")
if [ $# = 0 ]; then
    mapfile -t modules < <(sed -n 's,^pub mod \(.*\);,resilience/\1,p' src/resilience/mod.rs)
    modules+=(balance)
fi
# The same cases in each run: a mutant that is noticed by luck would come and go.
export PROPTEST_RNG_SEED=1 PROPTEST_CASES=64 PROPTEST_MAX_SHRINK_ITERS=0 PROPTEST_DISABLE_FAILURE_PERSISTENCE=1
printf '%s\n' "${modules[@]}" | xargs -P "${MUTANTS_JOBS:-2}" -I '{}' bash -euo pipefail -c 'try {}'

# Each by its file, its name and the line that it changes, as line numbers move with every edit.
for module in "${modules[@]}"; do
    while IFS=: read -r file line _ name; do
        echo "$file:$name:$(sed -n "$line s/^ */ /p" "$file")"
    done <"$work/$module/mutants.out/missed.txt"
done | LC_ALL=C sort >"$work/survived"
for module in "${modules[@]}"; do
    grep "^src/$module[./]" tests/mutants.txt || [ $? = 1 ]
done | LC_ALL=C sort >"$work/listed"
{
    LC_ALL=C comm -13 "$work/listed" "$work/survived" | sed 's/^/survives, is not listed: /'
    LC_ALL=C comm -23 "$work/listed" "$work/survived" | sed 's/^/is listed, does not survive: /'
} >"$work/wrong"
cat "$work/wrong" >&2
[ ! -s "$work/wrong" ]
