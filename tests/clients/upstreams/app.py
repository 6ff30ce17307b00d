"""The upstream of the suite in Python: an ASGI application under hypercorn.

    python app.py CERT KEY

Speaks HTTP/1 and HTTP/2 on each of its ports, plain and TLS. Prints one line of JSON with its
ports. `app.mjs` is the same application in Node.
"""

import asyncio
import hashlib
import json
import os
import socket
import sys
import time
from urllib.parse import parse_qs

from hypercorn.asyncio import serve
from hypercorn.config import Config

PIECE = os.urandom(65536)

# What became of calls that gave an `id`: `open`, `done` or `aborted`.
seen = {}


async def respond(send, status, body, headers=()):
    fields = [(b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def pieces(receive):
    """The pieces of a request body; raises `ConnectionError` where it breaks off."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        yield message["body"]
        if not message.get("more_body"):
            return


async def hello(scope, receive, send, query):
    version = (b"x-version", scope["http_version"].encode())
    connection = (b"x-connection", b"%d" % scope["client"][1])
    await respond(send, 200, b"hello", [(b"content-type", b"text/plain"), version, connection])


async def head(scope, receive, send, query):
    fields = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    told = {"version": scope["http_version"], "method": scope["method"], "headers": fields}
    await respond(send, 200, json.dumps(told).encode())


async def echo(scope, receive, send, query):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    async for piece in pieces(receive):
        await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def digest(scope, receive, send, query):
    state, length = hashlib.sha256(), 0
    async for piece in pieces(receive):
        state.update(piece)
        length += len(piece)
    fields = dict(scope["headers"])
    told = {
        "sha256": state.hexdigest(),
        "length": length,
        "declared": fields.get(b"content-length", b"").decode() or None,
    }
    await respond(send, 200, json.dumps(told).encode())


async def trailers(scope, receive, send, query):
    fields = [(b"content-type", b"text/plain"), (b"trailer", b"x-checksum")]
    start = {"type": "http.response.start", "status": 200, "headers": fields, "trailers": True}
    await send(start)
    await send({"type": "http.response.body", "body": b"with trailers"})
    await send({"type": "http.response.trailers", "headers": [(b"x-checksum", b"abc123")]})


async def sse(scope, receive, send, query):
    fields = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    for event in range(int(query["n"])):
        await asyncio.sleep(int(query["every"]) / 1000)
        body = f"id: {event}\ndata: {time.time() * 1000}\n\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def interim(scope, receive, send, query):
    await send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
    await hello(scope, receive, send, query)


async def broken(scope, receive, send, query):
    fields = [(b"content-type", b"text/plain")] + ([(b"content-length", b"1000")] if query.get("length") else [])
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    await send({"type": "http.response.body", "body": b"x" * 500, "more_body": True})
    raise ConnectionError


async def early(scope, receive, send, query):
    await respond(send, 413, b"too large")


async def hang(scope, receive, send, query):
    if query.get("head"):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
    while (await receive())["type"] != "http.disconnect":
        pass
    raise ConnectionError


async def pour(scope, receive, send, query):
    left = int(query["n"])
    fields = [(b"content-type", b"application/octet-stream")]
    if scope["path"] == "/bytes":
        fields.append((b"content-length", b"%d" % left))
    await send({"type": "http.response.start", "status": 200, "headers": fields})
    while left > 0:
        body = PIECE[:left]
        left -= len(body)
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def status(scope, receive, send, query):
    start = {"type": "http.response.start", "status": int(query["code"])}
    await send({**start, "headers": [(b"etag", b'"v1"')]})
    await send({"type": "http.response.body", "body": b""})


async def slow(scope, receive, send, query):
    await asyncio.sleep(int(query["ms"]) / 1000)
    await hello(scope, receive, send, query)


async def told(scope, receive, send, query):
    state = {"state": seen.get(query["id"], "unknown")}
    await respond(send, 200, json.dumps(state).encode())


PAGES = {
    "/hello": hello,
    "/head": head,
    "/echo": echo,
    "/hash": digest,
    "/trailers": trailers,
    "/sse": sse,
    "/interim": interim,
    "/broken": broken,
    "/early": early,
    "/hang": hang,
    "/bytes": pour,
    "/stream": pour,
    "/status": status,
    "/slow": slow,
    "/seen": told,
}


async def websocket(scope, receive, send):
    await receive()
    if scope["path"] != "/ws":
        await send({"type": "websocket.close"})  # which is a 403 as long as it is not accepted
        return
    offered = scope["subprotocols"]
    accept = {"type": "websocket.accept"}
    await send({**accept, "subprotocol": "chat.v2"} if "chat.v2" in offered else accept)
    id = {name: values[0] for name, values in parse_qs(scope["query_string"].decode()).items()}.get("id")
    seen[id] = "open"
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            seen[id] = f"closed {message.get('code')} {message.get('reason') or ''}"
            return
        text = message.get("text") or ""
        if text.startswith("close "):
            code = int(text.split()[1])
            await send({"type": "websocket.close", "code": code, "reason": "as asked"})
        elif message.get("bytes") is not None:
            await send({"type": "websocket.send", "bytes": message["bytes"]})
        else:
            await send({"type": "websocket.send", "text": text})


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await websocket(scope, receive, send)
        return
    if scope["type"] != "http":
        return
    query = parse_qs(scope["query_string"].decode())
    query = {name: values[0] for name, values in query.items()}
    id = query.get("id") if scope["path"] != "/seen" else None
    seen[id] = "open"
    try:
        page = PAGES.get(scope["path"])
        if page is None:
            await respond(send, 404, b"")
        else:
            await page(scope, receive, send, query)
        seen[id] = "done"
    except (ConnectionError, asyncio.CancelledError):
        seen[id] = "aborted"


def listener():
    """A bound socket for hypercorn, and its port."""
    bound = socket.socket()
    bound.bind(("127.0.0.1", 0))
    bound.set_inheritable(True)
    port = bound.getsockname()[1]
    return f"fd://{bound.detach()}", port


async def main():
    secure, control, plain = listener(), listener(), listener()
    config = Config()
    config.certfile, config.keyfile = sys.argv[1:]
    config.bind = [secure[0]]
    config.insecure_bind = [plain[0], control[0]]
    config.accesslog = config.errorlog = None
    config.h2_max_concurrent_streams = 200
    ports = {"h1": plain[1], "h2c": plain[1], "tls2": secure[1], "control": control[1]}
    print(json.dumps(ports), flush=True)
    await serve(app, config)


asyncio.run(main())
