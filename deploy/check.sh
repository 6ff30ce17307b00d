#!/usr/bin/env bash
# Checks what is under deploy/, each part with its own tool: `deploy/check.sh [PART...]`, PART one
# of dockerfile, compose, kubernetes, systemd, prometheus, grafana, image (default: all).
# A missing tool is a skip on a developer's machine and a failure in CI, where .ci/run installs it.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
    if [ "${CI:-}" = true ] && [ "${2:-}" = installable ]; then
        echo "failed: $1" >&2
        exit 1
    fi
    echo "skipped: $1"
}

# has TOOL: whether TOOL is there; says so where not.
has() {
    command -v "$1" >/dev/null && return
    skip "\`$1\` is not installed (.ci/run installs it)" installable
    return 1
}

dockerfile() {
    has hadolint || return 0
    hadolint --failure-threshold style Dockerfile
}

compose() {
    has docker-compose || return 0
    docker-compose --file deploy/compose/compose.yaml config --quiet
}

kubernetes() {
    has kubernetes-validate || return 0
    # The oldest version that the manifest is for, and the newest that the tool knows.
    kubernetes-validate --strict --quiet --kubernetes-version 1.29 deploy/kubernetes/*.yaml
    kubernetes-validate --strict --quiet deploy/kubernetes/*.yaml
}

systemd() {
    has systemd-analyze || return 0
    local dir said
    dir="$(mktemp -d)"
    # The binary need not be installed where this is checked.
    sed 's,/usr/bin/outrigger,/bin/true,' deploy/systemd/outrigger.service >"$dir/outrigger.service"
    # It prints a warning for an unknown key and still exits 0: any line is a failure.
    said="$(systemd-analyze verify --man=no "$dir/outrigger.service" 2>&1 || echo "exit code $?")"
    if [ -n "$said" ]; then
        echo "$said" >&2
        return 1
    fi
    # Exposure times ten; 1.2 when this was written.
    systemd-analyze security --offline=true --threshold=15 --no-pager \
        "$dir/outrigger.service" >"$dir/security" || {
        cat "$dir/security" >&2
        return 1
    }
    tail -1 "$dir/security"
    rm -r "$dir"
}

prometheus() {
    has promtool || return 0
    promtool check config --lint=all --lint-fatal deploy/prometheus/scrape.yaml
    promtool check rules --lint=all --lint-fatal deploy/prometheus/alerts.yaml
    promtool test rules deploy/prometheus/alerts_test.yaml
}

# Grafana's own checks need Grafana; the queries are PromQL, and that is where mistakes are made.
grafana() {
    has promtool || return 0
    has python3 || return 0
    local rules
    rules="$(mktemp)"
    # Each query becomes a rule; JSON is YAML as well.
    python3 - deploy/grafana/outrigger.json >"$rules" <<'PYTHON'
import json, sys

dashboard = json.load(open(sys.argv[1]))
targets = [target for panel in dashboard["panels"] for target in panel["targets"]]
queries = [query["expr"] for query in targets + dashboard["annotations"]["list"]]
rules = [
    {"record": f"query:{number}", "expr": query.replace("$__rate_interval", "1m")}
    for number, query in enumerate(queries)
]
json.dump({"groups": [{"name": "dashboard", "rules": rules}]}, sys.stdout)
PYTHON
    promtool check rules --lint=all --lint-fatal "$rules"
    rm "$rules"
}

image() {
    local tool
    for tool in dockerd docker mmdebstrap; do
        if ! command -v "$tool" >/dev/null; then
            skip "container image: \`$tool\` is not installed (.ci/run installs it)" installable
            deploy/image/check.sh --static
            return
        fi
    done
    if [ "$(id -u)" != 0 ]; then
        skip "container image: a dockerd of one's own needs root"
        deploy/image/check.sh --static
        return
    fi
    deploy/image/check.sh
}

for part in "${@:-dockerfile compose kubernetes systemd prometheus grafana image}"; do
    # Unquoted on purpose: the default is a list.
    for name in $part; do
        case "$name" in
        dockerfile | compose | kubernetes | systemd | prometheus | grafana | image)
            echo "== deploy: $name"
            # Not `"$name" || …`: that would switch `set -e` off inside the function.
            "$name"
            ;;
        *)
            echo "unknown part: $name" >&2
            exit 64
            ;;
        esac
    done
done
