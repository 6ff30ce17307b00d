"""What is measured rather than judged in CI: latency of events and leavings, memory under bodies."""

import contextlib
import json
import shutil
import subprocess
import threading

from . import daemon, process, programs, servers, tools

GIB = 1 << 30

# Most that the proxy may grow by under one body of 1 GiB, bytes.
MOST_GROWTH = 32 * 1000 * 1000

# Most that the proxy may add to the time that 99 of 100 events take to come, and to that after which
# the upstream learns of leavings, milliseconds.
LATEST_EVENT, LATEST_LEAVING = 10, 100

WAYS = [
    ("h1", "node-h1"),
    ("h2c", "node-h1"),
    ("h1", "node-h2c"),
    ("h2c", "node-h2c"),
    ("tls1", "node-tls1"),
    ("tls2", "node-tls1"),
    ("tls1", "node-tls2"),
    ("tls2", "node-tls2"),
]

CURL = {
    "h1": ["--http1.1"],
    "h2c": ["--http2-prior-knowledge"],
    "tls1": ["--http1.1"],
    "tls2": ["--http2"],
}


class Peak:
    """The most resident memory of the proxy within the `with` block."""

    def __init__(self, proxy):
        self.proxy, self.most, self._over = proxy, 0, threading.Event()

    def __enter__(self):
        self.before = self.proxy.resident()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        self.growth = self.most - self.before

    def _look(self):
        while not self._over.wait(0.01):
            self.most = max(self.most, self.proxy.resident())


def quantile(values, share):
    """The value below which this share of them is."""
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def figures(values):
    """What is told of latencies, milliseconds."""
    return {name: quantile(values, share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1))}


def written(values):
    return ", ".join(f"{name} {value:.2f}" for name, value in values.items())


def direct(server, name):
    """The same upstream past the proxy, by what it speaks; where the baseline comes from."""
    scheme, host = ("https", "localhost") if name in daemon.SECURE else ("http", "127.0.0.1")
    return {"mode": name, "url": f"{scheme}://{host}:{server.ports[name]}"}


def latency(mode, target, log):
    """Events and leavings of one way, beside those past the proxy; whether they came in time."""
    folder = tools.SCRATCH / "run"
    plan = {"mode": mode, "targets": [target], "ca": str(tools.certificates() / "client.pem")}
    (folder / "plan.json").write_text(json.dumps(plan | {"events": 1000, "leavings": 50}))
    command = [tools.node(), tools.SUITE / "programs/measure.mjs", tools.node_modules()]
    running = process.spawn([*command, folder / "plan.json"], log, stdout=subprocess.PIPE, text=True)
    told = running.communicate()[0]
    fine = True
    for what, latest in (("events", LATEST_EVENT), ("leavings", LATEST_LEAVING)):
        both = json.loads(told)[what] if told else {}
        if not both or not all(both.values()):
            print(f"{mode} to {target['label']}: no {what}, see {log.name}")
            fine = False
            continue
        through, past = figures(both["through"]), figures(both["direct"])
        added = {name: through[name] - past[name] for name in through}
        late = added["p99"] > latest
        fine &= not late
        verdict = f"  adds more than {latest} ms" if late else ""
        count = len(both["through"])
        line = f"{written(through)} ms; direct {written(past)} ms; added {written(added)} ms"
        print(f"{mode} to {target['label']}: {count} {what}: {line}{verdict}", flush=True)
    return fine


def moved(mode, url, way):
    """A GiB by curl: how many seconds it took, and what went wrong."""
    command = ["curl", "--silent", "--show-error", "--noproxy", "*", "--output", "/dev/null"]
    command += ["--cacert", tools.certificates() / "client.pem", *CURL[mode], "--write-out", "%{json}"]
    command += {
        "upload": ["--upload-file", tools.SCRATCH / "run/gib", "-X", "POST", f"{url}/hash"],
        "download": [f"{url}/bytes?n={GIB}"],
        "download at 100 MB/s": ["--limit-rate", "100M", f"{url}/bytes?n={GIB}"],
    }[way]
    done = subprocess.run(command, capture_output=True, text=True, env=process.environment())
    if done.returncode != 0:
        return 0, done.stderr.strip()
    told = json.loads(done.stdout)
    size = max(told["size_download"], told["size_upload"])
    fine = told["response_code"] == 200 and size == GIB
    return told["time_total"], "" if fine else f"status {told['response_code']}, {size} bytes"


def bodies(proxy, mode, target):
    """A GiB each way; whether memory stayed within its bound."""
    fine = True
    for way in ("upload", "download", "download at 100 MB/s"):
        with Peak(proxy) as peak:
            seconds, problem = moved(mode, target["url"], way)
        # That one takes as long as the caller wants.
        past, other = (0, "") if " at " in way else moved(target["direct"]["mode"], target["direct"]["url"], way)
        problem = problem or other or ("above 32 MB" if peak.growth > MOST_GROWTH else "")
        fine &= not problem
        print(
            f"{mode} to {target['label']}: {way} of 1 GiB: resident {peak.before / 1e6:.1f} MB, "
            f"+{peak.growth / 1e6:.1f} MB; {seconds:.1f} s{f', direct {past:.1f} s' if past else ''}"
            f"{'  ' + problem if problem else ''}",
            flush=True,
        )
    return fine


def run(mode=None):
    """Measures all ways, or those of a mode; gives the status to exit with."""
    folder = tools.SCRATCH / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with open(folder / "gib", "wb") as file:
        file.truncate(GIB)
    caller = programs.Program("measure", None, [], ("node",))
    fine = True
    print(f"measuring {tools.outrigger()}")
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(folder / "others.log", "w"))
        node = servers.node(log)
        stack.callback(process.stop, node.process)
        sections = [each(node, name) for name in node.ports for each in (daemon.upstream, daemon.more_listeners)]
        sections.append(daemon.EXTRA.replace("REFUSING", "1"))
        proxy = stack.enter_context(daemon.Daemon(sections, folder, daemon.TIMEOUTS.replace("0s", "0m")))
        ways = [way for way in WAYS if mode in (None, way[0])]
        plans = [(way, caller.targets(way[0], [node], proxy, True)) for way in ways]
        plans = [(mode, {target["label"]: target for target in targets}[label]) for (mode, label), targets in plans]
        for _, target in plans:
            target["direct"] = direct(node, target["port"])
        # All latencies first: not against a proxy that has just had large bodies.
        for mode, target in plans:
            fine &= latency(mode, target, log)
        for mode, target in plans:
            fine &= bodies(proxy, mode, target)
    (folder / "gib").unlink(missing_ok=True)
    print("all within bounds" if fine else "not all within bounds")
    return 0 if fine else 1
