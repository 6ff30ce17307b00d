"""Outrigger as a child with its log read, and callers made of bare sockets."""

import asyncio
import json
import subprocess
import threading
import time
import urllib.request
from datetime import datetime

from . import build
from .process import spawn, stop

SETTINGS = """
[admin]
listen = "off"
[metrics]
listen = "127.0.0.1:0"
[access_log]
mode = "off"
[log]
format = "json"
"""


class Daemon:
    """The release binary, on free ports, for as long as the `with` block runs."""

    def __init__(self, name, upstreams, cpus=frozenset()):
        folder = build.SCRATCH / "daemon"
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / f"{name}.toml"
        config.write_text(SETTINGS + upstreams)
        command = [build.outrigger(), "run", "--config", config]
        pipe = subprocess.PIPE
        self.process = spawn(command, pipe, cpus, stdout=subprocess.DEVNULL, text=True)
        self.lines = []
        self._ready = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self):
        if not self._ready.wait(10) or self.process.poll() is not None:
            stop(self.process)
            raise RuntimeError(f"the daemon did not start: {self.lines}")
        return self

    def __exit__(self, *_):
        stop(self.process)

    def _read(self):
        for text in self.process.stderr:
            try:
                line = json.loads(text)
            except ValueError:
                line = {"message": text}
            self.lines.append(line)
            if line.get("message") == "ready":
                self._ready.set()
        self._ready.set()

    def logged(self, message):
        """Log lines with this message so far."""
        return [line for line in self.lines if line.get("message") == message]

    def port(self, listener):
        """Where a listener is."""
        found = [line for line in self.logged("listening") if line["listener"] == listener]
        return int(found[0]["address"].rpartition(":")[2])

    def metric(self, name, label=""):
        """The sum of all series of a metric that have this label (`class="live"`)."""
        url = f"http://127.0.0.1:{self.port('metrics')}/metrics"
        with urllib.request.urlopen(url, timeout=5) as response:
            lines = response.read().decode().splitlines()
        own = [line for line in lines if line.startswith((name + "{", name + " "))]
        own = [line for line in own if label in line]
        return sum(float(line.rpartition(" ")[2]) for line in own)


def logged_at(line):
    """When a line was logged, in seconds since the epoch."""
    return datetime.fromisoformat(line["timestamp"]).timestamp()


class Caller:
    """A connection of a caller, kept as long as both sides keep it."""

    def __init__(self, port):
        self.port = port
        self.streams = None

    async def call(self, request):
        """Sends a request; returns status, reason and seconds taken, connecting included."""
        began = time.monotonic()
        try:
            if self.streams is None:
                self.streams = await asyncio.open_connection("127.0.0.1", self.port)
            reader, writer = self.streams
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
            await reader.readexactly(int(field(head, "content-length") or 0))
        except (OSError, asyncio.IncompleteReadError) as problem:
            self.close()
            return 0, repr(problem), time.monotonic() - began
        if field(head, "connection") == "close":
            self.close()
        return int(head.split()[1]), reason(head), time.monotonic() - began

    def close(self):
        """Closes the connection, if there is one."""
        if self.streams:
            self.streams[1].close()
        self.streams = None


class Callers:
    """Calls at a fixed rate, each on a connection of its own, whatever became of the others."""

    def __init__(self, port, rate, path):
        self.port, self.every, self.path = port, 1 / rate, path
        # When calls began, in seconds since the epoch.
        self.began = []
        # (status, reason, seconds) of calls that have ended.
        self.done = []
        self._next = time.monotonic()
        self._running = set()
        self._ticker = None

    def start(self):
        """Begins to call, if it has not begun."""
        if self._ticker is None:
            self._next = time.monotonic()
            self._ticker = asyncio.create_task(self._tick())

    def until_next(self):
        """Seconds until the next call."""
        return max(0.0, self._next - time.monotonic())

    async def until_answered(self, longest):
        """Waits for the upstream's own answer; returns after how long it came."""
        began = time.monotonic()
        while time.monotonic() - began < longest:
            if any(each[0] == 200 for each in self.done):
                return time.monotonic() - began
            await asyncio.sleep(0.02)
        return None

    async def finish(self):
        """Makes no more calls and waits for those that run."""
        self._ticker.cancel()
        await asyncio.gather(*self._running)

    async def stop(self):
        """Ends all calls."""
        running = [self._ticker, *self._running]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def _tick(self):
        while True:
            await asyncio.sleep(self.until_next())
            self._next += self.every
            task = asyncio.create_task(self._call())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _call(self):
        request = f"GET {self.path} HTTP/1.1\r\nhost: bench.local\r\n\r\n"
        caller, done = Caller(self.port), self.done
        self.began.append(time.time())
        try:
            done.append(await caller.call(request.encode()))
        finally:
            caller.close()


def field(head, name):
    """The value of a field in a head of lower case; `None` where it is not there."""
    for line in head.split("\r\n")[1:]:
        key, _, value = line.partition(":")
        if key == name:
            return value.strip()
    return None


def reason(head):
    """Why there was a local reply, as `Proxy-Status` has it; empty for the upstream's own."""
    for part in (field(head, "proxy-status") or "").split(";"):
        key, _, value = part.strip().partition("=")
        if key == "details":
            return value.strip('"')
    return ""


def quantile(values, share):
    """The least value that this share of them does not exceed."""
    ordered = sorted(values)
    rank = max(0, min(len(ordered) - 1, int(len(ordered) * share + 0.999999) - 1))
    return ordered[rank]
