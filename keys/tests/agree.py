"""FX-16: seals what ring sealed once more, with the package `cryptography`, from docs/object-format.md alone.

usage: agree.py CASES, a file of cases one after the other, all numbers big-endian:

    key(32) | kind(1) | part(2) | context(80) | segment id(16) | data key id(16) | u32 length | plaintext | sealed segment

Prints how many there were. Ends with status 1 at the first that differs by a byte.
"""
import hashlib, sys
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

CHUNK, HEADER = 65536, 192


def seal(key, kind, part, context, segment, dek, salt, plain):
    head = b"\x89SEG\r\n\x1a\n" + bytes([1, kind, 0, 1, 16, 0]) + part + context + segment + dek + salt
    okm = HKDFExpand(hashes.SHA256(), 71, b"sealed-segment-v1\0" + head).derive(key)
    head += okm[32:64]
    cipher, aad = AESGCM(okm[:32]), hashlib.sha256(head).digest()
    count = max(1, -(-len(plain) // CHUNK))
    body = [
        cipher.encrypt(okm[64:] + i.to_bytes(4, "big") + bytes([i == count - 1]), plain[i * CHUNK : (i + 1) * CHUNK], aad)
        for i in range(count)
    ]
    return head + b"".join(body)


def main(path):
    with open(path, "rb") as cases:
        count = 0
        while key := cases.read(32):
            kind, part, context = cases.read(1)[0], cases.read(2), cases.read(80)
            segment, dek, length = cases.read(16), cases.read(16), int.from_bytes(cases.read(4), "big")
            plain = cases.read(length)
            sealed = cases.read(HEADER + length + 16 * max(1, -(-length // CHUNK)))
            if seal(key, kind, part, context, segment, dek, sealed[128:160], plain) != sealed:
                sys.exit(f"case {count} differs: {length} bytes, kind {kind}, part {int.from_bytes(part, 'big')}")
            count += 1
    print(count)


if __name__ == "__main__":
    main(*sys.argv[1:])
