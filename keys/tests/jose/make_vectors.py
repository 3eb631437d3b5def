"""Writes ../vectors/{cells,partial-cells,check,shares,envelope,envelope-limited}.json with other people's cryptography.

Needs requirements.txt beside it. Run it only to change what the vectors hold: the committed
files are what the tests of the crate read, without Python.
"""

import json
import pathlib

from cryptography.hazmat.primitives.ciphers.aead import AESSIV
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from jwcrypto import jwe, jwk
from jwcrypto.common import base64url_encode

VECTORS = pathlib.Path(__file__).parent.parent / "vectors"
TK = bytes(range(0x40, 0x60))
NONCE = bytes(range(0xA0, 0xB0))
TEXTS = [b"", b"0", b"\x00\x00\x00\x2a", b"123-45-6789-0123", "Zoë Groß".encode(), bytes(range(256)) * 5]


def derive(key, keyspace, context, purpose, length):
    fields = [b"trefoil 1", keyspace.encode(), context, purpose.encode()]
    info = b"".join(len(field).to_bytes(8, "big") + field for field in fields)
    return HKDF(SHA256(), length, salt=None, info=info).derive(key)


def xor(a, b):
    return bytes(x ^ y for x, y in zip(a, b, strict=True))


def siv(key, associated_data, plaintext):
    return AESSIV(key).encrypt(plaintext, associated_data)


def cells():
    out = []
    for keyspace, domain, epoch in [("main", "public.patients.ssn", 1), ("billing", "ssn", 255)]:
        for text in TEXTS:
            for mode, first, nonce in [("deterministic", 0x12, None), ("randomized", 0x11, NONCE)]:
                key = derive(TK, keyspace, domain.encode(), f"{mode} cells", 64)
                header = bytes([first, epoch])
                associated_data = [header] if nonce is None else [header, nonce]
                cell = header + (nonce or b"") + siv(key, associated_data, text)
                out.append(
                    dict(mode=mode, tk=TK.hex(), keyspace=keyspace, domain=domain, epoch=epoch,
                         column_key=key.hex(), plaintext=text.hex(), cell=cell.hex())
                )
    return out


def partial_cells():
    """Cells with a part of their value for the holders of another keyspace."""
    out = []
    mask_tk = bytes(reversed(TK))
    for epoch, mask_epoch in [(1, 1), (255, 2)]:
        for text, visible in [(b"", b""), (b"123-45-6789", b"6789"), ("Zoë Groß".encode(), "roß".encode())]:
            for mode, first, nonce in [("deterministic", 0x1A, None), ("randomized", 0x19, NONCE)]:
                key = derive(TK, "clinical", b"ssn", f"{mode} cells", 64)
                mask_key = derive(mask_tk, "main", b"ssn", "partial cells", 64)
                header = bytes([first, epoch, mask_epoch, len(visible)])
                associated_data = [header] if nonce is None else [header, nonce]
                full = siv(key, associated_data, text)
                partial = siv(mask_key, [*associated_data, full], visible)
                cell = header + (nonce or b"") + full + partial
                out.append(
                    dict(mode=mode, tk=TK.hex(), keyspace="clinical", epoch=epoch, mask_tk=mask_tk.hex(),
                         mask_keyspace="main", mask_epoch=mask_epoch, domain="ssn", plaintext=text.hex(),
                         visible=visible.hex(), cell=cell.hex())
                )
    return out


def check():
    out = []
    for keyspace, epoch in [("main", 1), ("main", 2), ("billing", 1)]:
        key = derive(TK, keyspace, b"", "check value", 64)
        value = siv(key, [bytes([epoch])], b"0")
        out.append(dict(tk=TK.hex(), keyspace=keyspace, epoch=epoch, value=value.hex()))
    return out


def shares():
    application, proxy = bytes(range(1, 33)), bytes(range(200, 232))
    user = xor(xor(TK, application), proxy)
    return dict(
        tk=TK.hex(),
        user=base64url_encode(user),
        application=base64url_encode(application),
        proxy=base64url_encode(proxy),
    )


def envelope(**limits):
    key = jwk.JWK.from_pem((VECTORS / "proxy-key.pem").read_bytes())
    claims = dict(
        sub="alice", iat=1700000000, exp=1700000060, jti="b7c1", aud="clinic", scope="read", max_uses=3,
        **limits,
        tku=dict(main=dict(epoch=1, share=shares()["user"]), billing=dict(epoch=2, share=shares()["proxy"])),
    )
    header = dict(typ="tku+jwe", alg="RSA-OAEP-256", enc="A256GCM", kid=key.thumbprint())
    token = jwe.JWE(json.dumps(claims), json.dumps(header))
    token.add_recipient(key)
    return dict(kid=key.thumbprint(), claims=claims, envelope=token.serialize(compact=True))


def limited_envelope():
    return envelope(tables=['public."visits.2024"', "public.patients"])


for name, make in [
    ("cells", cells),
    ("partial-cells", partial_cells),
    ("check", check),
    ("shares", shares),
    ("envelope", envelope),
    ("envelope-limited", limited_envelope),
]:
    (VECTORS / f"{name}.json").write_text(json.dumps(make(), indent=1) + "\n")
