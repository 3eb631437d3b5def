"""A ward's day through asyncpg: a pool, prepared statements, portals, COPY, introspected types."""

import asyncio
import datetime
import io
import ipaddress
import json
import os
import uuid
from decimal import Decimal

import asyncpg

URL = os.environ["URL"]
MARK = os.environ["MARK"]
COLUMNS = ("id", "ward", "name", "ssn", "mrn", "born", "seen", "visits", "account", "grade", "insured", "token")
COLUMNS += ("balance", "photo", "notes")

SCHEMA = """
CREATE TYPE mood AS ENUM ('calm', 'tense');
CREATE TABLE wards (id int PRIMARY KEY, name text UNIQUE, mood mood, beds int[]);
CREATE TABLE patients (id int PRIMARY KEY, ward int REFERENCES wards, name text, ssn text UNIQUE,
    mrn varchar(12), born date, seen timestamptz, visits int4, account int8, grade int2, insured bool,
    token uuid, balance numeric(12,2), photo bytea, notes jsonb);
CREATE TABLE visits (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, patient_ssn text NOT NULL, reason text, cost int);
"""


def patient(number):
    return (
        number,
        number % 2 + 1,
        None if number % 5 == 0 else f"{MARK} Name {number} 'quoted' \\ äöü",
        f"{MARK}-{number}",
        f"m{number}",
        datetime.date(1950, 1, 1) + datetime.timedelta(days=number * 37),
        datetime.datetime(2024, 2, 29, 13, 14, 15, number, tzinfo=datetime.timezone.utc),
        number % 7,
        number << 40,
        -number,
        number % 2 == 0,
        uuid.UUID(int=number << 64),
        Decimal(number) / 4,
        bytes([0, 255, number % 256]),
        json.dumps({"n": number, "who": MARK}),
    )


def show(label, rows):
    for row in rows:
        print(label, tuple(row) if isinstance(row, asyncpg.Record) else row)


async def schema(pool):
    await pool.execute(SCHEMA)
    async with pool.acquire() as connection:
        await connection.executemany(
            "INSERT INTO wards VALUES ($1, $2, $3, $4)", [(1, "Cardiology", "calm", [1, 2]), (2, "Maternity", "tense", [])]
        )
        show("wards", await connection.fetch("SELECT * FROM wards ORDER BY id"))


async def rows(connection):
    places = ", ".join(f"${number}" for number in range(1, len(COLUMNS) + 1))
    insert = f"INSERT INTO patients ({', '.join(COLUMNS)}) VALUES ({places})"
    for number in range(1, 9):
        show("inserted", await connection.fetch(insert + " RETURNING id, ssn, born", *patient(number)))
    await connection.executemany(insert, [patient(number) for number in range(20, 60)])
    statement = await connection.prepare("SELECT * FROM patients WHERE id < $1 ORDER BY id")
    print([(a.name, a.type.name) for a in statement.get_attributes()], [p.name for p in statement.get_parameters()])
    show("all", await statement.fetch(9))
    row = await connection.fetchrow("SELECT * FROM patients WHERE ssn = $1", f"{MARK}-3")
    print(dict(row))
    print(await connection.fetchval("SELECT name FROM patients WHERE token = $1 AND account = $2", patient(4)[11], 4 << 40))
    show("born", await connection.fetch("SELECT id FROM patients WHERE born = $1 AND balance = $2", patient(6)[5], Decimal("1.5")))


async def arrays(connection):
    wanted = [f"{MARK}-{number}" for number in (1, 2, 40, 99)]
    show("any", await connection.fetch("SELECT id, name FROM patients WHERE ssn = ANY($1::text[]) ORDER BY id", wanted))
    show("any", await connection.fetch("SELECT id FROM patients WHERE ssn = ANY($1) ORDER BY id", wanted))
    show("none", await connection.fetch("SELECT id FROM patients WHERE visits <> ALL($1) AND id < 20 ORDER BY id", [1, 2]))
    show("empty", await connection.fetch("SELECT id FROM patients WHERE ssn = ANY($1::text[])", []))
    # One round trip for many rows, the idiom that people use in place of executemany.
    tag = await connection.execute(
        "INSERT INTO visits (patient_ssn, reason) SELECT * FROM unnest($1::text[], $2::text[])",
        wanted, [f"{MARK} reason {number}" for number in range(4)],
    )
    print(tag)
    show("visits", await connection.fetch("SELECT id, patient_ssn, reason FROM visits ORDER BY id"))


async def kinds(connection):
    """Types beside the plain ones, in binary as asyncpg sends them all."""
    await connection.execute("""CREATE TABLE typed (id int PRIMARY KEY, f8 float8, clock time, moment timestamp, span interval, host inet,
        net cidr, doc json, mood mood, ints int[], texts text[], moods mood[], days date[])""")
    values = [1, 1.5, datetime.time(13, 14, 15, 16), datetime.datetime(2024, 2, 29, 1, 2, 3, 4), datetime.timedelta(days=40, hours=3),
        ipaddress.ip_interface("10.1.2.3/24"), ipaddress.ip_network("10.1.0.0/16"), json.dumps({"who": MARK}), "calm",
        [1, None, 3], [MARK, "äöü", None], ["calm", "tense"], [datetime.date(2024, 2, 29)]]
    places = ", ".join(f"${number}" for number in range(1, 14))
    show("kinds", await connection.fetch(f"INSERT INTO typed VALUES ({places}) RETURNING *", *values))
    for column, value in [("clock", values[2]), ("moment", values[3]), ("host", values[5]), ("net", values[6]), ("mood", "calm")]:
        show(column, await connection.fetch(f"SELECT id, {column} FROM typed WHERE {column} = $1 AND {column} = ANY($2)", value, [value]))


async def cursors(connection):
    async with connection.transaction():
        async for row in connection.cursor("SELECT id, ssn, seen FROM patients WHERE id > $1 ORDER BY id", 50, prefetch=3):
            print("cursor", tuple(row))
        cursor = await connection.cursor("SELECT id, name FROM patients ORDER BY id")
        print(await cursor.forward(3))
        show("fetched", await cursor.fetch(4))
        print(await cursor.fetchrow())


async def transactions(connection):
    async with connection.transaction():
        await connection.execute("UPDATE patients SET name = $1 WHERE ssn = $2", f"{MARK} kept", f"{MARK}-1")
        try:
            async with connection.transaction():
                await connection.execute("DELETE FROM patients WHERE ssn = $1", f"{MARK}-2")
                raise LookupError
        except LookupError:
            pass
        try:
            async with connection.transaction():
                await connection.execute("INSERT INTO patients (id, ssn) VALUES ($1, $2)", 900, f"{MARK}-3")
        except asyncpg.UniqueViolationError as error:
            print(type(error).__name__, error.sqlstate, error.table_name, error.constraint_name)
    show("kept", await connection.fetch("SELECT id, name FROM patients WHERE ssn IN ($1, $2) ORDER BY id", f"{MARK}-1", f"{MARK}-2"))
    transaction = connection.transaction(isolation="serializable", readonly=True, deferrable=True)
    await transaction.start()
    print(await connection.fetchval("SELECT count(*) FROM patients"))
    try:
        await connection.execute("DELETE FROM visits WHERE patient_ssn = $1", f"{MARK}-1")
    except asyncpg.PostgresError as error:
        print(type(error).__name__)
    await transaction.rollback()


async def errors(connection):
    for statement, values in [
        ("INSERT INTO patients (id, mrn) VALUES ($1, $2)", (901, f"{MARK} longer than twelve")),
        ("INSERT INTO patients (id, visits) VALUES ($1, $2)", (901, 1 << 40)),
        ("INSERT INTO patients (id, born) VALUES ($1, $2)", (901, "no date")),
        ("INSERT INTO visits (reason) VALUES ($1)", (MARK,)),
        ("SELECT * FROM no_such_table WHERE a = $1", (1,)),
        ("SELECT no_such_column FROM patients WHERE ssn = $1", (MARK,)),
    ]:
        try:
            await connection.execute(statement, *values)
        except (asyncpg.PostgresError, asyncpg.DataError) as error:
            print(type(error).__name__, getattr(error, "sqlstate", None))
    show("afterwards", await connection.fetch("SELECT id FROM patients WHERE ssn = $1", f"{MARK}-4"))


async def codecs(connection):
    """A codec of the application's own; asyncpg asks the catalog about the type."""
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    await connection.execute("UPDATE patients SET notes = $1 WHERE id = 5", {"own": [1, None, MARK]})
    print(await connection.fetchval("SELECT notes FROM patients WHERE id = 5"))
    print(await connection.fetchval("UPDATE wards SET mood = $1, beds = $2 WHERE id = 1 RETURNING mood", "tense", [7]))


async def copies(connection):
    records = [patient(number)[:5] for number in range(100, 110)]
    print(await connection.copy_records_to_table("patients", records=records, columns=COLUMNS[:5]))
    file = io.BytesIO()
    print(await connection.copy_from_query("SELECT id, name, ssn FROM patients WHERE id >= $1 ORDER BY id", 100, output=file, format="csv", header=True))
    print(file.getvalue().decode())
    text = f"200\t{MARK} text\t{MARK}-200\n201\t\\N\t{MARK}-201\n"
    print(await connection.copy_to_table("patients", source=io.BytesIO(text.encode()), columns=["id", "name", "ssn"]))
    file = io.BytesIO()
    print(await connection.copy_from_table("visits", columns=["id", "patient_ssn"], output=file))
    print(file.getvalue().decode())
    show("copied", await connection.fetch("SELECT id, name, mrn FROM patients WHERE id >= 100 ORDER BY id"))


async def together(pool):
    """Each on a connection of the pool, which is reset in between."""
    async def one(number):
        return await pool.fetchval("SELECT name FROM patients WHERE ssn = $1", f"{MARK}-{number}")

    print(await asyncio.gather(*(one(number) for number in range(20, 40))))
    async with pool.acquire() as connection:
        await connection.execute("SET search_path = pg_catalog; SET timezone = 'Asia/Tokyo'")
    async with pool.acquire() as connection:
        print(await connection.fetchval("SELECT name FROM patients WHERE ssn = $1", f"{MARK}-21"))
        await connection.reset()
        await connection.reload_schema_state()
        print(await connection.fetchval("SELECT ssn FROM patients WHERE id = 1"))


async def main():
    async with asyncpg.create_pool(URL, min_size=1, max_size=3) as pool:
        await schema(pool)
        for part in (rows, arrays, kinds, cursors, transactions, errors, codecs, copies):
            async with pool.acquire() as connection:
                try:
                    await part(connection)
                except asyncpg.PostgresError as error:
                    print("FAILED", part.__name__, error.sqlstate, error, error.hint)
        await together(pool)


asyncio.run(main())
