"""A user envelope made by an independent JOSE library, and used."""

import json
import os
import time
import uuid

import psycopg
from jwcrypto import jwe, jwk

with open(os.environ["BUNDLE"], encoding="utf-8") as file:
    bundle = json.load(file)
key = bundle["envelope_key"]
key = jwk.JWK.from_json(key if isinstance(key, str) else json.dumps(key))
now = int(time.time())
claims = {
    "sub": bundle["user"],
    "iat": now,
    "exp": now + 30,
    "jti": str(uuid.uuid4()),
    "aud": bundle["audience"],
    "scope": "read",
    "tku": bundle["shares"],
}
header = {"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": key.thumbprint(), "typ": "tku+jwe"}
token = jwe.JWE(json.dumps(claims).encode(), json.dumps(header))
token.add_recipient(key)
envelope = token.serialize(compact=True)

comment = f"/*trefoil_user='{bundle['user']}',trefoil_envelope='{envelope}'*/ "
with psycopg.connect(os.environ["URL"], autocommit=True) as connection:
    print(connection.execute(comment + "SELECT ssn FROM patients WHERE id = 1").fetchone())
