"""The callers: which program speaks what to which upstreams."""

import json
import subprocess

from . import daemon, process, tools

# Seconds that one run of a program may take, against those that hang.
LONGEST = 240

HTTP = ("node", "hypercorn", "nginx")

# How a caller comes to the proxy, by mode; what is spoken on the way is up to the caller.
WAYS = {"tls1": "tls", "tls2": "tls", "tls": "tls", "mtls": "mtls", "unix": "unix", "proxy": "proxy", "proxy2": "proxy"}

# Where callers are sent that come by some way: what is behind a request does not depend on what was
# before it. Those over TLS go everywhere if asked to.
REACHED = {
    "tls": {"node-h1", "node-h2c", "node-tls2", "hypercorn-h2c", "nginx-tls2", "hypercorn-h1", "grpc-tls2", "redis-tcps"},
    "mtls": {"node-h1", "nginx-mtls", "grpc-mtls"},
    "unix": {"node-h1", "node-unix", "nginx-tls2", "grpc-unix", "redis-unix", "postgres-unix"},
    "proxy": {"node-h1", "node-tls2", "nginx-h1", "nginx-tls1", "hypercorn-h1", "grpc-h2c"},
}


class Program:
    """A caller, the ways it can speak, and the upstreams it is meant for."""

    def __init__(self, name, command, modes, servers=HTTP, features=()):
        self.name, self.command, self.modes = name, command, modes
        self.servers, self.features = servers, set(features)

    def targets(self, mode, servers, proxy, everywhere=False):
        """The plan's targets: each port of the servers that this program calls."""
        way = WAYS.get(mode, "plain")
        found = []
        for server in servers:
            if server.name not in self.servers:
                continue
            for name in server.ports:
                features = server.features.get(name, set()) if server.features else set()
                label = f"{server.name}-{name}"
                reached = way == "plain" or way == "tls" and everywhere or label in REACHED[way]
                if self.features <= features and reached:
                    found.append(_target(mode, server, name, features, proxy))
        return found

    def run(self, mode, targets, log):
        """Runs it; gives (target, check, result, detail) of all it tells."""
        folder = tools.SCRATCH / "run"
        certificates = tools.certificates()
        plan = {"mode": mode, "targets": targets, "ca": str(certificates / "client.pem")}
        plan |= {"work": str(folder)}
        for prefix, under in (("", certificates / "callers"), ("server_", certificates)):
            plan |= {f"{prefix}cert": f"{under}/server.pem", f"{prefix}key": f"{under}/server.key"}
        file = folder / "plan.json"
        file.write_text(json.dumps(plan))
        command = [str(word) for word in self.command()]
        running = process.spawn([*command, file], log, stdout=subprocess.PIPE, text=True)
        try:
            out, _ = running.communicate(timeout=LONGEST)
            ended = f"ended with {running.returncode}" if running.returncode else ""
        except subprocess.TimeoutExpired:
            process.stop(running)
            out, _ = running.communicate()
            ended = f"did not end within {LONGEST} s"
        told = []
        for line in out.splitlines():
            try:
                line = json.loads(line)
                told.append((line["target"], line["check"], line["result"], line["detail"]))
            except (ValueError, KeyError):
                log.write(line + "\n")
        silent = {target["label"] for target in targets} - {each[0] for each in told}
        if ended or silent:
            label = told[-1][0] if told and not silent else (sorted(silent) or ["?"])[0]
            told.append((label, "runs to its end", "failed", f"{ended or 'told nothing'}, see {log.name}"))
        return told


def _target(mode, server, name, features, proxy):
    """What a program is told of one upstream: where to call it, and what it can do."""
    way, label = WAYS.get(mode, "plain"), f"{server.name}-{name}"
    secure = way in ("tls", "mtls")
    port = proxy.port(label if way in ("plain", "unix") else f"{label}-{way}")
    if way == "proxy":
        secure, port = name in daemon.SECURE, server.ports[name]
    host, scheme = ("localhost", "https") if secure else ("127.0.0.1", "http")
    target = {"label": label, "port": name, "url": f"{scheme}://{host}:{port}"}
    target |= {"control": server.control, "features": sorted(features)}
    # In mode `proxy` a caller speaks HTTP/1.1, in tunnels with the upstream itself.
    target["version"] = "1.1" if mode == "proxy" else version(server, name)
    target["metrics"] = f"127.0.0.1:{proxy.port('metrics')}"
    for extra in ("refusing", "nowhere"):
        target[extra] = f"http://127.0.0.1:{proxy.port(extra)}"
    if way == "unix":
        target["socket"] = str(daemon.socket_of(server, name))
    if way == "proxy":
        target["proxy"] = f"http://127.0.0.1:{proxy.port('forward')}"
    return target


def version(server, name):
    """What the upstream says in `x-version` of a request that came to this port."""
    if name in ("h2c", "tls2"):
        return "2" if server.name == "hypercorn" else "2.0"
    return "1.1"


def _python(file):
    return lambda: [tools.python(), tools.SUITE / "programs" / file]


def _node(file):
    return lambda: [tools.node(), tools.SUITE / "programs" / file, tools.node_modules()]


def _curl():
    tools.found("curl", "curl")
    return _python("curl.py")()


def _chromium():
    tools.found("chromium", "chromium")
    return _python("with_chromium.py")()


def _java():
    java, folder = tools.java()
    flags = ["-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djdk.httpclient.keepalive.timeout=10"]
    return [java, *flags, "-cp", folder, "JavaClient"]


MORE = ["mtls", "unix", "proxy"]

PROGRAMS = [
    Program("curl", _curl, ["http10", "h1", "h2c", "tls1", "tls2", *MORE, "proxy2"]),
    Program("httpx", _python("with_httpx.py"), ["h1", "h2c", "tls1", "tls2", *MORE]),
    Program("aiohttp", _python("with_aiohttp.py"), ["h1", "tls1", *MORE]),
    Program("node http", _node("node_http.mjs"), ["h1", "tls1", "mtls", "unix"]),
    Program("node http2", _node("node_http2.mjs"), ["h2c", "tls2", "mtls", "unix"]),
    Program("undici", _node("with_undici.mjs"), ["h1", "tls1", "tls2", *MORE]),
    Program("java", _java, ["h1", "h2c", "tls1", "tls2", "proxy"]),
    Program("websockets", _python("with_websockets.py"), ["h1", "tls", *MORE], features=["websocket"]),
    Program("node ws", _node("node_ws.mjs"), ["h1", "h2c", "tls1", "tls2"], features=["websocket"]),
    Program("chromium", _chromium, ["tls2"], features=["websocket"]),
    Program("grpcio", _python("with_grpc.py"), ["h2c", "tls", *MORE], servers=("grpc",)),
    Program("pg8000, psql", _python("with_postgres.py"), ["tcp", "unix"], servers=("postgres",)),
    Program("redis-py", _python("with_redis.py"), ["tcp", "tls", "unix"], servers=("redis",)),
]
