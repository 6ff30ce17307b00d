"""The upstreams: each starts on free ports and says what of the checks it can do."""

import contextlib
import os
import random
import shutil
import socket
import subprocess

from . import process, tools

# What an upstream can do, beside what all can.
NODE = {"broken", "duplex", "early", "expect", "interim", "trailers"}
NODE |= {"takes_trailers", "tells_trailers", "websocket", "commands"}


class Server:
    """A running upstream: its ports, or paths, by what is spoken there, and a port past the proxy."""

    def __init__(self, name, process_, ports, control, features):
        self.name, self.process, self.ports = name, process_, ports
        self.control, self.features = f"http://127.0.0.1:{control}", features


def free_ports(count):
    """Ports on loopback that nobody listens on; for servers that cannot say which they chose."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def listens(port):
    """Whether somebody listens there; raises where not."""
    socket.create_connection(("127.0.0.1", port), 0.2).close()
    return True


def node(log):
    """Node's own servers."""
    folder = tools.certificates()
    modules = tools.node_modules()
    command = [tools.node(), tools.SUITE / "upstreams/app.mjs"]
    command += [folder / "server.pem", folder / "server.key", tools.sockets() / "node", modules]
    started, ports = process.announced(command, log)
    control = ports.pop("control")
    features = {name: NODE | {"deflate"} for name in ports}
    for name in ("h2c", "tls2"):
        features[name] -= {"expect"}
    features["h2c"] -= {"deflate"}
    return Server("node", started, ports, control, features)


def hypercorn(log):
    """The same application in Python."""
    folder = tools.certificates()
    command = [tools.python(), tools.SUITE / "upstreams/app.py"]
    command += [folder / "server.pem", folder / "server.key"]
    started, ports = process.announced(command, log)
    control = ports.pop("control")
    # Over HTTP/1 it has no trailers and no 103, and it may send 100 before it refuses. What it is sent for a stream that it has ended holds
    # up others, and is an error that ends the connection where the stream was a WebSocket.
    features = {name: {"broken", "duplex", "takes_trailers"} for name in ports}
    for name in ("h2c", "tls2"):
        features[name] |= {"interim", "trailers"}
    for name in ("h1", "tls2"):
        features[name] |= {"websocket"}
    return Server("hypercorn", started, ports, control, features)


def nginx(log, behind):
    """nginx with files, and what `behind` serves."""
    binary = tools.found("nginx", "nginx-light")
    folder = tools.SCRATCH / "nginx"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "static").mkdir(parents=True)
    (folder / "static/file").write_bytes(random.Random(1).randbytes(1 << 20))
    (folder / "static/text").write_text("the same again\n" * 10000)
    names = ("h1", "h2c", "tls1", "tls2", "mtls")
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    ports["unix"] = str(tools.sockets() / "nginx")
    values = {"folder": folder, "certificates": tools.certificates(), "app": behind.ports["h1"]}
    for file in ("nginx.conf", "nginx-pages.conf"):
        text = (tools.SUITE / "upstreams" / file).read_text()
        for name, value in (values | ports).items():
            text = text.replace("{{%s}}" % name, str(value))
        (folder / file).write_text(text)
    command = [binary, "-e", folder / "error.log", "-c", folder / "nginx.conf"]
    started = process.spawn(command + (["-g", "user root;"] if os.geteuid() == 0 else []), log)
    process.until(lambda: listens(ports["h1"]), started, "nginx")
    features = {name: {"broken", "early", "static"} for name in ports}
    # Over HTTP/2, nginx 1.22 ends the connection at a trailer, and knows no extended CONNECT.
    for name in ("h1", "tls1", "mtls", "unix"):
        features[name] |= {"takes_trailers", "websocket", "deflate", "commands"}
    return Server("nginx", started, ports, behind.control.rpartition(":")[2], features)


def grpc(log):
    """The gRPC server, plain and over TLS."""
    folder = tools.certificates()
    command = [tools.python(), tools.SUITE / "upstreams/grpc_server.py"]
    command += [folder / "server.pem", folder / "server.key", folder / "callers/client.pem"]
    command += [tools.sockets() / "grpc"]
    started, ports = process.announced(command, log)
    return Server("grpc", started, ports, 0, {})


def redis(log):
    """Redis without persistence: plain, over TLS and at a Unix socket."""
    binary, extra = tools.redis()
    folder = tools.certificates()
    plain, secure = free_ports(2)
    ports = {"tcp": plain, "tcps": secure, "unix": str(tools.sockets() / "redis")}
    command = ["env", *(f"{name}={value}" for name, value in extra.items()), binary, "--port", plain]
    command += ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", tools.SCRATCH]
    command += ["--tls-port", secure, "--tls-auth-clients", "no", "--unixsocket", ports["unix"]]
    command += ["--tls-cert-file", folder / "server.pem", "--tls-key-file", folder / "server.key"]
    command += ["--tls-ca-cert-file", folder / "client.pem"]
    started = process.spawn(command, log)
    process.until(lambda: listens(plain), started, "redis-server")
    return Server("redis", started, ports, 0, {})


def postgres(log):
    """PostgreSQL with a fresh cluster, as somebody else than root; it takes TLS where it is asked for."""
    binaries = tools.postgres()
    user = None
    folder = tools.SCRATCH / "postgres"
    if os.geteuid() == 0:
        user = "postgres" if _exists("postgres") else "nobody"
        # Below the scratch folder it may not come where a parent is closed to others.
        folder = tools.Path("/tmp") / f"outrigger-clients-postgres-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if user:
        shutil.chown(folder, user)
    data = folder / "data"
    initdb = [binaries / "initdb", "-D", data, "-U", "suite", "-A", "trust", "-N", "--no-locale"]
    made = process.spawn([*initdb, "-E", "UTF8"], log, cwd=folder, user=user)
    if made.wait() != 0:
        raise tools.Missing(f"initdb ended with {made.returncode}, see {log.name}")
    (port,) = free_ports(1)
    settings = {"port": port, "listen_addresses": "127.0.0.1", "fsync": "off", "ssl": "on"}
    settings |= {"unix_socket_directories": folder, "max_connections": 60}
    for name, file in (("ssl_cert_file", "server.pem"), ("ssl_key_file", "server.key")):
        settings[name] = shutil.copy(tools.certificates() / file, folder)
        os.chmod(settings[name], 0o600)
        if user:
            shutil.chown(settings[name], user)
    command = [binaries / "postgres", "-D", data]
    command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    started = process.spawn(command, log, cwd=folder, user=user)
    ready = [binaries / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port), "-U", "suite"]
    process.until(lambda: subprocess.run(ready).returncode == 0, started, "postgres")
    ports = {"tcp": port, "unix": f"{folder}/.s.PGSQL.{port}"}
    server = Server("postgres", started, ports, 0, {})
    server.folder = folder
    return server


def _exists(user):
    return subprocess.run(["id", user], capture_output=True).returncode == 0
