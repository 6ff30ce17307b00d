"""Idle connections that the upstream closes at about the moment of their reuse."""

import asyncio
import collections
import random
import time

from .daemon import Caller, Daemon, field

# The upstream closes a connection that was idle for so long.
CLOSES_AFTER = 1.0

# How long callers pause between two calls, seconds.
PAUSE = (0.9, 1.1)

# Answers take so long that all callers are in flight at once: a connection for each.
HOLD = 0.1

# Ours: connections reused, and requests sent once more because theirs had died.
COUNTERS = ("outrigger_pool_connections_reused_total", "outrigger_transparent_resends_total")

# Without the breaker, which would refuse calls once enough POSTs were lost, and hide others.
UPSTREAM = """
[upstreams.closing]
breaker = {{ mode = "off" }}
listen = "127.0.0.1:0"
endpoints = ["http://127.0.0.1:{port}"]
bulkhead = {{ max_requests = {calls}, max_connections = {calls}, max_idle = {calls} }}
"""


def run(method, connections, rounds):
    """Makes the calls; returns whether what must not happen did not."""
    return asyncio.run(_run(method, connections, rounds))


async def _run(method, connections, rounds):
    upstream = _Upstream()
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, backlog=1024)
    port = server.sockets[0].getsockname()[1]
    async with server:
        config = UPSTREAM.format(port=port, calls=2 * connections)
        with Daemon("stale", config) as daemon:
            outcomes = await _call_all(daemon.port("closing"), method, connections, rounds)
            reused, resent = [await asyncio.to_thread(daemon.metric, name) for name in COUNTERS]
            while upstream.open:  # It closes them all, being left alone.
                await asyncio.sleep(0.05)
    return _report(method, outcomes, upstream, reused, resent)


async def _call_all(port, method, connections, rounds):
    outcomes = collections.Counter()
    callers = [Caller(port) for _ in range(connections)]

    async def one(caller, name, pause):
        await asyncio.sleep(pause)
        body = b"x" * 32 if method == "POST" else b""
        length = f"content-length: {len(body)}\r\n" if body else ""
        head = f"{method} / HTTP/1.1\r\nhost: bench.local\r\nx-call: {name}\r\n{length}\r\n"
        status, reason, _ = await caller.call(head.encode() + body)
        outcomes[status, reason] += 1

    for turn in range(rounds):
        # One pause for all, so that as many connections are idle as there are callers; it sweeps
        # over the upstream's limit from round to round.
        pause = random.uniform(*PAUSE) if turn else 0
        calls = (one(caller, f"{turn}-{n}", pause) for n, caller in enumerate(callers))
        await asyncio.gather(*calls)
    for caller in callers:
        caller.close()
    return outcomes


def _report(method, outcomes, upstream, reused, resent):
    total, good = sum(outcomes.values()), outcomes[200, ""]
    bad = {key: count for key, count in outcomes.items() if key != (200, "")}
    twice = sum(1 for count in upstream.delivered.values() if count > 1)
    print(f"\n## {total} {method}s; the upstream closes what is idle for {CLOSES_AFTER:.0f} s")
    print(f"answered                 {good}")
    print(f"errors                   {bad or 'none'}")
    print(f"delivered more than once {twice}")
    print(f"connections              {upstream.opened}, {upstream.closed} closed for being idle")
    print(f"reused                   {len(upstream.idle)} (we counted {reused:.0f})")
    print(f"resent                   {resent:.0f}")
    if upstream.idle:
        print(f"idle before the reuse    {min(upstream.idle):.3f}-{max(upstream.idle):.3f} s")
    return not bad if method == "GET" else twice == 0


class _Upstream:
    """Answers after `HOLD`, closes a connection idle for `CLOSES_AFTER`, counts what arrives."""

    def __init__(self):
        self.delivered = collections.Counter()
        self.idle = []
        self.opened = self.closed = self.open = 0

    async def serve(self, reader, writer):
        """One connection."""
        self.opened += 1
        self.open += 1
        answered = None
        try:
            while True:
                async with asyncio.timeout(CLOSES_AFTER if answered else None):
                    head = await reader.readuntil(b"\r\n\r\n")
                head = head.decode("latin-1").lower()
                if answered:
                    self.idle.append(time.monotonic() - answered)
                self.delivered[field(head, "x-call")] += 1
                await reader.readexactly(int(field(head, "content-length") or 0))
                await asyncio.sleep(HOLD)
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                await writer.drain()
                answered = time.monotonic()
        except TimeoutError:
            self.closed += 1
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open -= 1
            writer.close()
