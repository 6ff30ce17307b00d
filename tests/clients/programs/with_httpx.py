"""Python httpx: HTTP/1.1 and HTTP/2, plain by prior knowledge and over TLS.

Also with a certificate of its own, to a Unix socket, and by a proxy.
"""

import asyncio
import hashlib
import ssl

import httpx
from suite import (
    BODY,
    BODY_HASH,
    MIB,
    Skip,
    await_state,
    check,
    equal,
    fresh,
    mode,
    need,
    plan,
    targets,
)

HTTP2 = mode in ("h2c", "tls2", "mtls")
VERIFY = ssl.create_default_context(cafile=plan["ca"])
if mode == "mtls":
    VERIFY.load_cert_chain(plan["cert"], plan["key"])


def client(target):
    limits = httpx.Limits(max_connections=200, max_keepalive_connections=100)
    options = {"http1": not HTTP2, "http2": HTTP2, "verify": VERIFY, "limits": limits, "trust_env": False}
    # With a proxy or a socket, httpx wants a transport, which takes them all.
    transport = httpx.AsyncHTTPTransport(uds=target.get("socket"), proxy=target.get("proxy"), **options)
    return httpx.AsyncClient(transport=transport, timeout=20, trust_env=False)


async def semantics(target, http):
    url = target["url"]

    with check(target, "get"):
        got = await http.get(f"{url}/hello")
        equal((got.status_code, got.content), (200, b"hello"))
        equal(got.http_version, "HTTP/2" if HTTP2 else "HTTP/1.1")
        equal(got.headers["x-version"], target["version"])
    with check(target, "head"):
        got = await http.head(f"{url}/hello")
        equal((got.status_code, got.headers["content-length"], got.content), (200, "5", b""))
    with check(target, "echo"):
        # httpx reads when all is written, for which Unix sockets may hold too little.
        sent = BODY[: MIB // 8] if "socket" in target else BODY
        got = await http.post(f"{url}/echo", content=sent)
        equal(hashlib.sha256(got.content).digest(), hashlib.sha256(sent).digest())
    with check(target, "chunked upload"):

        async def pieces():
            for start in range(0, MIB, 10007):
                yield BODY[start : start + 10007]

        told = (await http.post(f"{url}/hash", content=pieces())).json()
        equal((told["sha256"], told["length"], told["declared"]), (BODY_HASH, MIB, None))
    with check(target, "no content"):
        got = await http.get(f"{url}/status?code=204")
        equal((got.status_code, got.content), (204, b""))
        got = await http.get(f"{url}/status?code=304")
        equal((got.status_code, got.content, got.headers["etag"]), (304, b"", '"v1"'))
    with check(target, "103 before the response"):
        need(target, "interim")
        got = await http.get(f"{url}/interim")
        equal((got.status_code, got.content), (200, b"hello"))
    with check(target, "keep-alive"):
        connections = {(await http.get(f"{url}/hello")).headers["x-connection"] for _ in range(20)}
        assert len(connections) <= 2, connections
    with check(target, "100 at once"):
        got = await asyncio.gather(*(http.get(f"{url}/slow?ms=50") for _ in range(100)))
        equal([each.content for each in got], [b"hello"] * 100)
    with check(target, "100 uploads at once"):
        calls = [http.post(f"{url}/echo", content=b"%d" % each) for each in range(100)]
        got = await asyncio.gather(*calls)
        equal([each.content for each in got], [b"%d" % each for each in range(100)])
    with check(target, "answer before the upload ends"):
        need(target, "early")
        if HTTP2:
            raise Skip("httpcore fails where the answer's stream is reset, as nginx does it, too")
        got = await http.post(f"{url}/early", content=bytes(8 * MIB))
        equal((got.status_code, got.content), (413, b"too large"))
        equal((await http.get(f"{url}/hello")).content, b"hello")
    with check(target, "broken body"):
        need(target, "broken")
        for query in ("length=1", ""):
            try:
                got = await http.get(f"{url}/broken?{query}")
                raise AssertionError(f"a broken body looked whole: {len(got.content)} bytes")
            except httpx.RemoteProtocolError:
                pass
    # With a client of their own: httpcore leaves HTTP/2 streams open, and is gone with its connection.
    with check(target, "caller leaves while reading"):
        id = fresh()
        async with client(target) as own:
            async with own.stream("GET", f"{url}/hang?head=1&id={id}") as got:
                equal(await anext(got.aiter_bytes()), b"first")
        await asyncio.to_thread(await_state, target, id, "aborted")
    with check(target, "caller leaves while waiting"):
        id = fresh()
        async with client(target) as own:
            call = asyncio.create_task(own.get(f"{url}/hang?id={id}"))
            await asyncio.to_thread(await_state, target, id, "open")
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        await asyncio.to_thread(await_state, target, id, "aborted")
    with check(target, "caller leaves while sending"):
        id, sent = fresh(), asyncio.Event()

        async def begun():
            yield BODY[:65536]
            sent.set()
            await asyncio.sleep(60)

        async with client(target) as own:
            call = asyncio.create_task(own.post(f"{url}/hash?id={id}", content=begun()))
            await asyncio.wait_for(sent.wait(), 10)
            await asyncio.to_thread(await_state, target, id, "open")
            call.cancel()
            await asyncio.gather(call, return_exceptions=True)
        await asyncio.to_thread(await_state, target, id, "aborted")
    with check(target, "server-sent events"):
        events = 0
        async with http.stream("GET", f"{url}/sse?n=5&every=5") as got:
            async for line in got.aiter_lines():
                events += line.startswith("data: ")
        equal(events, 5)


async def main():
    for target in targets:
        async with client(target) as http:
            await semantics(target, http)


asyncio.run(main())
