"""One attack: the good client's latency and the proxy's memory before, during and after."""

import json
import os
import subprocess
import sys
import threading
import time

from . import attack, build
from .daemon import Daemon, quantile
from .measure import start_loadgen
from .process import rss_kib, spawn, start_backend, stop

# The good client's upstream is not the one that is attacked through: what shares an upstream shares
# its slots.
UPSTREAMS = """
[runtime]
workers = 1
[defaults.downstream]
header_timeout = "3s"
min_body_rate = "1KiB"
max_connections = 20000
[upstreams.good]
listen = "127.0.0.1:0"
endpoints = ["http://127.0.0.1:{good}"]
[upstreams.target]
listen = "127.0.0.1:0"
endpoints = ["http://127.0.0.1:{target}"]
[upstreams.target.breaker]
mode = "off"
"""
CROWDED = """
[upstreams.target.bulkhead]
max_requests = 2000
max_connections = 1100
"""

# The good client: calls per second over each version.
RATE = 200
LOAD = f"--conns 8 --rate {RATE} --path /b/128 --warmup 0"

# The good client's p99 may be three times what it is when all is quiet. Below this a neighbour on
# the machine decides, not the proxy.
FLOOR_MS = 5.0
# What the proxy's memory may grow by meanwhile, and by what is left of it afterwards.
GROWTH_MIB, LEFT_MIB = 64, 32
# Seconds before and after.
QUIET = 3
# Seconds for the proxy to close what the attacker left.
SETTLE = 2


def head():
    """Prints the head of the table."""
    print(
        f"{'attack':22} {'p99 ms h1: quiet':>16} {'under':>7} {'after':>7}"
        f" {'h2: quiet':>10} {'under':>7} {'after':>7}"
        f" {'MiB: quiet':>11} {'under':>7} {'after':>7} {'bad':>4} {'floods':>7}  verdict"
    )


def run(name, options):
    """Attacks once; prints a row and returns whether all stayed within bounds."""
    own, own_port = start_backend(build.BACKEND, options.load_cpus)
    target, target_port = start_backend(build.BACKEND, options.load_cpus)
    behind(target.pid)
    try:
        upstreams = UPSTREAMS.format(good=own_port, target=target_port)
        if attack.ATTACKS[name].crowds:
            upstreams += CROWDED
        with Daemon("attacks", upstreams, options.proxy_cpus) as daemon:
            return _siege(name, options, daemon)
    finally:
        stop(own)
        stop(target)


class Clients:
    """The good client: over HTTP/1.1 the load generator, over HTTP/2 a process of Python."""

    def __init__(self, port, cpus):
        self.port, self.cpus = port, cpus
        command = [sys.executable, "-B", "-m", "harness.h2", port, RATE, "/b/128"]
        pipe = subprocess.PIPE
        self.http2 = spawn(command, None, cpus, stdin=pipe, stdout=pipe, text=True, cwd=build.HERE)

    def measure(self, seconds):
        """p99 over either version in milliseconds, and how many calls were not answered well."""
        generator = start_loadgen(f"--port {self.port} --duration {seconds} {LOAD}", self.cpus)
        self.http2.stdin.write(f"{seconds}\n")
        self.http2.stdin.flush()
        output, problem = generator.communicate()
        if generator.returncode:
            raise RuntimeError(problem)
        http1, http2 = json.loads(output), json.loads(self.http2.stdout.readline())
        bad = http1["errors"] + http1["non2xx"] + http1["stuck"] + http2["bad"]
        p99 = 1e3 * quantile(http2["latencies"], 0.99) if http2["latencies"] else float("inf")
        return (http1["p99_us"] / 1e3, p99), bad


class Memory:
    """The most memory that the proxy takes while this runs."""

    def __init__(self, pid):
        self.pid, self.most, self.ended = pid, 0.0, threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _watch(self):
        while not self.ended.wait(0.25):
            self.most = max(self.most, resident(self.pid))

    def end(self):
        """Ends the watch; returns what it saw."""
        self.ended.set()
        self.thread.join()
        return self.most


def resident(pid):
    """Resident memory in MiB."""
    return rss_kib([pid]) / 1024


def _siege(name, options, daemon):
    pid, target = daemon.process.pid, daemon.port("target")
    clients = Clients(daemon.port("good"), options.load_cpus)
    try:
        clients.measure(1)
        quiet, bad_quiet = clients.measure(QUIET)
        before = resident(pid)
        memory = Memory(pid)
        attacker = _attacker(name, target, options)
        # Its connections are open by then.
        time.sleep(1)
        under, bad_under = clients.measure(options.seconds - 1)
        told = attacker.communicate(timeout=options.seconds + 20)[0].strip()
        most = memory.end()
        time.sleep(SETTLE)
        after, bad_after = clients.measure(QUIET)
        left = resident(pid)
    finally:
        stop(clients.http2)
    bad = bad_quiet + bad_under + bad_after
    floods = int(daemon.metric("outrigger_http2_floods_total"))
    wrong = []
    for calm, *others in zip(quiet, under, after, strict=True):
        if max(others) > max(FLOOR_MS, 3 * calm):
            wrong.append("latency")
    if most - before > GROWTH_MIB:
        wrong.append("memory")
    if left - before > LEFT_MIB:
        wrong.append("memory is kept")
    if bad:
        wrong.append("failed calls")
    figures = [f"{quiet[0]:16.2f} {under[0]:7.2f} {after[0]:7.2f}"]
    figures += [f"{quiet[1]:10.2f} {under[1]:7.2f} {after[1]:7.2f}"]
    figures += [f"{before:11.1f} {most:7.1f} {left:7.1f} {bad:4} {floods:7}"]
    print(f"{name:22} {' '.join(figures)}  {', '.join(wrong) or 'holds'}  {told}", flush=True)
    return not wrong


def _attacker(name, port, options):
    command = [sys.executable, "-B", "-m", "harness.attack", name, port, options.seconds]
    pipe = subprocess.PIPE
    attacker = spawn(command, None, options.load_cpus, stdout=pipe, text=True, cwd=build.HERE)
    behind(attacker.pid)
    return attacker


def behind(pid):
    """Lets the good client go first on the core that it shares with this process: what that takes is
    not what is measured."""
    os.setpriority(os.PRIO_PROCESS, pid, 15)
