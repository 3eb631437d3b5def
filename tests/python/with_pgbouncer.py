"""An application behind PgBouncer, whose clients share one connection to the sidecar."""

import json
import os

import psycopg

URL = os.environ["URL"]
QUESTION = "SELECT secret FROM made"


def connect(database, role="web", **parameters):
    url = URL.replace("//web:", f"//{role}:")
    return psycopg.connect(url + database, autocommit=True, prepare_threshold=None, **parameters)


def secrets(connection, question=QUESTION):
    return [row[0] for row in connection.execute(question).fetchall()]


def refused(connection, question=QUESTION):
    try:
        connection.execute(question)
    except psycopg.errors.InvalidAuthorizationSpecification:
        return True
    raise AssertionError("it was answered")


# Session mode: what one client has set is gone for the next.
for turn in range(20):
    user = ["alice", "bob"][turn % 2]
    with connect("by_setting_session") as connection:
        assert refused(connection), turn
        connection.execute(f"SET app.who = '{user}'")
        assert secrets(connection) == [f"of {user}"], turn

# Transaction mode: two clients take turns on one connection.
with connect("by_setting_transaction") as first, connect("by_setting_transaction") as second:
    for turn in range(50):
        for connection, user in [(first, "alice"), (second, "bob")]:
            with connection.transaction():
                connection.execute(f"SET LOCAL app.who = '{user}'")
                assert secrets(connection) == [f"of {user}"]
            with connection.transaction():
                connection.execute("SELECT set_config('app.who', %s, true)", [user])
                assert secrets(connection) == [f"of {user}"]
            claims = json.dumps({"sub": user})
            with connection.transaction():
                connection.execute("SELECT set_config('request.jwt.claims', %s, true)", [claims])
                assert secrets(connection) == [f"of {user}"]
            assert refused(connection)
            assert secrets(connection, f"{QUESTION} WHERE owner = '{user}' /*user='{user}'*/") == [f"of {user}"]
    # A rollback leaves nobody.
    try:
        with first.transaction():
            first.execute("SET LOCAL app.who = 'alice'")
            first.execute("SELECT 1/0")
    except psycopg.errors.DivisionByZero:
        pass
    assert refused(second)

# One pool for each role.
for mode in ["session", "transaction"]:
    with connect(f"by_setting_{mode}", "alice") as first, connect(f"by_setting_{mode}", "bob") as second:
        for _ in range(10):
            assert secrets(first, f"{QUESTION} WHERE owner = 'alice'") == ["of alice"]
            assert secrets(second, f"{QUESTION} WHERE owner = 'bob'") == ["of bob"]

# application_name, which PgBouncer carries from client to client.
for mode in ["session", "transaction"]:
    for turn in range(10):
        user = ["alice", "bob"][turn % 2]
        with connect(f"by_name_{mode}", application_name=user) as connection:
            assert secrets(connection, f"{QUESTION} WHERE owner = '{user}'") == [f"of {user}"]
            assert secrets(connection, 'SHOW trefoil."user"') == [user]
    # One without a name would keep the former client's, at the database as well.
    with connect(f"by_name_{mode}", application_name="nobody") as connection:
        assert refused(connection)
with (
    connect("by_name_transaction", application_name="alice") as first,
    connect("by_name_transaction", application_name="bob") as second,
    connect("by_name_transaction", application_name="nobody") as third,
):
    for _ in range(50):
        assert secrets(first, 'SHOW trefoil."user"') == ["alice"]
        assert secrets(second, 'SHOW trefoil."user"') == ["bob"]
        assert refused(third)
print("done")
