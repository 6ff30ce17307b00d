"""Chromium without a screen: what a page does, its WebSockets over HTTP/2 (RFC 8441) above all.

It is led by the DevTools protocol, with JavaScript in a page of the upstream.
"""

import json
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path

from suite import PATIENCE, await_state, check, equal, fresh, need, plan, targets
from websockets.sync.client import connect

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
FLAGS += ["--disable-features=BackForwardCache", "--no-proxy-server", "--ignore-certificate-errors", "--remote-debugging-port=0"]

# In every page: one WebSocket, with what it receives as promises.
SCRIPT = """
    const open = (path, ...more) => new Promise((opened, failed) => {
        const socket = new WebSocket(location.origin.replace('http', 'ws') + path, ...more);
        const answers = [], waiting = [];
        socket.binaryType = 'arraybuffer';
        socket.onmessage = ({ data }) => (waiting.length ? waiting.shift()(data) : answers.push(data));
        socket.receive = () => (answers.length ? Promise.resolve(answers.shift()) : new Promise((got) => waiting.push(got)));
        socket.closed = new Promise((closed) => { socket.onclose = ({ code, reason }) => closed([code, reason]); });
        socket.onopen = () => opened(socket);
        socket.onerror = () => failed(new Error('no WebSocket'));
    });
"""


class Page:
    """A page of Chromium."""

    def __init__(self, browser):
        request = urllib.request.Request(f"http://{browser}/json/new?about:blank", method="PUT")
        with urllib.request.urlopen(request, timeout=PATIENCE) as response:
            address = json.load(response)["webSocketDebuggerUrl"]
        self._socket = connect(address, max_size=None, proxy=None)
        self._calls = 0

    def call(self, method, **parameters):
        """A command of the DevTools protocol; gives its result."""
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while (told := json.loads(self._socket.recv(timeout=30))).get("id") != self._calls:
            pass
        if "error" in told:
            raise AssertionError(told["error"]["message"])
        return told["result"]

    def run(self, script):
        """The value of the body of an asynchronous function."""
        script = f"(async () => {{ {SCRIPT} {script} }})()"
        told = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in told:
            raise AssertionError(told["exceptionDetails"].get("exception", {}).get("description"))
        return told["result"].get("value")

    def go(self, url):
        """Opens this address and waits until it is there."""
        told = self.call("Page.navigate", url=url)
        assert not told.get("errorText"), told["errorText"]
        end = time.monotonic() + PATIENCE
        while self.run("return [document.readyState, location.href]") != ["complete", url]:
            assert time.monotonic() < end, f"{url} does not load"
            time.sleep(0.01)


def semantics(target, page):
    with check(target, "get over HTTP/2"):
        page.go(f"{target['url']}/hello")
        equal(page.run("return document.body.innerText"), "hello")
        equal(page.run("return performance.getEntriesByType('navigation')[0].nextHopProtocol"), "h2")
    with check(target, "fetch"):
        script = """
            const body = crypto.getRandomValues(new Uint8Array(65536));
            const got = await fetch('/echo', { method: 'POST', body });
            return new Uint8Array(await got.arrayBuffer()).every((each, place) => each === body[place]);
        """
        equal(page.run(script), True)
    with check(target, "WebSocket over HTTP/2"):
        script = """
            const socket = await open('/ws', ['chat.v1', 'chat.v2']);
            const sent = 'the same again '.repeat(50000);
            socket.send(sent);
            const text = await socket.receive() === sent;
            const bytes = crypto.getRandomValues(new Uint8Array(65536));
            socket.send(bytes);
            const same = new Uint8Array(await socket.receive()).every((each, place) => each === bytes[place]);
            socket.send('close 4002');
            return [socket.protocol, text, same, ...await socket.closed];
        """
        equal(page.run(script), ["chat.v2", True, True, 4002, "as asked"])
    with check(target, "20 WebSockets without another connection"):
        before = connections(target)
        script = """
            globalThis.sockets = await Promise.all([...Array(20)].map(() => open('/ws')));
            return Promise.all(sockets.map(async (socket, number) => {
                for (let each = 0; each < 100; each += 1) socket.send(`${number}.${each}`);
                for (let each = 0; each < 100; each += 1) {
                    if (await socket.receive() !== `${number}.${each}`) return false;
                }
                return true;
            }));
        """
        equal(page.run(script), [True] * 20)
        assert 1 <= connections(target) <= before, (connections(target), before)
        page.run("for (const socket of sockets) socket.close(); await Promise.all(sockets.map((socket) => socket.closed))")
    with check(target, "caller closes"):
        id = fresh()
        page.run(f"const socket = await open('/ws?id={id}'); socket.close(4001, 'by caller'); await socket.closed")
        # hypercorn knows of its own closings alone.
        await_state(target, id, "closed 4001" if "commands" in target["features"] else "closed 1006")
    with check(target, "caller leaves the page"):
        id = fresh()
        page.run(f"globalThis.socket = await open('/ws?id={id}')")
        await_state(target, id, "open")
        page.go(f"{target['url']}/hello?{id}")
        await_state(target, id, "closed")
    with check(target, "upstream vanishes"):
        need(target, "commands")
        equal(page.run("const socket = await open('/ws'); socket.send('die'); return (await socket.closed)[0]"), 1006)
    with check(target, "refused"):
        equal(page.run("return open('/elsewhere').then(() => 'open', ({ message }) => message)"), "no WebSocket")
    with check(target, "server-sent events"):
        script = """
            const events = new EventSource('/sse?n=5&every=5');
            let seen = 0;
            events.onmessage = () => { seen += 1; };
            await new Promise((over) => { events.onerror = over; });
            events.close();
            return seen;
        """
        equal(page.run(script), 5)


def connections(target):
    """How many callers the listener of this target has."""
    with urllib.request.urlopen(f"http://{target['metrics']}/metrics", timeout=PATIENCE) as response:
        lines = response.read().decode().splitlines()
    name = f'outrigger_downstream_connections{{listener="{target["label"]}-tls"}}'
    return sum(int(line.rpartition(" ")[2]) for line in lines if line.startswith(name))


def main():
    folder = Path(tempfile.mkdtemp(dir=plan["work"]))
    command = ["chromium", *FLAGS, f"--user-data-dir={folder}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as browser:
        try:
            port, end = folder / "DevToolsActivePort", time.monotonic() + 30
            while not port.exists() or len(port.read_text().split()) < 2:
                assert time.monotonic() < end and browser.poll() is None, "Chromium does not start"
                time.sleep(0.05)
            address = f"127.0.0.1:{port.read_text().split()[0]}"
            for each in targets:
                semantics(each, Page(address))
        finally:
            browser.terminate()


main()
