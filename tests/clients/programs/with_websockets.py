"""Python websockets: frames of every kind, compression, closing from either side."""

import asyncio
import ssl

import websockets
from suite import BODY, await_state, check, equal, fresh, need, plan, targets

VERIFY = ssl.create_default_context(cafile=plan["ca"])
if plan["mode"] == "mtls":
    VERIFY.load_cert_chain(plan["cert"], plan["key"])


def connect(target, path, **more):
    url = target["url"].replace("http", "ws", 1) + path
    if url.startswith("wss"):
        more["ssl"] = VERIFY
    if "socket" in target:
        return websockets.unix_connect(target["socket"], url, max_size=None, **more)
    return websockets.connect(url, max_size=None, proxy=target.get("proxy"), **more)


async def frames(target):
    with check(target, "text and binary"):
        async with connect(target, "/ws", compression=None) as socket:
            for sent in ("", "text", "\u00e4\u4e16" * 1000, b"", BODY):
                await socket.send(sent)
                equal(await socket.recv(), sent)
    with check(target, "fragments"):
        async with connect(target, "/ws", compression=None) as socket:
            await socket.send(["frag", "men", "ted"])
            equal(await socket.recv(), "fragmented")
    with check(target, "compression"):
        async with connect(target, "/ws", compression="deflate") as socket:
            need(target, "deflate")
            assert socket.protocol.extensions, "permessage-deflate was not agreed on"
            await socket.send("the same again " * 10000)
            equal(await socket.recv(), "the same again " * 10000)
    with check(target, "subprotocol"):
        async with connect(target, "/ws", subprotocols=["chat.v1", "chat.v2"]) as socket:
            equal(socket.subprotocol, "chat.v2")
    with check(target, "ping from either side"):
        async with connect(target, "/ws") as socket:
            await asyncio.wait_for(await socket.ping(b"from caller"), 10)
            if "commands" in target["features"]:
                await socket.send("ping")
                equal(await socket.recv(), "pinged")
    with check(target, "1000 messages"):
        async with connect(target, "/ws") as socket:

            async def send():
                for number in range(1000):
                    await socket.send(str(number))

            sending = asyncio.create_task(send())
            for number in range(1000):
                equal(await socket.recv(), str(number))
            await sending
    with check(target, "100 at once"):

        async def one(number):
            async with connect(target, "/ws") as socket:
                await socket.send(str(number))
                return await socket.recv()

        got = await asyncio.gather(*map(one, range(100)))
        equal(got, [str(number) for number in range(100)])
    with check(target, "caller closes"):
        id = fresh()
        async with connect(target, f"/ws?id={id}") as socket:
            await socket.close(4001, "by caller")
        # hypercorn knows of its own closings alone.
        code = "4001" if "commands" in target["features"] else "1006"
        await asyncio.to_thread(await_state, target, id, f"closed {code}")
    with check(target, "upstream closes"):
        async with connect(target, "/ws") as socket:
            await socket.send("close 4002")
            await socket.wait_closed()
            equal((socket.close_code, socket.close_reason), (4002, "as asked"))
    with check(target, "caller vanishes"):
        id = fresh()
        async with connect(target, f"/ws?id={id}") as socket:
            await socket.send("hello")
            await socket.recv()
            socket.transport.abort()
        await asyncio.to_thread(await_state, target, id, "closed 1006")
    with check(target, "upstream vanishes"):
        need(target, "commands")
        async with connect(target, "/ws") as socket:
            await socket.send("die")
            await socket.wait_closed()
            equal(socket.close_code, 1006)
    with check(target, "refused"):
        try:
            async with connect(target, "/elsewhere"):
                raise AssertionError("the upstream refused, and the caller was let in")
        except websockets.InvalidStatus as refused:
            equal(refused.response.status_code, 403)


async def main():
    for target in targets:
        await frames(target)


asyncio.run(main())
