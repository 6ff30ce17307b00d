"""The scenarios, and one measurement of one peer in one of them."""

import json
import shlex
import socket
import subprocess
import time
from pathlib import Path

from . import build
from .process import Others, rss_kib, spawn, stop, tree

SCENARIOS = {
    "h1_small": ("64 keep-alive connections, 128 B response", "--conns 64 --path /b/128"),
    "h1_1k_post": ("as h1_small, 1 KiB POST echoed", "--conns 64 --path /echo --body 1024"),
    "h1_64k": ("as h1_small, 64 KiB response", "--conns 64 --path /b/65536"),
    "h1_delay": (
        "512 connections, the backend answers after 5 ms",
        "--conns 512 --path /d/5/128",
    ),
    "h1_close": (
        "a client connection per request, 32 at a time",
        "--conns 32 --path /b/128 --close",
    ),
    "lat_1": ("one connection, closed loop", "--conns 1 --path /b/128"),
    "rate_2k": ("open loop, Poisson, 2,000/s", "--conns 64 --path /b/128 --rate 2000"),
    "rate_8k": ("open loop, Poisson, 8,000/s", "--conns 64 --path /b/128 --rate 8000"),
    "idle": ("memory: at rest, with 1,000 and 10,000 idle connections", None),
}

IDLE_CONNECTIONS = (1_000, 10_000)


def is_clean(result, max_foreign):
    """Whether little else ran on the machine meanwhile."""
    return spoilt(result) <= max_foreign


def spoilt(result):
    """Per cent of a core that others used or the host took."""
    return max(result["foreign_pct"], result["stolen_pct"])


def measure(options, scenario, peer, backend, ports):
    """Starts the peer, loads it, and returns the figures."""
    _wait_for_conntrack()
    proxy = None
    try:
        if not peer.direct:
            proxy = peer.start(ports, options.threads, options.proxy_cpus)
            _probe(ports["LISTEN"])
            time.sleep(0.2)
        port = ports["BACKEND"] if peer.direct else ports["LISTEN"]
        pids = tree(proxy.pid) if proxy else []
        rest = rss_kib(pids)
        others = Others([*pids, backend.pid])
        load = SCENARIOS[scenario][1]
        result = _idle(options, port, proxy) if load is None else _load(options, load, port, pids)
        result |= others.so_far()
        result["rss_rest_mib"] = rest / 1024 if proxy else None
        if proxy and load is not None:
            result["rss_load_mib"] = rss_kib(tree(proxy.pid)) / 1024
            if result["requests"]:
                result["cpu_us"] = 1e6 * result["cpu_s"] / result["requests"]
                result["util"] = result["cpu_s"] / result["secs"]
        return result
    finally:
        if proxy:
            stop(proxy)


def _load(options, arguments, port, pids):
    return run_loadgen(
        f"--port {port} --warmup {options.warmup} --duration {options.duration} "
        f"--pids {','.join(map(str, pids)) or ','} {arguments}",
        options.load_cpus,
        options.warmup + options.duration + 20,
    )


def start_loadgen(arguments, cpus=frozenset()):
    """Starts the load generator."""
    command = [build.LOADGEN, *shlex.split(arguments)]
    pipe = subprocess.PIPE
    return spawn(command, pipe, cpus, stdin=pipe, text=True)


def run_loadgen(arguments, cpus, timeout):
    """Runs the load generator to its end and returns its figures."""
    generator = start_loadgen(arguments, cpus)
    try:
        output, problem = generator.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        stop(generator)
        raise RuntimeError("the load generator did not end") from None
    if generator.returncode:
        raise RuntimeError(problem.strip()[-300:])
    return json.loads(output)


def _idle(options, port, proxy):
    result = {}
    for count in IDLE_CONNECTIONS:
        generator = start_loadgen(f"--port {port} --conns {count} --hold", options.load_cpus)
        try:
            line = generator.stdout.readline()
            if not line:
                raise RuntimeError(generator.stderr.read().strip()[-300:])
            time.sleep(0.5)
            result[f"open_{count}"] = json.loads(line)["open"]
            result[f"rss_{count}_mib"] = rss_kib(tree(proxy.pid)) / 1024
        finally:
            stop(generator)
        time.sleep(0.3)
    return result


def _probe(port, size=128):
    """One request through the proxy; the answer must be the backend's own."""
    request = f"GET /b/{size} HTTP/1.1\r\nhost: bench.local\r\nconnection: close\r\n\r\n"
    last = b""
    for _ in range(50):
        try:
            with socket.create_connection(("127.0.0.1", port), 3) as stream:
                stream.sendall(request.encode())
                last = b"".join(iter(lambda: stream.recv(65536), b""))
            if last.startswith(b"HTTP/1.1 200") and last.endswith(b"x" * size):
                return
        except OSError as error:
            last = error
        time.sleep(0.1)
    raise RuntimeError(f"no good answer: {last!r}")


def _wait_for_conntrack():
    """A full table of tracked connections drops SYNs, which would then be measured."""
    folder = Path("/proc/sys/net/netfilter")
    for _ in range(20):
        try:
            count = int((folder / "nf_conntrack_count").read_text())
            limit = int((folder / "nf_conntrack_max").read_text())
        except OSError:
            return
        if count < limit * 0.85:
            return
        time.sleep(1)
