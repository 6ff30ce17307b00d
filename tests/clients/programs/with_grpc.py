"""Python grpcio: all four kinds, deadlines, cancellation, metadata, compression, our own replies.

Plain and over TLS, with a certificate of its own, to a Unix socket, and by a proxy's tunnel.
"""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
from suite import PATIENCE, check, equal, fresh, plan, targets

OPTIONS = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_metadata_size", 64 << 10)]
OPTIONS += [("grpc.enable_retries", 0), ("grpc.use_local_subchannel_pool", 1), ("grpc.enable_http_proxy", 0)]


def channel(target):
    address = target["url"].partition("//")[2]
    if "socket" in target:
        # Left to itself it sends the path, which is no authority.
        authority = [("grpc.default_authority", "localhost")]
        return grpc.insecure_channel(f"unix:{target['socket']}", OPTIONS + authority)
    if "proxy" in target:
        proxy = [("grpc.enable_http_proxy", 1), ("grpc.http_proxy", target["proxy"])]
        return grpc.insecure_channel(address, OPTIONS[:-1] + proxy)
    if target["url"].startswith("https"):
        own = [Path(plan[each]).read_bytes() for each in ("key", "cert")] if plan["mode"] == "mtls" else []
        credentials = grpc.ssl_channel_credentials(Path(plan["ca"]).read_bytes(), *own)
        return grpc.secure_channel(address, credentials, OPTIONS)
    return grpc.insecure_channel(address, OPTIONS)


def fails(call, code, message=None):
    """The error that a call must end with."""
    try:
        call()
    except grpc.RpcError as error:
        equal(error.code(), code)
        if message is not None:
            equal(error.details(), message)
        return error
    raise AssertionError(f"no error where {code} was due")


def semantics(target, stub):
    unary = lambda name: stub.unary_unary(f"/suite.Suite/{name}")  # noqa: E731
    echo = unary("echo")

    def await_ended(id):
        end = time.monotonic() + PATIENCE
        while (state := unary("state")(id.encode())) != b"ended":
            if time.monotonic() > end:
                raise AssertionError(f"the upstream says `{state}` of the call, and never `ended`")
            time.sleep(0.01)

    with check(target, "unary"):
        for sent in (b"", b"hello", os.urandom(5 << 20)):
            equal(echo(sent, timeout=20), sent)
    with check(target, "server streaming"):
        got = list(stub.unary_stream("/suite.Suite/count")(b"100 1", timeout=20))
        equal(got, [str(each).encode() for each in range(100)])
        equal(sum(map(len, stub.unary_stream("/suite.Suite/large")(b"20", timeout=20))), 20 << 20)
    with check(target, "client streaming"):
        parts = (bytes(1 << 20) for _ in range(20))
        equal(stub.stream_unary("/suite.Suite/total")(parts, timeout=20), str(20 << 20).encode())
    with check(target, "bidirectional streaming, in turns"):
        answers = []

        def requests():
            yield b"0"
            for each in range(1, 100):
                while len(answers) < each:
                    time.sleep(0.0005)
                yield str(each).encode()

        for answer in stub.stream_stream("/suite.Suite/chat")(requests(), timeout=20):
            answers.append(answer)
        equal(answers, [b"re: %d" % each for each in range(100)])
    with check(target, "status and message"):
        for code in grpc.StatusCode:
            if code is grpc.StatusCode.OK:
                continue
            message = f"no {code.name} \u00e4\u4e16 100 %"
            error = fails(lambda: unary("fail")(f"{code.value[0]} {message}".encode(), timeout=20), code, message)  # noqa: B023
            equal(dict(error.trailing_metadata())["x-why"], "as asked")
    with check(target, "status after messages"):
        got = []

        call = stub.unary_stream("/suite.Suite/partial")(b"", timeout=20)

        def take():
            for each in call:
                got.append(each)

        fails(take, grpc.StatusCode.DATA_LOSS, "after two")
        equal(got, [b"one", b"two"])
    with check(target, "status while the caller sends"):

        def endless():
            while True:
                yield bytes(16384)

        fails(
            lambda: stub.stream_unary("/suite.Suite/early")(endless(), timeout=20),
            grpc.StatusCode.RESOURCE_EXHAUSTED,
            "enough",
        )
    with check(target, "unknown method"):
        fails(lambda: unary("nothing")(b"", timeout=20), grpc.StatusCode.UNIMPLEMENTED)
    with check(target, "metadata of 8 KiB"):
        big = "v" * 8192
        sent = (("x-big", big), ("x-data-bin", bytes(range(256))), ("x-two", "a"), ("x-two", "b"))
        _, call = echo.with_call(b"", metadata=sent, timeout=20)
        initial = [each for each in call.initial_metadata() if each[0].startswith("x-")]
        initial = [each for each in initial if each[0] != "x-request-id"]
        equal(sorted(map(tuple, initial)), sorted(sent))
        trailing = list(map(tuple, call.trailing_metadata()))
        for each in (*sent, ("x-trailing", "yes"), ("x-bytes-bin", b"\x00\xff")):
            assert each in trailing, (each, trailing)
    with check(target, "deadline"):
        began = time.monotonic()
        id = fresh()
        fails(
            lambda: unary("hang")(b"", metadata=(("id", id),), timeout=0.5),
            grpc.StatusCode.DEADLINE_EXCEEDED,
        )
        assert time.monotonic() - began < 5, "the deadline was not kept"
        await_ended(id)
    with check(target, "deadline is told on, less what has passed"):
        remaining = float(unary("left")(b"", timeout=15))
        assert 5 < remaining < 15.5, remaining
    with check(target, "without a deadline"):
        # Ours, `request`, may be told on, and no longer one.
        remaining = float(unary("left")(b""))
        assert remaining < 30.5 or remaining > 1e9, remaining
    with check(target, "caller cancels a unary call"):
        id = fresh()
        call = unary("hang").future(b"", metadata=(("id", id),))
        end = time.monotonic() + PATIENCE
        while unary("state")(id.encode()) != b"open":
            assert time.monotonic() < end, "the call never came"
        call.cancel()
        await_ended(id)
    with check(target, "caller cancels a stream"):
        id = fresh()
        call = stub.unary_stream("/suite.Suite/count")(b"100000 5", metadata=(("id", id),))
        next(call)
        call.cancel()
        await_ended(id)
    with check(target, "caller cancels while it sends"):
        id = fresh()

        def slowly():
            yield b"one"
            time.sleep(20)

        call = stub.stream_stream("/suite.Suite/chat")(slowly(), metadata=(("id", id),))
        equal(next(call), b"re: one")
        call.cancel()
        await_ended(id)
    with check(target, "compression"):
        sent = b"the same again " * 10000
        equal(unary("compressed")(sent, compression=grpc.Compression.Gzip, timeout=20), sent)
        equal(unary("compressed")(sent, compression=grpc.Compression.Deflate, timeout=20), sent)
    with check(target, "100 at once"):
        calls = [echo.future(str(each).encode(), timeout=20) for each in range(100)]
        equal([call.result() for call in calls], [str(each).encode() for each in range(100)])
    with check(target, "30 streams at once"):

        def stream(number):
            sent = [b"%d.%d" % (number, each) for each in range(50)]
            got = stub.stream_stream("/suite.Suite/chat")(iter(sent), timeout=20)
            equal(list(got), [b"re: " + each for each in sent])

        with ThreadPoolExecutor(30) as pool:
            list(pool.map(stream, range(30)))


def local_replies(target):
    """Replies of the proxy itself: an upstream that nobody listens at, a route that is not there."""
    with check(target, "reply of ours: the upstream refuses"):
        with channel({"url": target["refusing"]}) as stub:
            call = stub.unary_unary("/suite.Suite/echo")
            error = fails(lambda: call(b"", timeout=20), grpc.StatusCode.UNAVAILABLE)
            assert error.details(), "no message"
            calls = stub.unary_stream("/suite.Suite/count")
            fails(lambda: list(calls(b"1 1", timeout=20)), grpc.StatusCode.UNAVAILABLE)
    with check(target, "reply of ours: no route"):
        with channel({"url": target["nowhere"]}) as stub:
            call = stub.unary_unary("/suite.Suite/echo")
            fails(lambda: call(b"", timeout=20), grpc.StatusCode.NOT_FOUND)


def varint_string(field, text):
    """A string field of a protocol buffer."""
    return bytes([field << 3 | 2, len(text)]) + text.encode()


def health(target):
    """grpc.health.v1 on the listener of the metrics."""
    with check(target, "health of the proxy"), grpc.insecure_channel(target["metrics"], OPTIONS) as stub:
        ask = stub.unary_unary("/grpc.health.v1.Health/Check")
        serving = b"\x08\x01"
        equal(ask(b"", timeout=20), serving)
        fails(lambda: ask(varint_string(1, "no.such.Service"), timeout=20), grpc.StatusCode.NOT_FOUND)
        watch = stub.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
        equal(next(watch), serving)
        watch.cancel()


for each in targets:
    with channel(each) as opened:
        semantics(each, opened)
    if plan["mode"] == "h2c" and each is targets[0]:
        local_replies(each)
        health(each)
