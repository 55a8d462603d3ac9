"""Makes the key pair of an identity provider (`tokens.py PRIVATE PUBLIC`), and signs tokens with it."""

import pathlib
import sys
import time

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

ALL = "rabbitmq.configure:*/* rabbitmq.write:*/* rabbitmq.read:*/*"


class Provider:
    """Signs tokens of the user `app`."""

    def __init__(self, private: str) -> None:
        self.key = pathlib.Path(private).read_text()

    def token(self, scope: str = ALL, seconds: int = 60, **claims) -> str:
        """A token that expires in some seconds. A claim that is None is left out."""
        claims = {"sub": "app", "aud": "rabbitmq", "exp": int(time.time()) + seconds, "scope": scope} | claims
        claims = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": "key"})


def main(private: str, public: str) -> None:
    key = rsa.generate_private_key(65537, 2048)
    pathlib.Path(private).write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    pathlib.Path(public).write_bytes(key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))


if __name__ == "__main__":
    main(*sys.argv[1:])
