"""HTTP/2 frames written by hand, and a well-behaved client of one connection."""

import json
import select
import socket
import sys
import time

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PING = 0, 1, 2, 3, 4, 6
GOAWAY, WINDOW_UPDATE, CONTINUATION, UNKNOWN = 7, 8, 9, 0xFA
END_STREAM, ACK, END_HEADERS = 1, 1, 4

# What peers open windows to at most.
LARGE = 2**31 - 1
# How often the good client tells that it has read, and what a connection's window is at first.
READ_UNTOLD = 16 * 1024
INITIAL_WINDOW = 65_535


def frame(kind, flags=0, stream=0, payload=b""):
    """One frame."""
    head = len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4)
    return head + payload


def settings(**values):
    """SETTINGS with these values, by number: `settings(s4=1)` for INITIAL_WINDOW_SIZE."""
    pairs = ((int(name[1:]), value) for name, value in values.items())
    payload = b"".join(name.to_bytes(2) + value.to_bytes(4) for name, value in pairs)
    return frame(SETTINGS, payload=payload)


def window(stream, octets):
    """WINDOW_UPDATE."""
    return frame(WINDOW_UPDATE, stream=stream, payload=octets.to_bytes(4))


def literal(name, value):
    """A field that no table remembers (RFC 7541 §6.2.2)."""
    return b"\x00" + _text(name) + _text(value)


def _text(text):
    length, encoded = len(text), b""
    if length < 127:
        return bytes([length]) + text
    length -= 127
    while length >= 128:
        encoded += bytes([length % 128 + 128])
        length //= 128
    return b"\x7f" + encoded + bytes([length]) + text


def fields(path, method=b"GET"):
    """The block of a request's own fields."""
    own = [(b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"a")]
    return b"".join(literal(name, value) for name, value in own)


def request(stream, path, method=b"GET", more=b"", ends=True):
    """HEADERS of a request; without `ends` its body follows."""
    flags = END_HEADERS | (END_STREAM if ends else 0)
    return frame(HEADERS, flags, stream, fields(path, method) + more)


class Good:
    """Makes calls at a fixed rate on one connection, whatever became of earlier ones."""

    def __init__(self, port, rate, path):
        self.port, self.every, self.path = port, 1 / rate, path
        self.latencies, self.bad = [], 0
        self._connect()

    def _connect(self):
        self.socket = socket.create_connection(("127.0.0.1", self.port), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.sendall(PREFACE + settings() + window(0, LARGE - INITIAL_WINDOW))
        self.input, self.due, self.next_stream = b"", {}, 1

    def run(self, seconds):
        """Calls for so long and waits for what is left; returns the figures."""
        self.latencies, self.bad = [], 0
        begin = time.monotonic()
        due, end = begin, begin + seconds
        while due < end or (self.due and time.monotonic() < end + 5):
            now = time.monotonic()
            try:
                if due <= now and due < end:
                    stream, self.next_stream = self.next_stream, self.next_stream + 2
                    self.due[stream] = due
                    due += self.every
                    self.socket.sendall(request(stream, self.path))
                elif select.select([self.socket], [], [], max(0.0, min(due, end + 5) - now))[0]:
                    self._read()
            except OSError:
                self.bad += len(self.due)
                self.socket.close()
                self._connect()
        self.bad += len(self.due)
        self.due.clear()
        return {"latencies": self.latencies, "bad": self.bad}

    def _read(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionResetError
        now = time.monotonic()
        self.input += data
        while len(self.input) >= 9:
            length = int.from_bytes(self.input[:3])
            if len(self.input) < 9 + length:
                return
            kind, flags = self.input[3], self.input[4]
            stream = int.from_bytes(self.input[5:9]) & LARGE
            payload, self.input = self.input[9 : 9 + length], self.input[9 + length :]
            self._take(kind, flags, stream, payload, now)

    def _take(self, kind, flags, stream, payload, now):
        if kind in (SETTINGS, PING) and not flags & ACK:
            self.socket.sendall(frame(kind, ACK, 0, payload if kind == PING else b""))
        elif kind == GOAWAY:
            raise ConnectionResetError
        elif stream in self.due:
            # The first octet of a block from the static table: `:status: 200`.
            refused = kind == RST_STREAM or (kind == HEADERS and payload[:1] != b"\x88")
            self.bad += refused
            if kind == RST_STREAM or (kind in (DATA, HEADERS) and flags & END_STREAM):
                self.latencies.append(now - self.due.pop(stream))


def main():
    """Runs once for each line on standard input, which says how many seconds."""
    port, rate, path = sys.argv[1:4]
    good = Good(int(port), float(rate), path.encode())
    for line in sys.stdin:
        print(json.dumps(good.run(float(line))), flush=True)


if __name__ == "__main__":
    main()
