"""An upstream begins to hang: how soon it is cut loose, and what its callers and others see."""

import asyncio
import collections
import json
import time

from . import build
from .daemon import Callers, Daemon, logged_at, quantile
from .measure import start_loadgen
from .process import start_backend, stop

# Two upstreams with every policy at its default.
UPSTREAMS = """
[upstreams.steady]
listen = "127.0.0.1:0"
endpoints = ["http://127.0.0.1:{steady}"]
[upstreams.moody]
listen = "127.0.0.1:0"
endpoints = ["http://127.0.0.1:{moody}"]
"""

HEALTHY = "/b/128"
HUNG = "/d/30000/128"

# The load on the healthy upstream: open loop, so that a stall cannot hide.
STEADY_LOAD = "--conns 16 --rate 500 --path /b/128 --warmup 0"

# Defaults of the configuration that the expectations follow from.
MIN_CALLS = 20
SLOW_CALL = 2.5
FIRST_BYTE = 5.0

# Longest wait for the upstream to be let back in.
RECOVERY = 60


def run(rate, seconds):
    """Measures at this many calls a second; returns whether it was cut loose in time."""
    steady, steady_port = start_backend(build.BACKEND)
    moody, moody_port = start_backend(build.BACKEND)
    try:
        with Daemon("hang", UPSTREAMS.format(steady=steady_port, moody=moody_port)) as daemon:
            return asyncio.run(_measure(daemon, rate, seconds))
    finally:
        stop(steady)
        stop(moody)


async def _measure(daemon, rate, seconds):
    callers = Callers(daemon.port("moody"), rate, HEALTHY)
    before = await _phase(daemon, callers, seconds)
    calm = callers.done
    callers.done, callers.path = [], HUNG
    first_hung = time.time() + callers.until_next()
    during = await _phase(daemon, callers, seconds)
    hung, callers.done, callers.path = callers.done, [], HEALTHY
    recovered = await callers.until_answered(RECOVERY)
    await callers.stop()

    print(f"\n## an upstream hangs at {rate:g} calls/s (30 s per call)")
    opened = daemon.logged("breaker opened")
    took = logged_at(opened[0]) - first_hung if opened else None
    expected = (MIN_CALLS - 1) / rate + SLOW_CALL
    if opened:
        cause, overdue = opened[0]["cause"], opened[0]["overdue"]
        print(f"breaker opened after     {took:.2f} s ({cause}, {overdue} calls overdue;")
        print(f"                         hung call {MIN_CALLS} is overdue at {expected:.2f} s,")
        print(f"                         the first timeout is at {FIRST_BYTE:.2f} s)")
    else:
        print("breaker opened           never")
    _print_latencies("healthy calls before", [each[2] for each in calm if each[0] == 200])
    refused = [each[2] for each in hung if each[:2] == (503, "breaker_open")]
    _print_latencies("refused by the breaker", refused)
    others = [each for each in hung if each[0] != 200 and each[:2] != (503, "breaker_open")]
    _print_latencies("timed out", [each[2] for each in others if each[0] == 504])
    odd = collections.Counter(each[:2] for each in others if each[0] != 504)
    print(f"anything else            {dict(odd) or 'nothing'}")
    for name, figures in (("before", before), ("during", during)):
        bad = figures["errors"] + figures["non2xx"] + figures["stuck"]
        print(
            f"healthy upstream, {name} p50 {figures['p50_us'] / 1e3:.2f} ms, "
            f"p99 {figures['p99_us'] / 1e3:.2f} ms, {figures['requests']} calls, {bad} bad"
        )
    print(f"                         p99 x {during['p99_us'] / before['p99_us']:.2f}")
    print("let back in after        " + (f"{recovered:.1f} s" if recovered else "never"))
    return took is not None and took < FIRST_BYTE and recovered is not None


async def _phase(daemon, callers, seconds):
    """Loads both upstreams for a while; returns the figures of the healthy one."""
    callers.start()
    arguments = f"--port {daemon.port('steady')} --duration {seconds} {STEADY_LOAD}"
    generator = start_loadgen(arguments)
    output, problem = await asyncio.to_thread(generator.communicate)
    if generator.returncode:
        raise RuntimeError(problem)
    return json.loads(output)


def _print_latencies(name, seconds):
    if not seconds:
        print(f"{name:24} none")
        return
    p50, p99, most = (1e3 * quantile(seconds, share) for share in (0.5, 0.99, 1.0))
    print(f"{name:24} {len(seconds)}: p50 {p50:.2f} ms, p99 {p99:.2f} ms, max {most:.2f} ms")
