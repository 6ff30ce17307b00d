"""The callers: which program speaks what to which upstreams."""

import json
import subprocess

from . import process, tools

# Seconds that one run of a program may take, against those that hang.
LONGEST = 240

HTTP = ("node", "hypercorn", "nginx")

# What is said on the wire: over TLS or not.
TLS = {"tls1", "tls2", "tls"}


class Program:
    """A caller, the ways it can speak, and the upstreams it is meant for."""

    def __init__(self, name, command, modes, servers=HTTP, features=(), ports=None):
        self.name, self.command, self.modes = name, command, modes
        self.servers, self.features, self.ports = servers, set(features), ports

    def targets(self, mode, servers, daemon):
        """The plan's targets: each port of the servers that this program calls."""
        found = []
        for server in servers:
            if server.name not in self.servers:
                continue
            for name in server.ports:
                features = server.features.get(name, set()) if server.features else set()
                if not self.features <= features or (self.ports and name not in self.ports):
                    continue
                label = f"{server.name}-{name}"
                over_tls = mode in TLS
                port = daemon.port(f"{label}-tls" if over_tls else label)
                if port is None:
                    continue
                host, scheme = ("localhost", "https") if over_tls else ("127.0.0.1", "http")
                target = {"label": label, "port": name, "url": f"{scheme}://{host}:{port}"}
                target |= {"control": server.control, "features": sorted(features)}
                target |= {"direct": f"127.0.0.1:{server.ports[name]}"}
                target["version"] = version(server, name)
                target["metrics"] = f"127.0.0.1:{daemon.port('metrics')}"
                for extra in ("refusing", "nowhere"):
                    target[extra] = f"http://127.0.0.1:{daemon.port(extra)}"
                found.append(target)
        return found

    def run(self, mode, targets, log):
        """Runs it; gives (target, check, result, detail) of all it tells."""
        folder = tools.SCRATCH / "run"
        plan = {"mode": mode, "targets": targets, "ca": str(tools.certificates() / "client.pem")}
        plan |= {"work": str(folder)}
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


def _java():
    java, folder = tools.java()
    flags = ["-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Djdk.httpclient.keepalive.timeout=10"]
    return [java, *flags, "-cp", folder, "JavaClient"]


PROGRAMS = [
    Program("curl", _curl, ["http10", "h1", "h2c", "tls1", "tls2"]),
    Program("httpx", _python("with_httpx.py"), ["h1", "h2c", "tls1", "tls2"]),
    Program("aiohttp", _python("with_aiohttp.py"), ["h1", "tls1"]),
    Program("node http", _node("node_http.mjs"), ["h1", "tls1"]),
    Program("node http2", _node("node_http2.mjs"), ["h2c", "tls2"]),
    Program("undici", _node("with_undici.mjs"), ["h1", "tls1", "tls2"]),
    Program("java", _java, ["h1", "h2c", "tls1", "tls2"]),
    Program("websockets", _python("with_websockets.py"), ["h1", "tls"], features=["websocket"]),
    Program("node ws", _node("node_ws.mjs"), ["h1", "tls"], features=["websocket"]),
    Program("grpcio", _python("with_grpc.py"), ["h2c", "tls"], servers=("grpc",)),
    Program("pg8000, psql", _python("with_postgres.py"), ["tcp"], servers=("postgres",)),
    Program("redis-py", _python("with_redis.py"), ["tcp"], servers=("redis",)),
]
