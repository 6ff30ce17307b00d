"""redis-py over TCP, over TLS and by a Unix socket: calls, pipelines, large values, subscriptions, many connections."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import redis
from suite import MIB, PATIENCE, check, equal, fresh, plan, targets


def client(target):
    if "socket" in target:
        return redis.Redis(unix_socket_path=target["socket"], socket_timeout=20)
    host, port = target["url"].partition("//")[2].split(":")
    secure = {"ssl": True, "ssl_ca_certs": plan["ca"]} if target["url"].startswith("https") else {}
    return redis.Redis(host=host, port=int(port), socket_timeout=20, **secure)


def semantics(target, own):
    with check(target, "set and get"):
        own.set("one", "1")
        equal(own.get("one"), b"1")
    with check(target, "16 MiB"):
        large = os.urandom(16 * MIB)
        own.set("large", large)
        equal(own.get("large"), large)
    with check(target, "pipeline of 10000"):
        name = fresh()
        with own.pipeline(transaction=False) as pipeline:
            for each in range(10000):
                pipeline.incr(name)
            equal(pipeline.execute(), list(range(1, 10001)))
    with check(target, "transaction"):
        with own.pipeline() as pipeline:
            pipeline.set("two", "2")
            pipeline.get("two")
            equal(pipeline.execute(), [True, b"2"])
    with check(target, "subscription"):
        with own.pubsub() as subscribed:
            subscribed.subscribe("news")
            equal(subscribed.get_message(timeout=PATIENCE)["type"], "subscribe")
            own.publish("news", "first")
            equal(subscribed.get_message(timeout=PATIENCE)["data"], b"first")
    with check(target, "a call that waits"):
        name = fresh()
        threading.Timer(0.2, lambda: own.rpush(name, "late")).start()
        equal(own.blpop(name, timeout=10), (name.encode(), b"late"))
    with check(target, "50 connections at once"):

        def one(number):
            with client(target) as another:
                another.set(f"key{number}", number)
                return int(another.get(f"key{number}"))

        with ThreadPoolExecutor(50) as pool:
            equal(list(pool.map(one, range(200))), list(range(200)))
    with check(target, "caller leaves"):
        another = client(target)
        another.client_setname("leaving")
        another.connection_pool.disconnect()
        end = time.monotonic() + PATIENCE
        while any(each["name"] == "leaving" for each in own.client_list()):
            assert time.monotonic() < end, "the server still has the connection"
            time.sleep(0.01)
    with check(target, "server closes"), client(target) as another:
        connection = another.connection_pool.get_connection()
        connection.send_command("CLIENT", "ID")
        own.client_kill_filter(_id=connection.read_response())
        try:
            connection.read_response()
        except redis.ConnectionError:
            pass
        else:
            raise AssertionError("a connection that was killed gave an answer")


for each in targets:
    with client(each) as opened:
        semantics(each, opened)
