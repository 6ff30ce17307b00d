"""One class floods: what the other one notices, and what each gets."""

import asyncio

from . import build, figures
from .daemon import Daemon
from .measure import run_loadgen
from .process import Others, start_backend, stop

SECONDS = 20
SLOTS = 16
LIVE_RATE = 100
BATCH_CALLERS = 200

# Milliseconds that calls take. Where all take the same time they keep step: slots that were taken
# together come free together, and whoever waits, waits for most of a call.
AROUND = "10-30"
EXACT = "20"

CONFIG = """
[upstreams.shared]
endpoints = ["http://127.0.0.1:{port}"]
bulkhead = {{ max_requests = {slots}, max_queued = 400, queue_timeout = "5s" }}
priority = {{ classes = {{ live = {{ share = 0.5 }}, batch = {{ share = 0.5 }} }} }}
[[listeners]]
name = "live"
address = "127.0.0.1:0"
routes = [{{ upstream = "shared", class = "live" }}]
[[listeners]]
name = "batch"
address = "127.0.0.1:0"
routes = [{{ upstream = "shared", class = "batch" }}]
"""

# What is promised of the latency of `live`.
RISE = 1.2


async def run(scale):
    """Measures; returns whether what is promised held."""
    backend, port = start_backend(build.BACKEND)
    try:
        with Daemon("priority", CONFIG.format(port=port, slots=SLOTS)) as daemon:
            others = Others([daemon.process.pid, backend.pid])
            held = _judge(*await _measure(daemon, AROUND, SECONDS * scale))
            # Not what is promised, but worth knowing.
            await _measure(daemon, EXACT, SECONDS * scale)
            figures.others(others.so_far())
            return held
    finally:
        stop(backend)


async def _measure(daemon, delay, seconds):
    figures.title(f"priority: {SLOTS} slots, half of them for each class, {delay} ms per call")
    live = _load(daemon, "live", f"--rate {LIVE_RATE} --conns 64", delay)
    batch = _load(daemon, "batch", f"--conns {BATCH_CALLERS}", delay)
    alone = await live(1, seconds)
    full = await batch(1, seconds / 2)
    # `batch` begins before `live` and ends after it.
    flood = asyncio.create_task(batch(1, seconds + 1))
    flooded = await live(1.5, seconds)
    rest = await flood
    for name, result in (("live alone", alone), ("live, batch floods", flooded)):
        text = f"{figures.latencies(result)}, {result['rps']:.1f}/s, {figures.bad(result)} bad"
        figures.line(name, text)
    figures.line("", f"x {_ratio(flooded, alone, 'p50_us')}, x {_ratio(flooded, alone, 'p99_us')}")
    for name, result in (("batch alone", full), ("batch beside live", rest)):
        figures.line(name, f"{result['rps']:.0f}/s, {figures.bad(result)} bad")
    wait = 1e3 / full["rps"]
    text = f"one comes free every {wait:.2f} ms in the mean; live waits for the next"
    figures.line(f"{SLOTS} slots", text)
    return alone, full, flooded, rest


def _ratio(one, other, key):
    return round(one[key] / other[key], 2)


def _judge(alone, full, flooded, rest):
    p50, p99 = (_ratio(flooded, alone, key) for key in ("p50_us", "p99_us"))
    text = f"live has x {p50} its p50 and x {p99} its p99, at most x {RISE}"
    held = figures.claim(text, max(p50, p99) <= RISE)
    served = _ratio(flooded, alone, "rps")
    text = f"live gets all its calls answered (x {served} of those alone)"
    held &= figures.claim(text, served > 0.98 and not figures.bad(flooded))
    left = rest["rps"] / (full["rps"] - flooded["rps"])
    text = f"batch gets x {left:.2f} of what live leaves"
    return held & figures.claim(text, left > 0.95 and not figures.bad(rest))


def _load(daemon, name, load, delay):
    """A load on a listener, to be run for some seconds after some of warming up."""

    def run_load(warmup, seconds):
        arguments = f"--port {daemon.port(name)} {load} --path /d/{delay}/128"
        arguments += f" --warmup {warmup} --duration {seconds}"
        timeout = warmup + seconds + 20
        return asyncio.to_thread(run_loadgen, arguments, frozenset(), timeout)

    return run_load
