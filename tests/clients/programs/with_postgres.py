"""PostgreSQL over TCP: pg8000 with transactions, COPY and cancelled queries, and psql.

The server takes TLS, which passes through the proxy as bytes where the caller asks for it.
"""

import io
import os
import shutil
import ssl
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pg8000.dbapi
from suite import MIB, PATIENCE, Skip, check, equal, plan, targets


def connect(target, **more):
    more |= {"user": "suite", "database": "postgres", "timeout": 20}
    if "socket" in target:
        return pg8000.dbapi.connect(unix_sock=target["socket"], **more)
    host, port = address(target)
    return pg8000.dbapi.connect(host=host, port=int(port), **more)


def address(target):
    """Host and port, or the folder of the Unix socket and what its name ends with, as psql wants them."""
    if "socket" in target:
        return os.path.dirname(target["socket"]), target["socket"].rpartition(".")[2]
    return target["url"].partition("//")[2].split(":")


def ask(connection, text, *arguments, **more):
    cursor = connection.cursor()
    cursor.execute(text, *arguments, **more)
    return cursor.fetchall() if cursor.description else None


def semantics(target, own):
    with check(target, "query"):
        equal(ask(own, "select 1 + 1"), ([2],))
        equal(ask(own, "select %s::text", ("\u00e4\u4e16",)), (["\u00e4\u4e16"],))
    with check(target, "16 MiB each way"):
        large = os.urandom(16 * MIB)
        equal(bytes(ask(own, "select %s::bytea", (large,))[0][0]), large)
    with check(target, "transactions"):
        ask(own, "create table if not exists counted (number int)")
        own.commit()
        ask(own, "insert into counted values (1)")
        own.rollback()
        equal(ask(own, "select count(*) from counted"), ([0],))
        own.commit()
    with check(target, "copy in and out"):
        rows = "".join(f"{each}\n" for each in range(100000))
        ask(own, "copy counted from stdin", stream=io.StringIO(rows))
        out = io.BytesIO()
        ask(own, "copy (select * from counted order by number) to stdout", stream=out)
        equal(out.getvalue().decode(), rows)
        own.rollback()
    with check(target, "100000 rows"):
        equal(len(ask(own, "select generate_series(1, 100000)")), 100000)
        own.rollback()
    with check(target, "40 connections at once"):

        def one(number):
            with connect(target) as another:
                return ask(another, "select %s::int from pg_sleep(0.05)", (number,))[0][0]

        with ThreadPoolExecutor(40) as pool:
            equal(list(pool.map(one, range(40))), list(range(40)))
    with check(target, "a notification without a request"):
        ask(own, "listen news")
        own.commit()
        with connect(target) as another:
            ask(another, "notify news, 'first'")
            another.commit()
        end = time.monotonic() + PATIENCE
        while not own.notifications:
            assert time.monotonic() < end, "no notification came"
            ask(own, "select 1")
        equal(own.notifications[0][2], "first")
        own.rollback()
    with check(target, "server ends the session"):
        another = connect(target)
        pid = ask(another, "select pg_backend_pid()")[0][0]
        ask(own, "select pg_terminate_backend(%s::int)", (pid,))
        own.rollback()
        try:
            ask(another, "select 1")
        except (pg8000.dbapi.Error, OSError):
            quietly(another.close)
        else:
            raise AssertionError("a session that was ended answered")
    with check(target, "caller leaves during a query"):
        another = connect(target)
        pid = ask(another, "select pg_backend_pid()")[0][0]
        another.rollback()
        ask(another, "set client_connection_check_interval = '50ms'")
        another.commit()
        running = threading.Thread(target=quietly, args=(lambda: ask(another, "select pg_sleep(60)"),))
        running.daemon = True
        running.start()
        alive = "select state from pg_stat_activity where pid = %s::int"
        end = time.monotonic() + PATIENCE
        while ask(own, alive, (pid,)) != (["active"],):
            assert time.monotonic() < end, "the query never ran"
            own.rollback()
        another._usock.shutdown(2)
        while ask(own, alive, (pid,)):
            assert time.monotonic() < end, "the server still runs the query"
            own.rollback()
            time.sleep(0.02)
        own.rollback()
    with check(target, "psql"):
        equal(psql(target, "select 6 * 7"), "42")
    if "socket" in target or target["port"] == "unix":
        return  # PostgreSQL takes no TLS at a Unix socket
    encrypted = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
    with check(target, "TLS, passed through"):
        verify = ssl.create_default_context(cafile=plan["ca"])
        with connect({**target, "url": target["url"].replace("127.0.0.1", "localhost")}, ssl_context=verify) as another:
            equal(ask(another, encrypted), ([True],))
            large = os.urandom(MIB)
            equal(bytes(ask(another, "select %s::bytea", (large,))[0][0]), large)
    with check(target, "psql over TLS, passed through"):
        equal(psql(target, encrypted, PGSSLMODE="require"), "t")
        verified = {"PGSSLMODE": "verify-full", "PGSSLROOTCERT": plan["ca"]}
        equal(psql(target, encrypted, PGHOST="localhost", PGHOSTADDR="127.0.0.1", **verified), "t")


def psql(target, query, **environment):
    """What psql prints for a query."""
    if not shutil.which("psql"):
        raise Skip("`psql` is not installed (Debian: postgresql-client)")
    host, port = address(target)
    environment = {**os.environ, "PGHOST": host, "PGPORT": port, "PGUSER": "suite", "PGSSLMODE": "disable", **environment}
    command = ["psql", "-X", "-A", "-t", "-c", query, "postgres"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=environment)
    equal((done.returncode, done.stderr), (0, ""))
    return done.stdout.strip()


def quietly(call):
    try:
        call()
    except (pg8000.dbapi.Error, OSError):
        pass


for each in targets:
    with connect(each) as opened:
        semantics(each, opened)
