"""The proxy: one process with a listener for each upstream, plain and over TLS."""

import json
import subprocess
import threading
import time
import urllib.request
from pathlib import Path

from . import process, tools

SETTINGS = """
[admin]
listen = "off"
[metrics]
listen = "127.0.0.1:0"
[log]
format = "json"
[access_log]
mode = "all"
# What goes wrong here does so on purpose, and is to be seen as it is.
[defaults]
breaker = false
ejection = false
retry = false
bulkhead = { max_requests = 1000, max_connections = 1000, max_idle = 100 }
"""

# Longer than anything takes that is meant to succeed on a machine with other work.
TIMEOUTS = """
[defaults.timeouts]
connect = "10s"
first_byte = "20s"
request = "30s"
"""

# For replies of the proxy itself, and for callers that name the host.
EXTRA = """
[upstreams.refusing]
listen = "127.0.0.1:0"
endpoints = ["http://127.0.0.1:REFUSING"]
protocol = "http2"
[upstreams.forward]
listen = "127.0.0.1:0"
forward = { allow = ["127.0.0.1:*", "localhost:*"], allow_addresses = ["127.0.0.0/8", "::1"] }
[[listeners]]
name = "nowhere"
address = "127.0.0.1:0"
routes = [{ host = "elsewhere.invalid", upstream = "refusing" }]
"""

# What is spoken to an upstream, by the name of its port.
SPOKEN = {"h2c": "http2", "tls1": "auto", "tls2": "auto", "mtls": "auto", "tcp": "tcp", "tcps": "tcp"}

# Ports that speak TLS.
SECURE = {"tls1", "tls2", "mtls", "tcps"}


def upstream(server, name):
    """The section of an upstream's port."""
    port, protocol = server.ports[name], SPOKEN.get(name, "http1")
    if name == "unix":
        protocol = {"grpc": "http2", "redis": "tcp", "postgres": "tcp"}.get(server.name, protocol)
        endpoint = f"unix:{port}"
    else:
        secure, tcp = name in SECURE, protocol == "tcp"
        scheme = "tcp" if tcp else "https" if secure else "http"
        endpoint = f"{scheme}://{'localhost' if secure else '127.0.0.1'}:{port}"
    lines = [
        f"[upstreams.{server.name}-{name}]",
        'listen = "127.0.0.1:0"',
        f'endpoints = ["{endpoint}"]',
        f'protocol = "{protocol}"',
    ]
    if name in SECURE:
        folder = tools.certificates()
        tls = [f'ca = "{folder}/client.pem"']
        if name == "mtls":
            tls += [f'{key} = "{folder}/callers/server.{file}"' for key, file in (("cert", "pem"), ("key", "key"))]
        lines.append(f"tls = {{ {', '.join(tls)} }}")
    return "\n".join(lines)


def socket_of(server, name):
    """The Unix socket where the proxy listens for an upstream's port; psql wants it by this name."""
    folder = tools.sockets() / f"{server.name}-{name}"
    return folder / (".s.PGSQL.5432" if server.name == "postgres" else "proxy")


def more_listeners(server, name):
    """In front of the same upstream: over TLS, with certificates of callers, and at a Unix socket."""
    folder = tools.certificates()
    socket = socket_of(server, name)
    socket.parent.mkdir(exist_ok=True)
    pair = f'cert = "{folder}/server.pem", key = "{folder}/server.key"'
    ways = {
        "tls": ("127.0.0.1:0", f"tls = {{ {pair} }}"),
        "mtls": ("127.0.0.1:0", f'tls = {{ {pair}, client_ca = "{folder}/callers/client.pem" }}'),
        "unix": (f"unix:{socket}", ""),
    }
    lines = []
    for way, (address, tls) in ways.items():
        lines += ["[[listeners]]", f'name = "{server.name}-{name}-{way}"', f'address = "{address}"', tls]
        lines += [f'routes = [{{ upstream = "{server.name}-{name}" }}]']
    return "\n".join(lines)


class Daemon:
    """The binary under test, for as long as the `with` block runs."""

    def __init__(self, sections, folder, timeouts=TIMEOUTS):
        config = Path(folder) / "proxy.toml"
        config.write_text("\n".join([SETTINGS, timeouts, *sections, ""]))
        self.access_log = open(Path(folder) / "access.log", "w")  # noqa: SIM115
        self.log = open(Path(folder) / "proxy.log", "w")  # noqa: SIM115
        command = [tools.outrigger(), "run", "--config", config]
        pipe = subprocess.PIPE
        self.process = process.spawn(command, pipe, stdout=self.access_log, text=True)
        self.lines = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        if not self._ready.wait(process.PATIENCE) or self.process.poll() is not None:
            process.stop(self.process)
            raise RuntimeError(f"the proxy did not start: {self.lines[-3:]}")
        return self

    def __exit__(self, *_):
        process.stop(self.process)
        self._reader.join(5)
        self.access_log.close()

    def _read(self):
        for text in self.process.stderr:
            self.log.write(text)
            self.log.flush()
            try:
                line = json.loads(text)
            except ValueError:
                line = {"message": text.strip(), "level": "ERROR"}
            self.lines.append(line)
            if line.get("message") == "ready":
                self._ready.set()
        self._ready.set()

    def port(self, listener):
        """Where a listener is; `None` where there is none of this name."""
        for line in self.lines:
            if line.get("message") == "listening" and line["listener"] == listener:
                return int(line["address"].rpartition(":")[2])
        return None

    def complaints(self):
        """What it logged as an error, or not as a log line at all."""
        return [line["message"] for line in self.lines if line.get("level") == "ERROR"]

    def broken_off(self, path):
        """How many answers to this path it took for broken off, by upstream."""
        found = {}
        for text in Path(self.access_log.name).read_text().splitlines():
            if f'"path":"{path}"' in text and '"aborted":true' in text:
                upstream_ = json.loads(text)["upstream"]
                found[upstream_] = found.get(upstream_, 0) + 1
        return found

    def metric(self, name):
        """The sum of all series of a metric."""
        url = f"http://127.0.0.1:{self.port('metrics')}/metrics"
        with urllib.request.urlopen(url, timeout=5) as response:
            lines = response.read().decode().splitlines()
        own = [line for line in lines if line.startswith((name + "{", name + " "))]
        return sum(float(line.rpartition(" ")[2]) for line in own)

    def quiet(self, seconds=10):
        """Waits until no request is in flight; gives how many are when the time is over."""
        end = time.monotonic() + seconds
        while (left := self.metric("outrigger_bulkhead_in_flight")) and time.monotonic() < end:
            time.sleep(0.05)
        return left

    def resident(self):
        """Resident memory, bytes."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        return 0
