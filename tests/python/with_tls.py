"""Connections under TLS, asked for or from the first byte, and queries cancelled over them."""

import os
import threading

import psycopg

URL = os.environ["URL"]


def is_cancelled(connection):
    timer = threading.Timer(0.3, connection.cancel_safe)
    timer.start()
    try:
        connection.execute("SELECT pg_sleep(30)")
    except psycopg.errors.QueryCanceled:
        return connection.execute("SELECT 1").fetchone() == (1,)
    finally:
        timer.join()
    return False


# A server of before PostgreSQL 18 settles for 3.0.
newest = "&max_protocol_version=3.2" if psycopg.pq.version() >= 180000 else ""
for negotiation in ["postgres", "direct"]:
    for version in {"", newest}:
        url = f"{URL}&sslnegotiation={negotiation}{version}"
        with psycopg.connect(url, autocommit=True) as connection:
            assert connection.pgconn.ssl_in_use
            assert is_cancelled(connection), (negotiation, version)
print("done")
