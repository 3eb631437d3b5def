"""Envelopes between this crate and the PyPI package jwcrypto, both ways.

    interop.py ENVELOPE     ENVELOPE: the built example `envelope` of this crate

Exit status 0 when each side opens what the other sealed and rejects what was altered.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

from jwcrypto import jwe, jwk

PEM = pathlib.Path(__file__).parent.parent / "vectors" / "proxy-key.pem"
CLAIMS = dict(
    sub="Zoë", iat=1700000000, exp=1700000060, jti="5f0e", aud="clinic", scope="write",
    tku=dict(main=dict(epoch=1, share="iYqLjI2Oj4CRkpOUlZaXiJmam5ydnp-QoaKjpKWmp5g")),
)


def run(*arguments):
    done = subprocess.run(arguments, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def main(program):
    key = jwk.JWK.from_pem(PEM.read_bytes())
    with tempfile.TemporaryDirectory() as directory:
        directory = pathlib.Path(directory)

        def file(name, text):
            (directory / name).write_text(text)
            return directory / name

        # Each library's public key is the other's, with the same thumbprint.
        public = run(program, "jwk", PEM)
        ours = jwk.JWK.from_json(public)
        assert ours.thumbprint() == key.thumbprint() == json.loads(public)["kid"]

        sealed_here = run(program, "seal", file("public.jwk", public), file("claims.json", json.dumps(CLAIMS)))
        token = jwe.JWE(algs=["RSA-OAEP-256", "A256GCM"])
        token.deserialize(sealed_here, key)
        assert json.loads(token.payload) == CLAIMS
        assert token.jose_header == dict(alg="RSA-OAEP-256", enc="A256GCM", typ="tku+jwe", kid=key.thumbprint())

        def seal_there(**header):
            header = dict(alg="RSA-OAEP-256", enc="A256GCM", typ="tku+jwe", kid=key.thumbprint()) | header
            token = jwe.JWE(json.dumps(CLAIMS), json.dumps(header), algs=[header["alg"], header["enc"]])
            token.add_recipient(ours)
            return file("envelope", token.serialize(compact=True))

        assert json.loads(run(program, "open", PEM, seal_there())) == CLAIMS
        # Valid JWE, but not the one header that is accepted.
        for other in [dict(alg="RSA-OAEP"), dict(enc="A128GCM"), dict(typ="JWT"), dict(zip="DEF"), dict(cty="JWT"), dict(kid="x")]:
            assert run(program, "open", PEM, seal_there(**other)) is None, other
    print("envelopes open in both directions")


if __name__ == "__main__":
    main(*sys.argv[1:])
