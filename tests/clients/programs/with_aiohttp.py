"""Python aiohttp: HTTP/1.1, plain and over TLS, and its WebSocket client.

Also with a certificate of its own, to a Unix socket, and by a proxy that the environment names.
"""

import asyncio
import hashlib
import os
import ssl

import aiohttp
from suite import BODY, BODY_HASH, MIB, Skip, await_state, check, equal, fresh, need, plan, targets

VERIFY = ssl.create_default_context(cafile=plan["ca"])
if plan["mode"] == "mtls":
    VERIFY.load_cert_chain(plan["cert"], plan["key"])


async def semantics(target, http):
    url = target["url"]

    with check(target, "get"):
        async with http.get(f"{url}/hello") as got:
            equal((got.status, await got.read()), (200, b"hello"))
            equal(got.headers["x-version"], target["version"])
    with check(target, "head"):
        async with http.head(f"{url}/hello") as got:
            equal((got.status, got.headers["content-length"]), (200, "5"))
    with check(target, "echo of 1 MiB"):
        async with http.post(f"{url}/echo", data=BODY) as got:
            equal(hashlib.sha256(await got.read()).hexdigest(), BODY_HASH)
    with check(target, "chunked upload"):

        async def pieces():
            for start in range(0, MIB, 10007):
                yield BODY[start : start + 10007]

        async with http.post(f"{url}/hash", data=pieces()) as got:
            told = await got.json(content_type=None)
        equal((told["sha256"], told["length"], told["declared"]), (BODY_HASH, MIB, None))
    with check(target, "100-continue"):
        async with http.post(f"{url}/hash", data=BODY, expect100=True) as got:
            told = await got.json(content_type=None)
        equal(told["sha256"], BODY_HASH)
    with check(target, "100 at once"):

        async def one(number):
            async with http.post(f"{url}/echo", data=b"%d" % number) as got:
                return await got.read()

        got = await asyncio.gather(*map(one, range(100)))
        equal(got, [b"%d" % number for number in range(100)])
    with check(target, "answer before the upload ends"):
        need(target, "early")
        async with http.post(f"{url}/early", data=bytes(8 * MIB)) as got:
            equal((got.status, await got.read()), (413, b"too large"))
    with check(target, "broken body"):
        need(target, "broken")
        for query in ("length=1", ""):
            try:
                async with http.get(f"{url}/broken?{query}") as got:
                    body = await got.read()
                raise AssertionError(f"a broken body looked whole: {len(body)} bytes")
            except aiohttp.ClientPayloadError:
                pass
    with check(target, "caller leaves while reading"):
        if target["label"].startswith("nginx") and "proxy" in target and url.startswith("https"):
            raise Skip("asyncio keeps a tunnel until close_notify is answered, and nginx does not read then")
        id = fresh()
        async with http.get(f"{url}/hang?head=1&id={id}") as got:
            equal(await got.content.readany(), b"first")
            got.close()
        await asyncio.to_thread(await_state, target, id, "aborted")
    with check(target, "server-sent events"):
        async with http.get(f"{url}/sse?n=5&every=5") as got:
            equal((await got.read()).count(b"\ndata: "), 5)
    with check(target, "WebSocket"):
        need(target, "websocket")
        async with http.ws_connect(f"{url}/ws", protocols=["chat.v1", "chat.v2"]) as socket:
            equal(socket.protocol, "chat.v2")
            await socket.send_str("one")
            equal(await socket.receive_str(timeout=10), "one")
            await socket.send_bytes(BODY)
            equal(await socket.receive_bytes(timeout=10), BODY)
            await socket.send_str("close 4002")
            await socket.receive(timeout=10)
            equal(socket.close_code, 4002)


async def main():
    for target in targets:
        connector = aiohttp.TCPConnector(ssl=VERIFY, limit=200)
        if "socket" in target:
            connector = aiohttp.UnixConnector(target["socket"], limit=200)
        if "proxy" in target:
            os.environ |= {"HTTP_PROXY": target["proxy"], "HTTPS_PROXY": target["proxy"]}
        timeout = aiohttp.ClientTimeout(total=20)
        options = {"timeout": timeout, "trust_env": "proxy" in target, "max_line_size": 16384}
        async with aiohttp.ClientSession(connector=connector, **options) as http:
            await semantics(target, http)


asyncio.run(main())
