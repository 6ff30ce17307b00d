"""An upstream that more calls than it can bear make slower: where the adaptive limit settles."""

import asyncio
import time

from . import figures
from .daemon import Daemon
from .measure import run_loadgen
from .process import Others
from .upstream import Shared

CAPACITY = 8
CALL_SECONDS = 0.02

# The baseline is a mean until it has seen ten windows of a second: no run at ease is shorter.
LEARNING = 12

# (callers, capacity, seconds)
CALM = (4, CAPACITY, 30)
OVERLOAD = (50, CAPACITY, 60)
DOUBLED = (50, 2 * CAPACITY, 60)

# What does not fit into the limit waits here.
CONFIG = """
[upstreams.shared]
listen = "127.0.0.1:0"
endpoints = ["http://127.0.0.1:{port}"]
bulkhead = {{ max_queued = 64, queue_timeout = "5s" }}
adaptive = {{ mode = "enforce" }}
"""

# What is promised of the limit, and of the median against the unloaded one.
LOWEST, HIGHEST = 12, 20
SLOWER = 2.5


async def run(scale):
    """Measures; returns whether what is promised held."""
    async with Shared(CAPACITY, CALL_SECONDS) as upstream:
        with Daemon("adaptive", CONFIG.format(port=upstream.port)) as daemon:
            others = Others([daemon.process.pid])
            what = f"{1e3 * CALL_SECONDS:.0f} ms per call"
            figures.title(f"adaptive: an upstream with capacity {CAPACITY}, {what}")
            phases = []
            for callers, capacity, seconds in (CALM, OVERLOAD, DOUBLED):
                upstream.capacity = capacity
                seconds = max(LEARNING, seconds * scale)
                phases.append(await _phase(daemon, upstream, callers, seconds))
                _print(f"{callers} callers, capacity {capacity}", *phases[-1])
            figures.others(others.so_far())
    (_, unloaded, _), (limits, loaded, _), (grown, _, _) = phases
    slower = loaded / unloaded
    text = f"the limit stays between {min(limits):.0f} and {max(limits):.0f}"
    within = LOWEST <= min(limits) and max(limits) <= HIGHEST
    held = figures.claim(f"{text}, between {LOWEST} and {HIGHEST}", within)
    text = f"what is admitted has x {slower:.2f} the unloaded p50, under {SLOWER}"
    held &= figures.claim(text, slower < SLOWER)
    # A window lowers the limit by a tenth at most, and then it is rounded down.
    deepest = max(before - after for before, after in zip(limits, limits[1:]))
    text = f"no probing dips: the limit falls by {deepest:.0f} at most from one reading to the next"
    held &= figures.claim(text, deepest <= 0.1 * HIGHEST + 1)
    growth = grown[-1] / limits[-1]
    text = f"the limit has x {growth:.2f} after {DOUBLED[2] * scale:g} s of double capacity"
    return held & figures.claim(text, growth > 1.5)


async def _phase(daemon, upstream, callers, seconds):
    """The limit each half second, the upstream's median latency, and the callers' figures."""
    begin = time.time()
    arguments = f"--port {daemon.port('shared')} --conns {callers} --warmup 0 --duration {seconds}"
    load = asyncio.create_task(
        asyncio.to_thread(run_loadgen, arguments, frozenset(), seconds + 20)
    )
    limits = []
    while not load.done():
        limits.append(await asyncio.to_thread(daemon.metric, "outrigger_adaptive_limit"))
        await asyncio.wait([load], timeout=0.5)
    result = await load
    return limits, figures.median_ms(upstream.times(begin, time.time())), result


def _print(name, limits, median, result):
    tenth = max(1, len(limits) // 10)
    course = " ".join(f"{limit:.0f}" for limit in limits[::tenth])
    text = f"limit {min(limits):.0f} to {max(limits):.0f}, over time {course}"
    figures.line(name, text)
    text = f"p50 of admitted calls {median:.1f} ms, {result['rps']:.0f} calls/s"
    figures.line("", f"{text}, {figures.bad(result)} bad")
