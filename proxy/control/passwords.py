"""Hashes of passwords: made and compared. `python -m dragoman.proxy.control.passwords` asks for a password and prints its hash.

pbkdf2_sha256$ROUNDS$SALT$HASH     as Django writes them: the salt is text, the hash base64
scrypt$N$R$P$SALT$HASH             both base64
64 hexadecimal digits              SHA-256 alone: only for a long random password, since it is quick to guess
"""

from __future__ import annotations

import getpass
import hashlib
import hmac
import secrets
import sys
from base64 import b64decode, b64encode

N, R, P = 1 << 15, 8, 1  # of new hashes: 32 MB and about 0.1 s
MEMORY = 256 * 1024 * 1024  # bytes that a hash may take
LONGEST = 1024  # bytes of a password


def matches(password: str, stored: str) -> bool:
    """Whether it is the password. Takes a tenth of a second. Raises ValueError for a hash that cannot be read."""
    encoded = password.encode("utf-8", "surrogateescape")
    if len(encoded) > LONGEST:
        return False
    kind, *parts = stored.split("$")
    if kind == "pbkdf2_sha256":
        rounds, salt, wanted = parts
        digest = hashlib.pbkdf2_hmac("sha256", encoded, salt.encode(), int(rounds))
        return hmac.compare_digest(digest, b64decode(wanted))
    if kind == "scrypt":
        n, r, p, salt, wanted = parts
        expected = b64decode(wanted)
        return hmac.compare_digest(_scrypt(encoded, b64decode(salt), int(n), int(r), int(p), len(expected)), expected)
    return hmac.compare_digest(hashlib.sha256(encoded).hexdigest(), stored.lower())


def hashed(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"scrypt${N}${R}${P}${b64encode(salt).decode()}${b64encode(_scrypt(password.encode(), salt, N, R, P, 32)).decode()}"


def _scrypt(password: bytes, salt: bytes, n: int, r: int, p: int, length: int) -> bytes:
    return hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=MEMORY, dklen=length)


if __name__ == "__main__":
    first = getpass.getpass("Password: ")
    if not first or first != getpass.getpass("Again: "):
        sys.exit("the two are not the same, or empty")
    print(hashed(first))
