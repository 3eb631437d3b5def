"""Connects as CONNINFO says, cancels a statement by each of CANCELS, and prints what the connection is."""

import os
import threading
import time

import psycopg

with psycopg.connect(os.environ["CONNINFO"], autocommit=True) as connection:
    print("tls" if connection.pgconn.ssl_in_use else "clear")
    print(connection.execute("SELECT 40 + 2").fetchone()[0])
    for way in filter(None, os.environ.get("CANCELS", "").split(",")):
        cancel = connection.cancel_safe if way == "safe" else connection.cancel
        timer = threading.Timer(0.3, cancel)
        timer.start()
        began = time.monotonic()
        try:
            connection.execute("SELECT pg_sleep(30)")
            print("slept")
        except psycopg.errors.QueryCanceled:
            print("canceled" if time.monotonic() - began < 10 else "too late")
        timer.join()
