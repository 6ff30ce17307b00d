"""Everything fails and the breaker is off: how many attempts the retry budget lets through."""

import asyncio
import math

from . import figures
from .daemon import Callers, Daemon
from .process import Others
from .upstream import Upstream

RATE = 100
SECONDS = 30

# Defaults of the configuration that the bound follows from.
RATIO = 0.2
WINDOW = 10
RESERVE = 3 * WINDOW

CONFIG = """
[upstreams.failing]
listen = "127.0.0.1:0"
endpoints = ["http://127.0.0.1:{port}"]
breaker = {{ mode = "off" }}
retry = {{ retries = 2 }}
"""


async def run(scale):
    """Measures; returns whether the bound held."""
    seconds = SECONDS * scale
    async with Upstream(lambda: (503, 0.001)) as upstream:
        with Daemon("budget", CONFIG.format(port=upstream.port)) as daemon:
            others = Others([daemon.process.pid])
            callers = Callers(daemon.port("failing"), RATE, "/")
            callers.start()
            await asyncio.sleep(seconds)
            await callers.finish()
            denied = await asyncio.to_thread(
                daemon.metric, "outrigger_retries_denied_total", 'reason="budget"'
            )
            noise = others.so_far()
    return _report(seconds, callers, upstream, denied, noise)


def _report(seconds, callers, upstream, denied, noise):
    figures.title(f"budget: everything fails at {RATE} calls/s, retries = 2, for {seconds:g} s")
    begin, calls, attempts = callers.began[0], len(callers.began), len(upstream.arrivals)
    held = True
    for start in range(0, round(seconds), WINDOW):
        end = min(start + WINDOW, seconds)
        seen = upstream.between(begin + start, begin + end)
        asked = sum(begin + start <= each < begin + end for each in callers.began)
        # These windows are not those of the budget: they cut into two reserves.
        most = asked * (1 + RATIO) + 2 * RESERVE
        held &= seen <= most
        text = f"{asked} calls, {seen} attempts (x {seen / asked:.3f}; at most {most:.0f})"
        figures.line(f"from {start} to {end:g} s", text)
    by_second = [upstream.between(begin + n, begin + n + 1) for n in range(round(seconds))]
    text = f"{min(by_second, default=0)} to {max(by_second, default=0)}"
    figures.line("attempts in a second", text)
    figures.line("in all", f"{calls} calls, {attempts} attempts, {denied:.0f} retries denied")
    figures.line("more than calls", f"x {attempts / calls:.3f} (without a budget: x 3)")
    figures.others(noise)
    asked = sum(each < begin + seconds for each in callers.began)
    seen = upstream.between(begin, begin + seconds)
    reserves = math.ceil(seconds / WINDOW)
    most = asked * (1 + RATIO) + reserves * RESERVE
    text = (
        f"{seen} attempts ({seen / seconds:.1f}/s) of {asked} calls in {seconds:g} s: at most "
        f"{most:.0f} with a reserve for each {WINDOW} s, {most + RESERVE:.0f} for any such span"
    )
    return figures.claim(text, held and seen <= most + RESERVE)
