"""One bad endpoint of three, then all of them: what callers and endpoints get."""

import asyncio
import contextlib
import time

from . import figures
from .daemon import Daemon, logged_at
from .measure import run_loadgen
from .process import Others
from .upstream import OK, Upstream

RATE = 200
# The bad endpoint returns once meanwhile, after 30 s.
SECONDS = 40
# Long enough for the breaker, whose window remembers the good calls of the last 10 s.
ALL_BAD_SECONDS = 20

# Every policy at its default.
CONFIG = """
[upstreams.three]
listen = "127.0.0.1:0"
endpoints = [{endpoints}]
"""

# What is promised of the ejected endpoint; and what we ask of an open breaker.
SHARE = 0.05
PROBES = 0.02


async def run(scale):
    """Measures; returns whether what is promised held."""
    statuses = [500, OK, OK]

    def rule(number):
        # Failures are the quicker answers, as they often are, and so attract calls.
        return lambda: (statuses[number], 0.005 if statuses[number] == OK else 0.0)

    async with contextlib.AsyncExitStack() as stack:
        three = [await stack.enter_async_context(Upstream(rule(number))) for number in range(3)]
        endpoints = ", ".join(f'"http://127.0.0.1:{each.port}"' for each in three)
        with Daemon("ejection", CONFIG.format(endpoints=endpoints)) as daemon:
            others = Others([daemon.process.pid])
            figures.title(f"ejection: one of three endpoints answers 500, {RATE} calls/s")
            held = await _one_bad(daemon, three, SECONDS * scale)
            statuses[:] = [500, 500, 500]
            figures.title("ejection: all three answer 500")
            held &= await _all_bad(daemon, three, ALL_BAD_SECONDS * max(scale, 0.5))
            figures.others(others.so_far())
    return held


def _load(daemon, seconds):
    arguments = f"--port {daemon.port('three')} --rate {RATE} --conns 64 --warmup 0"
    arguments += f" --duration {seconds}"
    return asyncio.create_task(
        asyncio.to_thread(run_loadgen, arguments, frozenset(), seconds + 20)
    )


async def _one_bad(daemon, three, seconds):
    result = await _load(daemon, seconds)
    ejected = daemon.logged("endpoint ejected")
    if not ejected:
        return figures.claim("the bad endpoint is ejected", False)
    since, end = logged_at(ejected[0]), time.time()
    before = three[0].between(0, since)
    text = f"{len(ejected)} times, first after {before} of its calls ({ejected[0]['cause']})"
    figures.line("ejected", text)
    seen = [each.between(since, end) for each in three]
    figures.line("calls at each since then", f"{seen[0]} (bad), {seen[1]}, {seen[2]}")
    figures.line("callers", f"{figures.latencies(result)}, {result['non2xx']} got 500")
    opened = len(daemon.logged("breaker opened"))
    figures.line("breaker", "stayed closed" if not opened else f"opened {opened} times")
    share = seen[0] / sum(seen)
    text = f"the bad endpoint gets {share:.2%} once it was ejected, under {SHARE:.0%}"
    return figures.claim(text, share < SHARE and not opened)


async def _all_bad(daemon, three, seconds):
    began = time.time()
    load = _load(daemon, seconds)
    while not load.done() and not daemon.logged("breaker opened"):
        await asyncio.sleep(0.02)
    opened = daemon.logged("breaker opened")
    at_opening = await _counts(daemon)
    await load
    asked, refused = (
        after - before for after, before in zip(await _counts(daemon), at_opening)
    )
    if not opened:
        return figures.claim("the breaker opens", False)
    since = logged_at(opened[0])
    text = f"{since - began:.1f} s after the first bad answer ({opened[0]['cause']})"
    figures.line("breaker opened", text)
    seen = sum(each.between(since, time.time()) for each in three)
    text = f"{asked:.0f} calls: {refused:.0f} refused by the breaker, {seen} at the endpoints"
    figures.line("since then", text)
    share = 1 - refused / asked
    text = f"{share:.1%} of calls got past the open breaker, for it to probe; under {PROBES:.0%}"
    return figures.claim(text, share < PROBES)


async def _counts(daemon):
    """Calls that have ended, and those of them that the breaker refused."""
    asked = await asyncio.to_thread(daemon.metric, "outrigger_requests_total")
    refused = await asyncio.to_thread(
        daemon.metric, "outrigger_local_replies_total", 'reason="breaker_open"'
    )
    return asked, refused
