"""Certificates, keys and roots that are swapped on both sides while calls go on."""

import json
import shutil
import subprocess
import threading
import time

from . import build, figures
from .daemon import Daemon
from .pairs import Authority, Secret, replace
from .process import Others, spawn, stop

# Nothing that fails is hidden by a second try, and nobody is refused for want of a slot: on a busy
# machine callers and upstream, which share a process, stall together.
CONFIG = """
[upstreams.api]
endpoints = ["https://localhost:{port}"]
retry = false
tls = {{ ca = "{roots}", cert = "{client.cert}", key = "{client.key}" }}
bulkhead = {{ max_requests = 5000, max_connections = 200 }}
breaker = {{ mode = "off" }}
[[listeners]]
name = "edge"
address = "127.0.0.1:0"
routes = [{{ upstream = "api" }}]
tls = {{ cert = "{server.cert}", key = "{server.key}" }}
"""

WAYS = ("edit", "rename", "symlink")
# Seconds until a new pair is shown: files are looked at every two, and one for a busy machine.
WITHIN = 3.0
# Seconds of calls before the first swap and after each.
QUIET, SETTLED = 4.0, 1.0
TAKEN = {
    "listener": 'listener="edge",result="taken"',
    "upstream": 'result="taken",upstream="api"',
}
PHASES = {
    "before": "before the first swap",
    "swap": "around swaps",
    "calm": "between them",
    "late": "the load's own delay",
}
REFUSED = "TLS files refused, those before them stay in use"


class Files:
    """Certificates, keys and roots of a run."""

    def __init__(self, swaps):
        folder = build.SCRATCH / "tls-swap"
        shutil.rmtree(folder, ignore_errors=True)
        # Callers trust the edge's CA; the upstream's is exchanged for another one on the way.
        self.edge, self.own, self.before, self.after = (
            Authority(folder / name, name) for name in ("edge", "own", "before", "after")
        )
        first, *self.pairs = [(self.edge.pair(), self.own.pair()) for _ in range(swaps + 1)]
        self.server = Secret(folder / "server", first[0])
        self.client = Secret(folder / "client", first[1])
        self.roots = folder / "roots.pem"
        self.trust(self.before)

    def trust(self, *authorities):
        """Says which CAs sign the upstream's certificates."""
        replace(self.roots, b"".join(each.cert.read_bytes() for each in authorities))


class Load:
    """Callers and upstream, for as long as the `with` block runs."""

    def __init__(self, rate, files):
        command = [build.SWAPLOAD, rate, files.edge.cert, files.own.cert, files.before.pair().cert]
        pipe = subprocess.PIPE
        self.process = spawn(command, None, stdin=pipe, stdout=pipe, text=True)
        self.port = json.loads(self.process.stdout.readline())["upstream"]
        # When each side first showed a certificate, by its DER.
        self.first = {"listener": {}, "upstream": {}}
        self.failed, self.result = [], None
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        stop(self.process)

    def _read(self):
        for text in self.process.stdout:
            line = json.loads(text)
            if "shown" in line:
                der = bytes.fromhex(line["certificate"])
                self.first[line["shown"]][der] = time.monotonic()
            elif "failed" in line:
                self.failed.append(line)
            else:
                self.result = line

    def tell(self, line):
        """Has it do something."""
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end(self):
        """Ends the calls; returns what was counted."""
        self.process.stdin.close()
        self._reader.join(20)
        return self.result


class Run:
    """One run, and whether all that is promised held so far."""

    def __init__(self, files, load, daemon):
        self.files, self.load, self.daemon = files, load, daemon
        self.took, self.good = {"listener": [], "upstream": []}, True

    def claim(self, text, holds):
        """Prints whether a promise holds."""
        self.good &= figures.claim(text, bool(holds))

    def swap_all(self):
        """Swaps each pair, the roots on the way, and one pair that is none."""
        files, count = self.files, len(self.files.pairs)
        for number, pairs in enumerate(files.pairs):
            # As one exchanges a CA: trust both, change the certificate, trust the new one.
            if number == count // 4:
                files.trust(files.before, files.after)
            elif number == count // 2:
                self.load.tell(f"use {files.after.pair().cert}")
            elif number == 3 * count // 4:
                files.trust(files.after)
            self._swap(number, *pairs)
            if number == count // 2:
                self._spoil(pairs[0])

    def _swap(self, number, server, client):
        way = WAYS[number % len(WAYS)]
        self.load.tell("phase swap")
        put = []
        for side, secret, pair in (
            ("listener", self.files.server, server),
            ("upstream", self.files.client, client),
        ):
            getattr(secret, way)(pair)
            put.append((side, pair.der, time.monotonic()))
        told = []
        for side, der, whole in put:
            seconds = max(0.0, self._until(lambda: self.load.first[side].get(der)) - whole)
            self.took[side].append(seconds)
            told.append(f"{side} after {seconds:.2f} s")
        figures.line(f"swap {number + 1} by {way}", ", ".join(told))
        time.sleep(SETTLED)
        self.load.tell("phase calm")

    def _spoil(self, good):
        """Puts a certificate beside a key that is not its own, and takes it away again."""
        cert = self.files.server.cert.resolve()
        bad, before = self.files.edge.pair(), len(self.daemon.logged(REFUSED))
        replace(cert, bad.cert.read_bytes())
        self._until(lambda: len(self.daemon.logged(REFUSED)) > before)
        # Over one more look, which says nothing new.
        time.sleep(WITHIN)
        lines = self.daemon.logged(REFUSED)[before:]
        figures.line("a bad pair", lines[0]["problem"] if lines else "nothing was logged")
        shown = bad.der in self.load.first["listener"]
        text = f"it is refused, reported once ({len(lines)}) and never shown"
        self.claim(text, len(lines) == 1 and not shown)
        replace(cert, good.cert.read_bytes())
        time.sleep(WITHIN)

    def _until(self, look):
        """Waits until `look` returns something; endless where it does not for long."""
        end = time.monotonic() + 4 * WITHIN
        while time.monotonic() < end:
            if found := look():
                return found
            time.sleep(0.01)
        return float("inf")

    def judge(self, result):
        """Prints what was counted and what of it holds."""
        took = result["took"]
        kinds = sorted(set(took) - set(PHASES))
        for kind in [*kinds, *(phase for phase in PHASES if phase in took)]:
            calls, p50, p99, most = took[kind]
            text = f"{calls:6} calls, p50 {p50:.2f} ms, p99 {p99:.2f} ms, at most {most:.1f} ms"
            figures.line(PHASES.get(kind, kind), text)
        listener, upstream = result["handshakes"]
        text = f"{listener} of callers ({result['resumed']} of {result['offered']} sessions offered"
        figures.line("handshakes", f"{text} taken up), {upstream} with the upstream")
        for each in self.load.failed[:10]:
            figures.line(f"error: {each['failed']}", each["problem"])
        self.claim(f"{result['errors']} errors in {result['made']} requests", not result["errors"])
        kept = result["kept"]
        self.claim(f"{result['closed']} of {kept} kept connections were closed", not result["closed"])
        for side, took in self.took.items():
            text = f"each new pair is shown within {WITHIN:g} s, the slowest in {max(took):.2f} s"
            self.claim(f"{side}: {text}", max(took) <= WITHIN)
        for side, back in zip(self.took, result["back"], strict=True):
            self.claim(f"{side}: {back} handshakes had an older pair than one before", not back)
        # The roots changed as well, beside two of the pairs or in a look of their own.
        for side, label in TAKEN.items():
            taken = self.daemon.metric("outrigger_tls_reloads_total", label)
            self.claim(f"{side}: {taken:.0f} changes were taken up", taken >= len(self.took[side]))
        for side in ("downstream", "upstream"):
            failed = self.daemon.metric(f"outrigger_{side}_tls_failures_total")
            self.claim(f"{failed:.0f} handshakes failed {side}", not failed)


def run(rate, swaps):
    """Measures; returns whether what is promised held."""
    files = Files(swaps)
    with Load(rate, files) as load:
        config = CONFIG.format(
            port=load.port, roots=files.roots, client=files.client, server=files.server
        )
        with Daemon("tls-swap", config) as daemon:
            others = Others([daemon.process.pid, load.process.pid])
            figures.title(f"{swaps} swaps under {rate:g} requests a second")
            load.tell(f"start {daemon.port('edge')}")
            time.sleep(QUIET)
            run = Run(files, load, daemon)
            run.swap_all()
            run.judge(load.end())
            figures.others(others.so_far())
    return run.good
