"""PostgreSQL over TCP: pg8000 with transactions, COPY and cancelled queries, and psql."""

import io
import os
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pg8000.dbapi
from suite import MIB, PATIENCE, Skip, check, equal, targets


def connect(target):
    host, port = target["url"].partition("//")[2].split(":")
    return pg8000.dbapi.connect(user="suite", database="postgres", host=host, port=int(port), timeout=20)


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
        with connect(target) as another:
            pid = ask(another, "select pg_backend_pid()")[0][0]
            ask(own, "select pg_terminate_backend(%s::int)", (pid,))
            own.rollback()
            try:
                ask(another, "select 1")
            except (pg8000.dbapi.Error, OSError):
                pass
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
        if not shutil.which("psql"):
            raise Skip("`psql` is not installed (Debian: postgresql-client)")
        host, port = target["url"].partition("//")[2].split(":")
        command = ["psql", "-X", "-A", "-t", "-h", host, "-p", port, "-U", "suite", "postgres"]
        done = subprocess.run([*command, "-c", "select 6 * 7"], capture_output=True, text=True, timeout=20)
        equal((done.returncode, done.stdout), (0, "42\n"))


def quietly(call):
    try:
        call()
    except (pg8000.dbapi.Error, OSError):
        pass


for each in targets:
    with connect(each) as opened:
        semantics(each, opened)
