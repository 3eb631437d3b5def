"""psycopg's server-side cursors: declared by SQL, described by the protocol."""

import os

import psycopg

with psycopg.connect(os.environ["URL"]) as connection:
    with connection.cursor(name="server_side") as cursor:
        cursor.execute("SELECT * FROM wards ORDER BY id")
        print(cursor.fetchmany(2), cursor.fetchall())
