"""The gRPC upstream: all four kinds of calls on bytes, plain, over TLS, and at a Unix socket.

    python grpc_server.py CERT KEY CALLERS SOCKET

At its port `mtls` a caller needs a certificate under the root in CALLERS. Prints one line of JSON
with its ports. There is no schema: requests and responses are bytes.
"""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc

# What became of calls that gave an `id` in their metadata.
seen = {}


def watch(context):
    """Notes how the call ends."""
    id = dict(context.invocation_metadata()).get("id")
    if id:
        seen[id] = "open"
        ended = threading.Event()
        context.add_callback(ended.set)
        context.add_callback(lambda: seen.__setitem__(id, "ended"))
        return ended
    return threading.Event()


def echo(request, context):
    watch(context)
    told = [(key, value) for key, value in context.invocation_metadata() if key.startswith("x-")]
    context.send_initial_metadata(told)
    context.set_trailing_metadata((("x-trailing", "yes"), ("x-bytes-bin", b"\x00\xff"), *told))
    return request


def fail(request, context):
    code, _, message = request.decode().partition(" ")
    context.set_trailing_metadata((("x-why", "as asked"),))
    context.abort(next(each for each in grpc.StatusCode if each.value[0] == int(code)), message)


def hang(request, context):
    watch(context).wait(30)
    return b""


def left(request, context):
    return str(context.time_remaining()).encode()


def state(request, context):
    return seen.get(request.decode(), "unknown").encode()


def metadata(request, context):
    fields = [(key, value.decode("latin-1") if isinstance(value, bytes) else value) for key, value in context.invocation_metadata()]
    return json.dumps(fields).encode()


def compressed(request, context):
    context.set_compression(grpc.Compression.Gzip)
    return request


def count(request, context):
    ended = watch(context)
    number, every = map(int, request.split())
    for each in range(number):
        if ended.is_set():
            return
        yield str(each).encode()
        time.sleep(every / 1000)


def large(request, context):
    for _ in range(int(request)):
        yield bytes(1 << 20)


def partial(request, context):
    yield b"one"
    yield b"two"
    context.abort(grpc.StatusCode.DATA_LOSS, "after two")


def total(requests, context):
    watch(context)
    return str(sum(len(each) for each in requests)).encode()


def early(requests, context):
    next(requests)
    context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "enough")


def chat(requests, context):
    watch(context)
    for each in requests:
        yield b"re: " + each


KINDS = {
    grpc.unary_unary_rpc_method_handler: [echo, fail, hang, left, state, metadata, compressed],
    grpc.unary_stream_rpc_method_handler: [count, large, partial],
    grpc.stream_unary_rpc_method_handler: [total, early],
    grpc.stream_stream_rpc_method_handler: [chat],
}


def main():
    methods = {each.__name__: kind(each) for kind, all in KINDS.items() for each in all}
    options = [("grpc.max_receive_message_length", 64 << 20), ("grpc.max_metadata_size", 64 << 10)]
    options += [("grpc.so_reuseport", 0)]
    server = grpc.server(ThreadPoolExecutor(256), options=options)
    server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("suite.Suite", methods)])
    cert, key, callers = (Path(each).read_bytes() for each in sys.argv[1:4])
    secure = grpc.ssl_server_credentials([(key, cert)])
    mutual = grpc.ssl_server_credentials([(key, cert)], callers, require_client_auth=True)
    ports = {
        "h2c": server.add_insecure_port("127.0.0.1:0"),
        "tls2": server.add_secure_port("127.0.0.1:0", secure),
        "mtls": server.add_secure_port("127.0.0.1:0", mutual),
        "unix": sys.argv[4],
    }
    server.add_insecure_port(f"unix:{ports['unix']}")
    server.start()
    print(json.dumps(ports), flush=True)
    server.wait_for_termination()


main()
