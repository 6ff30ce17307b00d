"""An upstream in this process whose answers follow a rule, and that knows when each call came."""

import asyncio
import collections
import time

OK = 200


class Upstream:
    """Answers each call as `rule()` says, a status and a delay in seconds; on a free port."""

    def __init__(self, rule):
        self.rule = rule
        # When calls arrived, in seconds since the epoch.
        self.arrivals = []
        # (arrived, seconds until the answer) of calls that were answered.
        self.answers = []

    async def __aenter__(self):
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self), "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_):
        self._server.close()

    def take(self, answer):
        """A call; `answer` is to be called with its status."""
        status, delay = self.rule()
        asyncio.get_running_loop().call_later(delay, answer, status)

    def between(self, begin, end):
        """How many calls arrived in this time."""
        return sum(begin <= each < end for each in self.arrivals)

    def times(self, begin, end):
        """How long those took to answer that arrived in this time."""
        return [seconds for arrived, seconds in self.answers if begin <= arrived < end]


class Shared(Upstream):
    """Works on all its calls at once, with a speed that up to `capacity` of them get in full and
    more of them divide."""

    def __init__(self, capacity, seconds):
        super().__init__(None)
        self.capacity, self.seconds = capacity, seconds
        # The work done so far on a call that has been here from the beginning, in seconds of it.
        self._work = 0.0
        self._worked_until = time.monotonic()
        # (work at which it is done, answer), in order as all calls are alike.
        self._calls = collections.deque()
        self._timer = None

    def take(self, answer):
        """A call."""
        self._advance()
        self._calls.append((self._work + self.seconds, answer))
        self._schedule()

    def _speed(self):
        return min(1.0, self.capacity / max(1, len(self._calls)))

    def _advance(self):
        now = time.monotonic()
        self._work += (now - self._worked_until) * self._speed()
        self._worked_until = now

    def _schedule(self):
        if self._timer:
            self._timer.cancel()
        self._timer = None
        if self._calls:
            wait = (self._calls[0][0] - self._work) / self._speed()
            self._timer = asyncio.get_running_loop().call_later(max(0.0, wait), self._finish)

    def _finish(self):
        self._advance()
        while self._calls and self._calls[0][0] <= self._work:
            self._calls.popleft()[1](OK)
        self._schedule()


class _Connection(asyncio.Protocol):
    """One connection; requests have no body and come one by one."""

    def __init__(self, upstream):
        self.upstream, self.transport, self.input = upstream, None, b""

    def connection_made(self, transport):
        self.transport = transport

    def data_received(self, data):
        self.input += data
        if not self.input.endswith(b"\r\n\r\n"):
            return
        self.input = b""
        arrived = time.time()
        self.upstream.arrivals.append(arrived)
        self.upstream.take(lambda status: self._answer(status, arrived))

    def _answer(self, status, arrived):
        if self.transport.is_closing():
            return
        self.upstream.answers.append((arrived, time.time() - arrived))
        self.transport.write(b"HTTP/1.1 %d Status\r\ncontent-length: 2\r\n\r\nok" % status)
