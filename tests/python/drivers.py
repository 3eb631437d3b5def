"""What a program does with the clinic through psycopg 3; all that it sees is printed."""

import datetime
import decimal
import logging
import os
import uuid

import psycopg
from psycopg.types.json import Jsonb

# Whether it warns of an aborted pipeline depends on when the replies come.
logging.getLogger("psycopg").setLevel(logging.ERROR)

URL = os.environ["URL"]
TABLE = os.environ["TABLE"]
COLUMNS = "id, name, ssn, mrn, born, seen, visits, account, grade, insured, token, balance, photo, notes"
INSERT = f"INSERT INTO {TABLE} ({COLUMNS}) VALUES (" + ", ".join(["%s"] * 14) + ") RETURNING ssn, born"
BY_SSN = f"SELECT id, name, born, balance FROM {TABLE} WHERE ssn = %s"


def patient(number):
    return (
        number,
        None if number % 5 == 0 else f"Name {number} 'quoted' \\ äöü",
        f"ssn-{number}",
        f"m-{number}",
        datetime.date(1950, 1, 1) + datetime.timedelta(days=number * 37),
        datetime.datetime(2024, 2, 29, 13, 14, 15, number, tzinfo=datetime.timezone.utc),
        number % 7,
        number << 40,
        -number,
        number % 2 == 0,
        uuid.UUID(int=number << 64),
        decimal.Decimal(number) / 4,
        bytes([0, 255, number % 256]),
        Jsonb({"n": number, "deep": [None, {"x": 1.5}]}),
    )


def show(label, rows):
    for row in rows:
        print(label, row)


def parameters_and_results(connection, first, binary):
    """Unprepared, then prepared after the fifth time; text or binary results; adapted parameters."""
    with connection.cursor(binary=binary) as cursor:
        for number in range(first, first + 12):
            cursor.execute(INSERT, patient(number))
            show("inserted", cursor.fetchall())
        for number in range(first, first + 3):
            for prepare in (False, True):
                cursor.execute(BY_SSN, (f"ssn-{number}",), prepare=prepare)
                show(f"by ssn {binary} {prepare}", cursor.fetchall())
        cursor.execute(f"SELECT {COLUMNS} FROM {TABLE} WHERE id >= %s ORDER BY id", (first,))
        print([(column.name, column.type_code, column.precision, column.scale) for column in cursor.description])
        show("all", cursor.fetchall())
        # Parameters sent in binary.
        cursor.execute(f"SELECT id FROM {TABLE} WHERE account = %b AND token = %b", (first << 40, uuid.UUID(int=first << 64)))
        show("binary parameters", cursor.fetchall())
        cursor.execute(f"SELECT id FROM {TABLE} WHERE born = %b", (patient(first)[4],))
        show("binary date", cursor.fetchall())
    connection.commit()


def many(connection):
    """executemany, which pipelines."""
    with connection.cursor() as cursor:
        rows = [(number, f"ssn-{number}", f"many {number}") for number in range(500, 700)]
        cursor.executemany(f"INSERT INTO {TABLE} (id, ssn, name) VALUES (%s, %s, %s)", rows)
        print("executemany", cursor.rowcount)
        cursor.executemany(BY_SSN, [(f"ssn-{number}",) for number in (500, 600, 699)], returning=True)
        while True:
            show("returning", cursor.fetchall())
            if not cursor.nextset():
                break
    connection.commit()


def pipeline(connection):
    with connection.pipeline() as pipeline:
        cursors = [connection.execute(BY_SSN, (f"ssn-{number}",)) for number in range(500, 520)]
        plain = connection.execute("SELECT upper(name) FROM wards WHERE id = %s", (1,))
        pipeline.sync()
        for cursor in cursors:
            show("pipelined", cursor.fetchall())
        show("pipelined, plain", plain.fetchall())
    connection.commit()


def errors(connection):
    """An error, in a pipeline too, aborts the transaction and no more."""
    for statement, values in [
        (f"INSERT INTO {TABLE} (id, ssn) VALUES (%s, %s)", (500, "again")),
        (f"INSERT INTO {TABLE} (id, mrn) VALUES (%s, %s)", (900, "longer than twelve")),
        (f"INSERT INTO {TABLE} (id, visits) VALUES (%s, %s)", (900, "no number")),
        ("SELECT * FROM no_such_table", ()),
        ("SELECT 1/0", ()),
    ]:
        try:
            connection.execute(statement, values)
        except psycopg.Error as error:
            print("error", error.sqlstate, connection.info.transaction_status.name)
        connection.rollback()
    try:
        with connection.pipeline():
            first = connection.execute(BY_SSN, ("ssn-500",))
            connection.execute("SELECT 1/0")
            connection.execute(BY_SSN, ("ssn-501",))
    except psycopg.Error as error:
        print("error in a pipeline", error.sqlstate, len(first.fetchall()))
    connection.rollback()
    show("afterwards", connection.execute(BY_SSN, ("ssn-502",)).fetchall())
    connection.commit()


def transactions(connection):
    with connection.transaction(force_rollback=True):
        connection.execute(f"UPDATE {TABLE} SET name = %s WHERE ssn = %s", ("gone", "ssn-501"))
        with connection.transaction():
            connection.execute(f"DELETE FROM {TABLE} WHERE ssn = %s", ("ssn-502",))
        show("inside", connection.execute(f"SELECT count(*) FROM {TABLE} WHERE id >= 500").fetchall())
    show("outside", connection.execute(BY_SSN, ("ssn-501",)).fetchall())
    connection.commit()


def client_side_binding(connection):
    """Literals in the text, one simple query."""
    with psycopg.ClientCursor(connection) as cursor:
        cursor.execute(INSERT, patient(800))
        show("client side", cursor.fetchall())
        cursor.execute(BY_SSN, ("ssn-800",))
        show("client side", cursor.fetchall())
    connection.commit()


def copies(connection):
    """COPY, in and out, in text and binary; and one that the program itself ends."""
    columns = "id, ssn, name, born, visits, balance, photo"
    oids = ["int4", "text", "text", "date", "int4", "numeric", "bytea"]
    with connection.cursor() as cursor:
        for first, form in ((900, ""), (910, "(FORMAT binary)")):
            with cursor.copy(f"COPY {TABLE} ({columns}) FROM STDIN {form}") as copy:
                copy.set_types(oids)
                for number in range(first, first + 5):
                    (_, name, ssn, _, born, _, visits, _, _, _, _, balance, photo, _) = patient(number)
                    copy.write_row((number, ssn, name, born, visits, balance, photo))
                copy.write_row((first + 5, None, "\t\n\r\\\\N", None, None, None, None))
            show("copied", [cursor.statusmessage])
        for form in ("", "(FORMAT binary)"):
            with cursor.copy(f"COPY (SELECT {columns} FROM {TABLE} WHERE id >= 900 ORDER BY id) TO STDOUT {form}") as copy:
                copy.set_types(oids)
                show("copied", copy.rows())
        with cursor.copy(f"COPY (SELECT name, ssn FROM {TABLE} WHERE ssn = %s) TO STDOUT CSV", ("ssn-901",)) as copy:
            show("copied", [bytes(block) for block in copy])
    connection.commit()
    for rows, ends in (([(920, "ssn-920", 1), (921, "ssn-921", "wrong")], False), ([(920, "ssn-920", 1)], True)):
        try:
            with connection.cursor() as cursor, cursor.copy(f"COPY {TABLE} (id, ssn, visits) FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
                if ends:
                    raise KeyError("the program's own")
        except (KeyError, psycopg.Error) as error:
            show("copy failed", [type(error).__name__])
        connection.rollback()
    show("after", connection.execute(f"SELECT id FROM {TABLE} WHERE id >= 920").fetchall())
    connection.commit()


def arrays(connection):
    """A list is an array parameter."""
    wanted = [f"ssn-{number}" for number in (500, 501, 999)]
    for statement in ("ssn = ANY(%s)", "ssn = ANY(%b)", "id >= 690 AND NOT ssn = ANY(%s)"):
        show(statement, connection.execute(f"SELECT id, name FROM {TABLE} WHERE {statement} ORDER BY id", (wanted,)).fetchall())
    connection.commit()


def cursors(connection):
    """Cursors of the server: declared by SQL, fetched in parts, scrolled; and rows one by one."""
    with connection.cursor(name="forward") as cursor:
        cursor.itersize = 6
        cursor.execute(f"SELECT id, ssn, born FROM {TABLE} WHERE ssn <> %s AND id < 115 ORDER BY id", ("ssn-100",))
        show("forward", cursor.fetchmany(2))
        show("forward", cursor)
    with connection.cursor(name="scrolled", scrollable=True, withhold=True, binary=True) as cursor:
        cursor.execute(f"SELECT id, name, balance FROM {TABLE} ORDER BY id")
        show("scrolled", cursor.fetchmany(3))
        cursor.scroll(-2)
        show("back", cursor.fetchmany(1))
        connection.commit()
        cursor.scroll(7, mode="absolute")
        show("held", [cursor.fetchone()])
    with connection.cursor() as cursor:
        show("streamed", cursor.stream(f"SELECT id, name FROM {TABLE} WHERE id < %s ORDER BY id", (105,)))
    connection.commit()


def unprotected(connection):
    with connection.cursor() as cursor:
        with cursor.copy("COPY wards (id, name, floor) FROM STDIN") as copy:
            for number in range(10, 15):
                copy.write_row((number, f"ward {number}", number % 3))
        with cursor.copy("COPY (SELECT * FROM wards ORDER BY id) TO STDOUT (FORMAT binary)") as copy:
            copy.set_types(["int4", "text", "int4"])
            show("copied", copy.rows())
        cursor.execute("SELECT array_agg(name ORDER BY name), json_object_agg(id, name ORDER BY id) FROM wards")
        show("plain", cursor.fetchall())
    connection.commit()


with psycopg.connect(URL) as opened:
    parameters_and_results(opened, 100, binary=False)
    parameters_and_results(opened, 200, binary=True)
    many(opened)
    pipeline(opened)
    errors(opened)
    transactions(opened)
    client_side_binding(opened)
    arrays(opened)
    cursors(opened)
    copies(opened)
    unprotected(opened)
