"""What is measured rather than judged in CI: latency of events and leavings, memory under bodies."""

import contextlib
import json
import shutil
import subprocess
import threading
import time

from . import daemon, process, programs, servers, tools

GIB = 1 << 30

# Most that the proxy may grow by under one body of 1 GiB, bytes.
MOST_GROWTH = 32 * 1000 * 1000

# Latest that 99 of 100 events may come, and that the upstream may learn of leavings, milliseconds.
LATEST_EVENT, LATEST_LEAVING = 10, 100

WAYS = [
    ("h1", "node-h1"),
    ("h2c", "node-h1"),
    ("h1", "node-h2c"),
    ("h2c", "node-h2c"),
    ("tls1", "node-tls1"),
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


def latency(mode, target, log):
    """Events and leavings of one way; whether they came in time."""
    folder = tools.SCRATCH / "run"
    plan = {"mode": mode, "targets": [target], "ca": str(tools.certificates() / "client.pem")}
    (folder / "plan.json").write_text(json.dumps(plan | {"events": 1000, "leavings": 50}))
    command = [tools.node(), tools.SUITE / "programs/measure.mjs", tools.node_modules()]
    running = process.spawn([*command, folder / "plan.json"], log, stdout=subprocess.PIPE, text=True)
    told = json.loads(running.communicate()[0])
    fine = True
    for what, latest in (("events", LATEST_EVENT), ("leavings", LATEST_LEAVING)):
        values = told[what]
        if not values:
            print(f"{mode} to {target['label']}: no {what}, see {log.name}")
            fine = False
            continue
        figures = {name: quantile(values, share) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1))}
        line = ", ".join(f"{name} {value:.2f} ms" for name, value in figures.items())
        late = figures["p99"] > latest
        fine &= not late
        verdict = f"  above {latest} ms" if late else ""
        print(f"{mode} to {target['label']}: {len(values)} {what}: {line}{verdict}", flush=True)
    return fine


def bodies(proxy, mode, target):
    """A GiB each way; whether memory stayed within its bound."""
    big = tools.SCRATCH / "run/gib"
    with open(big, "wb") as file:
        file.truncate(GIB)
    common = ["curl", "--silent", "--show-error", "--noproxy", "*", "--output", "/dev/null"]
    common += ["--cacert", tools.certificates() / "client.pem", *CURL[mode], "--write-out", "%{json}"]
    ways = {
        "upload": ["--upload-file", big, "-X", "POST", f"{target['url']}/hash"],
        "download": [f"{target['url']}/bytes?n={GIB}"],
        "download at 100 MB/s": ["--limit-rate", "100M", f"{target['url']}/bytes?n={GIB}"],
    }
    fine = True
    for way, arguments in ways.items():
        subprocess.run([*common, f"{target['url']}/hello"], capture_output=True, check=True, env=process.environment())
        began = time.monotonic()
        with Peak(proxy) as peak:
            done = subprocess.run([*common, *arguments], capture_output=True, text=True, env=process.environment())
        seconds = time.monotonic() - began
        passed = done.returncode == 0
        if passed:
            figures = json.loads(done.stdout)
            moved = max(figures["size_download"], figures["size_upload"])
            passed = figures["response_code"] == 200 and moved == GIB
        within = passed and peak.growth <= MOST_GROWTH
        fine &= within
        verdict = "" if within else "  above 32 MB" if passed else f"  failed: {done.stderr.strip()}"
        print(
            f"{mode} to {target['label']}: {way} of 1 GiB: {seconds:.1f} s, resident "
            f"{peak.before / 1e6:.1f} MB, +{peak.growth / 1e6:.1f} MB{verdict}",
            flush=True,
        )
    return fine


def run():
    """Measures all ways; gives the status to exit with."""
    folder = tools.SCRATCH / "run"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    caller = programs.Program("measure", None, [], ("node",))
    fine = True
    print(f"measuring {tools.outrigger()}")
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(open(folder / "others.log", "w"))
        node = servers.node(log)
        stack.callback(process.stop, node.process)
        sections = [each(node, name) for name in node.ports for each in (daemon.upstream, daemon.edge)]
        proxy = stack.enter_context(daemon.Daemon(sections, folder))
        for mode, label in WAYS:
            for target in caller.targets(mode, [node], proxy):
                if target["label"] == label:
                    fine &= latency(mode, target, log)
                    fine &= bodies(proxy, mode, target)
    (folder / "gib").unlink(missing_ok=True)
    return 0 if fine else 1
