"""What is sealed and signed, between this crate and the PyPI package jwcrypto, both ways.

    interop.py JOSE     JOSE: the built example `jose` of this crate

Exit status 0 when each side reads what the other made and rejects what was altered.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from jwcrypto import jwe, jwk, jws

PEM = pathlib.Path(__file__).parent.parent / "vectors" / "proxy-key.pem"
SHARE = dict(epoch=1, share="iYqLjI2Oj4CRkpOUlZaXiJmam5ydnp-QoaKjpKWmp5g")
DIGEST = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU"
SHARES = dict(main=SHARE, billing=SHARE)

RSA = jwk.JWK.from_pem(PEM.read_bytes())
SIGNER = jwk.JWK.generate(kty="OKP", crv="Ed25519")


def public(key, **members):
    """A public key with the members that Trefoil writes; it reads keys without them as well."""
    return key.export_public(as_dict=True) | dict(kid=key.thumbprint()) | members


RSA_JWK = public(RSA, alg="RSA-OAEP-256", use="enc")
SIGNER_JWK = public(SIGNER, alg="EdDSA", use="sig")

SEALED = [
    ("tku+jwe", dict(sub="Zoë", iat=1700000000, exp=1700000060, jti="5f0e", aud="clinic", scope="write", tku=SHARES)),
    (
        "tku+jwe",
        dict(
            sub="Zoë", iat=1700000000, exp=1700000060, jti="5f0f", aud="clinic", scope="read", max_uses=1,
            tables=['public."Zoë\'s.visits"', "public.patients"], tku=SHARES,
        ),
    ),
    ("tkp+jwe", dict(sub="Zoë", iat=1700000000, tkp=SHARES)),
    ("tkp+jwe", dict(iat=1700000000, users={"Zoë": SHARES, "alice": dict(main=SHARE)})),
    (
        "handover+jwe",
        dict(
            version=1, tenant="Zoë's clinic", application="clinic-app",
            keyspaces=dict(main=dict(epoch=1, key=SHARE["share"])), signing_seed=SHARE["share"],
            receipt_key=SIGNER_JWK, envelope_keys=[RSA_JWK],
        ),
    ),
]

COMMAND = dict(tenant="Zoë's clinic", seq=7, iat=1700000000, exp=1700086400)
RECEIPT = dict(tenant="Zoë's clinic", seq=7, command_sha256=DIGEST, at=1700000001)
SIGNED = [
    ("trefoil-command+jws", COMMAND | dict(op="add", sub="Zoë", tka_sha256=DIGEST, tkp="a.b.c.d.e")),
    ("trefoil-command+jws", COMMAND | dict(op="change", sub="alice", tka_sha256=DIGEST, tkp="a.b.c.d.e")),
    ("trefoil-command+jws", COMMAND | dict(op="withdraw", sub="alice")),
    ("trefoil-command+jws", COMMAND | dict(op="renew", tka_sha256=DIGEST, tkp="a.b.c.d.e")),
    ("trefoil-command+jws", COMMAND | {"op": "rotate-key", "overlap": 2592000}),
    ("trefoil-receipt+jws", RECEIPT | dict(outcome="applied")),
    ("trefoil-receipt+jws", RECEIPT | dict(outcome="applied", envelope_keys=[RSA_JWK])),
    ("trefoil-receipt+jws", RECEIPT | dict(outcome=dict(refused=dict(code="seq", message="expected: 8")))),
    (
        "trefoil-status+jws",
        dict(
            tenant="Zoë's clinic", application="clinic-app", nonce="n0", at=1700000001, state="ready",
            claim_sha256=DIGEST, seq=7, last_command_sha256=DIGEST, envelope_keys=[RSA_JWK],
            receipt_key=SIGNER_JWK, tenant_key=SIGNER_JWK, keyspaces=dict(main=1),
        ),
    ),
    (
        "trefoil-announcement+jws",
        dict(tenant="Zoë's clinic", serial=2, iat=1700000000, envelope_keys=[RSA_JWK], retires={}),
    ),
]


def main(program):
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)

        def run(*arguments):
            done = subprocess.run([program, *arguments], capture_output=True, text=True)
            return done.stdout.strip() if done.returncode == 0 else None

        def file(name, text):
            (directory / name).write_text(text)
            return directory / name

        def content(text):
            return file("content", text)

        def claims(text):
            return text and json.loads(text)

        # Each library's public keys are the other's, with the same thumbprint.
        seed = file("seed", SIGNER.export(as_dict=True)["d"])
        rsa, signer = file("rsa.jwk", run("jwk", PEM)), file("signer.jwk", run("jwk", seed))
        assert json.loads(rsa.read_text()) == RSA_JWK
        assert json.loads(signer.read_text()) == SIGNER_JWK
        our_rsa, our_signer = jwk.JWK.from_json(rsa.read_text()), jwk.JWK.from_json(signer.read_text())

        for typ, expected in SEALED:
            token = jwe.JWE(algs=["RSA-OAEP-256", "A256GCM"])
            token.deserialize(run("seal", typ, rsa, content(json.dumps(expected))), RSA)
            assert json.loads(token.payload) == expected
            assert token.jose_header == dict(alg="RSA-OAEP-256", enc="A256GCM", typ=typ, kid=RSA.thumbprint())

            def seal_there(**header):
                header = dict(alg="RSA-OAEP-256", enc="A256GCM", typ=typ, kid=RSA.thumbprint()) | header
                token = jwe.JWE(json.dumps(expected), json.dumps(header), algs=[header["alg"], header["enc"]])
                token.add_recipient(our_rsa)
                return content(token.serialize(compact=True))

            assert claims(run("open", typ, PEM, seal_there())) == expected
            # Valid JWE, but not the one header that is accepted.
            for other in [
                dict(alg="RSA-OAEP"), dict(enc="A128GCM"), dict(typ="JWT"), dict(zip="DEF"), dict(cty="JWT"), dict(kid="x"),
                dict(typ="tkp+jwe" if typ != "tkp+jwe" else "tku+jwe"),
            ]:
                assert run("open", typ, PEM, seal_there(**other)) is None, other

        for typ, expected in SIGNED:
            token = jws.JWS()
            token.deserialize(run("sign", typ, seed, content(json.dumps(expected))), our_signer)
            assert json.loads(token.payload) == expected
            assert token.jose_header == dict(alg="EdDSA", typ=typ, kid=SIGNER.thumbprint())

            def sign_there(key=SIGNER, without=(), **header):
                header = dict(alg="EdDSA", typ=typ, kid=SIGNER.thumbprint()) | header
                header = {name: value for name, value in header.items() if name not in without}
                token = jws.JWS(json.dumps(expected))
                token.allowed_algs = [header["alg"]]
                token.add_signature(key, protected=json.dumps(header))
                return content(token.serialize(compact=True))

            assert claims(run("verify", typ, signer, sign_there())) == expected
            assert claims(run("verify", typ, signer, sign_there(without=["kid"]))) == expected
            # Valid JWS, but not the one header that is accepted, or by another key.
            for other in [
                dict(typ="JWT"), dict(without=["typ"]), dict(kid="x"), dict(cty="JWT"), dict(alg="RS256", key=RSA),
                dict(alg="HS256", key=jwk.JWK(kty="oct", k=SIGNER_JWK["x"])),
                dict(key=jwk.JWK.generate(kty="OKP", crv="Ed25519")),
            ]:
                assert run("verify", typ, signer, sign_there(**other)) is None, other
            # One kind is no other.
            for other in {other for other, _ in SIGNED} - {typ}:
                assert run("verify", other, signer, sign_there()) is None
    print(f"{len(SEALED)} kinds of JWE and {len(SIGNED)} of JWS pass in both directions")


if __name__ == "__main__":
    main(*sys.argv[1:])
