#!/usr/bin/env python3
"""Verifies an exported audit log with nothing of geoseal's:  audit_log.py DIRECTORY LOG-KEY-HEX [OLDER-CHECKPOINT]

Formats: c2sp.org/tlog-tiles, c2sp.org/tlog-checkpoint, c2sp.org/signed-note; RFC 6962, section 2.1. Needs the package
`cryptography`. Prints what it found; ends with 1 when anything does not fit.
"""

import base64
import hashlib
import json
import sys
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def check(condition, what):
    if not condition:
        sys.exit(f"FAIL: {what}")


def checkpoint(note, key):
    """(name, size, root) of a signed note."""
    text, _, signatures = note.partition("\n\n")
    name, size, root = text.split("\n")
    text = (text + "\n").encode()
    key_hash = sha256(name.encode(), b"\n\x01", key)[:4]
    for line in signatures.splitlines():
        dash, signer, value = line.split(" ")
        value = base64.b64decode(value)
        if (dash, signer, value[:4]) == ("\u2014", name, key_hash):
            try:
                Ed25519PublicKey.from_public_bytes(key).verify(value[4:], text)
                return name, int(size), base64.b64decode(root)
            except InvalidSignature:
                pass
    sys.exit("FAIL: no signature of this key fits the checkpoint")


def place(level, number, width):
    parts = [f"{number % 1000:03}"]
    while number >= 1000:
        number //= 1000
        parts.insert(0, f"x{number % 1000:03}")
    return "/".join(["tile", str(level), *parts]) + (f".p/{width}" if width < 256 else "")


def root(hashes):
    """Of the leaves' hashes."""
    if not hashes:
        return sha256()
    if len(hashes) == 1:
        return hashes[0]
    half = 1
    while half * 2 < len(hashes):
        half *= 2
    return sha256(b"\x01", root(hashes[:half]), root(hashes[half:]))


def main():
    log, key = Path(sys.argv[1]), bytes.fromhex(sys.argv[2])
    name, size, signed = checkpoint((log / "checkpoint").read_text(), key)
    leaves, prev = [], sha256(b"geoseal/audit/v1/first\0", name.split("/")[2].encode()).hex()
    for number in range(-(-size // 256)):
        width = min(256, size - number * 256)
        bundle, lines = (log / place("entries", number, width)).read_bytes(), []
        while bundle:
            length = int.from_bytes(bundle[:2], "big")
            lines.append(bundle[2:2 + length])
            bundle = bundle[2 + length:]
        check(len(lines) == width, f"bundle {number} has another number of entries")
        for line in lines:
            entry = json.loads(line)
            check(entry["index"] == len(leaves), f"entry {len(leaves)} is not in its place")
            check(entry["prev"] == prev, f"entry {len(leaves)} does not follow the one before")
            prev = hashlib.sha256(line[:line.rindex(b',"hash":')]).hexdigest()
            check(entry["hash"] == prev, f"entry {len(leaves)} was edited")
            leaves.append(sha256(b"\x00", line))
    check(root(leaves) == signed, "the entries are not those that were signed")
    level, hashes = 0, leaves
    while hashes:
        for number in range(-(-len(hashes) // 256)):
            tile = hashes[number * 256:number * 256 + 256]
            check((log / place(level, number, len(tile))).read_bytes() == b"".join(tile), f"tile {level}/{number}")
        hashes = [root(hashes[at:at + 256]) for at in range(0, len(hashes) // 256 * 256, 256)]
        level += 1
    if len(sys.argv) > 3:
        older_name, older_size, older_root = checkpoint(Path(sys.argv[3]).read_text(), key)
        check(older_name == name, "the older checkpoint is of another log")
        check(older_size <= size, "the log is shorter than it was")
        check(root(leaves[:older_size]) == older_root, f"its first {older_size} entries are others than they were")
    print(f"{name}: {size} entries, root {signed.hex()}")


if __name__ == "__main__":
    main()
