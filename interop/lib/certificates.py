"""Certificates for brokers and clients that speak TLS, by the command `openssl`: an authority, a server and a client."""

import pathlib
import subprocess
from typing import NamedTuple

DAYS = "30"
SERVER_NAMES = "subjectAltName=DNS:localhost,IP:127.0.0.1"


class Certificates(NamedTuple):
    """Files in PEM: the authority's certificate, and certificates with their keys.

    The client's common name is `guest`. The stranger's certificate is its own authority.
    """

    authority: pathlib.Path
    server: pathlib.Path
    server_key: pathlib.Path
    client: pathlib.Path
    client_key: pathlib.Path
    stranger: pathlib.Path
    stranger_key: pathlib.Path

    def broker_options(self, port: int) -> dict[str, str]:
        """Environment of a Leveret that speaks AMQP over TLS on a loopback port and asks clients for a certificate."""
        return {
            "LEVERET_AMQPS_LISTEN": f"127.0.0.1:{port}",
            "LEVERET_TLS_CERT": str(self.server),
            "LEVERET_TLS_KEY": str(self.server_key),
            "LEVERET_TLS_CA": str(self.authority),
            "LEVERET_TLS_VERIFY": "peer",
            "LEVERET_AUTH_MECHANISMS": "PLAIN,AMQPLAIN,ANONYMOUS,EXTERNAL",
            "LEVERET_TLS_LOGIN_FROM": "common_name",
        }

    def trust(self) -> dict[str, str]:
        """Environment in which Python, Go, Rust and Node.js trust the authority, and no other."""
        return {"SSL_CERT_FILE": str(self.authority), "NODE_EXTRA_CA_CERTS": str(self.authority)}


def openssl(*words: str | pathlib.Path) -> None:
    subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)


def make(folder: pathlib.Path) -> Certificates:
    """Make all certificates in a folder."""
    authority, authority_key = folder / "ca.pem", folder / "ca.key"
    stranger, stranger_key = folder / "stranger.pem", folder / "stranger.key"
    # fmt: off
    for name, certificate, key in ("interop authority", authority, authority_key), ("stranger", stranger, stranger_key):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", DAYS,
                "-subj", f"/CN={name}", "-keyout", key, "-out", certificate)

    def issue(name: str, common_name: str, extensions: str) -> tuple[pathlib.Path, pathlib.Path]:
        key, request, certificate, more = (folder / f"{name}.{ending}" for ending in ("key", "csr", "pem", "ext"))
        more.write_text(extensions + "\n")
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={common_name}", "-keyout", key, "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", authority, "-CAkey", authority_key, "-CAcreateserial",
                "-days", DAYS, "-extfile", more, "-out", certificate)
        return certificate, key
    # fmt: on

    server, server_key = issue("server", "localhost", SERVER_NAMES)
    client, client_key = issue("client", "guest", "extendedKeyUsage=clientAuth")
    return Certificates(authority, server, server_key, client, client_key, stranger, stranger_key)
