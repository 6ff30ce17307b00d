"""A few calls take a hundred times longer: what a hedge makes of that, and what it costs."""

import asyncio
import random

from . import figures
from .daemon import Daemon
from .measure import run_loadgen
from .process import Others
from .upstream import OK, Upstream

RATE = 200
SECONDS = 30

# Share of slow calls; each attempt draws anew.
SLOW = 0.05
SLOW_SECONDS = 1.0
FAST_SECONDS = 0.01

HEDGE = 'hedge = { delay = "50ms" }'
CONFIG = """
[upstreams.uneven]
listen = "127.0.0.1:0"
endpoints = ["http://127.0.0.1:{one}", "http://127.0.0.1:{two}"]
{hedge}
"""

# What is promised: p99 in milliseconds, and attempts beside those without a hedge.
P99 = 120
EXTRA = 0.07


async def run(scale):
    """Measures without a hedge and with one; returns whether what is promised held."""
    seconds = SECONDS * scale
    figures.title(f"hedge: {SLOW:.0%} of calls take 1 s, the others 10 ms, {RATE} calls/s")
    p99, _ = await _measure("no hedge", "", seconds)
    hedged, extra = await _measure("hedge after 50 ms", HEDGE, seconds)
    held = figures.claim(f"without a hedge p99 is about 1 s ({p99:.0f} ms)", 900 < p99 < 1200)
    held &= figures.claim(f"with it p99 is {hedged:.0f} ms, under {P99} ms", hedged < P99)
    return held & figures.claim(f"for {extra:.1%} more load, at most {EXTRA:.0%}", extra <= EXTRA)


async def _measure(name, hedge, seconds):
    # The same draws in each run.
    draw = random.Random(1)

    def rule():
        return OK, SLOW_SECONDS if draw.random() < SLOW else FAST_SECONDS

    async with Upstream(rule) as one, Upstream(rule) as two:
        config = CONFIG.format(one=one.port, two=two.port, hedge=hedge)
        with Daemon("hedge", config) as daemon:
            others = Others([daemon.process.pid])
            port = daemon.port("uneven")
            arguments = f"--port {port} --rate {RATE} --conns 64 --warmup 0 --duration {seconds}"
            result = await asyncio.to_thread(run_loadgen, arguments, frozenset(), seconds + 20)
            # Those that the load generator left behind end, and are counted.
            await asyncio.sleep(0.5)
            metrics = ("outrigger_requests_total", "outrigger_hedges_total")
            calls, sent = [await asyncio.to_thread(daemon.metric, each) for each in metrics]
            won = await asyncio.to_thread(daemon.metric, "outrigger_hedges_won_total")
            noise = others.so_far()
    attempts = len(one.arrivals) + len(two.arrivals)
    extra = attempts / calls - 1
    failed = result["errors"] + result["non2xx"]
    figures.line(name, f"{figures.latencies(result)}, {failed} failed")
    figures.line("", f"{calls:.0f} calls, {attempts} attempts ({extra:+.1%})")
    figures.line("", f"{sent:.0f} hedges, of which {won:.0f} won")
    figures.others(noise)
    return result["p99_us"] / 1e3, extra
