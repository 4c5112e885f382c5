#!/usr/bin/env python3
"""Reads a geoseal export with nothing but the package `cryptography` and docs/object-format.md.

usage: geoseal_reader.py EXPORT_DIR KEY_FILE OUT_DIR

KEY_FILE: the tenant key as 64 hex digits; for objects of data subjects a second line, `SRK-wrap-sk` as 64 hex digits.
Each object is written to OUT_DIR/<version id>, once it was verified as a whole; one JSON line on stdout names it.
Anything that does not verify ends the run with status 1 and leaves no partial file.
"""
import hashlib, hmac, json, os, sys
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

MAGIC, CHUNK, HEADER, ZERO = b"\x89SEG\r\n\x1a\n", 65536, 192, bytes(16)
TRK, SRK, SK, DEK = 1, 2, 3, 5


class Refused(Exception):
    pass


def need(condition, why):
    if not condition:
        raise Refused(why)


def expand(key, info, length):
    return HKDFExpand(hashes.SHA256(), length, info).derive(key)


def purpose(root, name, tenant, geo):
    return expand(root, b"purpose-v1\0" + name + b"\0" + tenant + geo, 32)


def same(a, b, why):
    need(hmac.compare_digest(a, b), why)


def unwrap(parent, record, kind, context):
    need(len(record) == 152 and record[:8] == b"KREC\1\1" + bytes([kind, 0]), "record: form")
    okm = expand(parent, b"key-record-v1\0" + record[:72] + context, 76)
    same(okm[32:64], record[72:104], "record: commitment")
    return AESGCM(okm[:32]).decrypt(okm[64:], record[104:], record[:104] + context)


class Segment:
    """One sealed segment, opened chunk by chunk. `size` is the length of the file, `length` that of the plaintext."""

    def __init__(self, file, dek, kind, part, context, dek_id, segment_id=None, length=None):
        self.file, self.size = file, os.fstat(file.fileno()).st_size
        header = file.read(HEADER)
        need(len(header) == HEADER, "segment: too short")
        expected = MAGIC + bytes([1, kind, 0, 1, 16, 0]) + part.to_bytes(2, "big") + context
        need(header[:96] == expected, "segment: header")
        need(segment_id in (None, header[96:112]) and header[112:128] == dek_id, "segment: ids")
        body = self.size - HEADER
        self.chunks = max(1, -(-body // (CHUNK + 16)))
        self.length = body - 16 * self.chunks
        need(self.length >= 0 and self.chunks == max(1, -(-self.length // CHUNK)), "segment: length")
        need(length in (None, self.length), "segment: another length than the manifest's")
        okm = expand(dek, b"sealed-segment-v1\0" + header[:160], 71)
        same(okm[32:64], header[160:], "segment: commitment")
        self.cipher, self.prefix = AESGCM(okm[:32]), okm[64:]
        self.aad = hashlib.sha256(header).digest()

    def __iter__(self):
        for i in range(self.chunks):
            nonce = self.prefix + i.to_bytes(4, "big") + (b"\1" if i == self.chunks - 1 else b"\0")
            yield self.cipher.decrypt(nonce, self.file.read(CHUNK + 16), self.aad)


def read_manifest(export, trk):
    with open(os.path.join(export, "manifest.seg"), "rb") as file, open(os.path.join(export, "manifest.rec"), "rb") as rec:
        context, record = file.read(HEADER)[16:96], rec.read()
        file.seek(0)
        need(len(context) == 80 and context[32:] == 3 * ZERO, "manifest: context")
        dek = unwrap(purpose(trk, b"wrap-dek", context[:16], context[16:32]), record, DEK, context)
        return context[:32], json.loads(b"".join(Segment(file, dek, 4, 1, context, record[16:32])))


def main(export, key_file, out):
    keys = [bytes.fromhex(line) for line in open(key_file).read().split()]
    owner, manifest = read_manifest(export, keys[0])
    need(manifest["format"] == 1, "manifest: format")
    parents = {None: purpose(keys[0], b"wrap-dek", owner[:16], owner[16:])}
    for subject in manifest["subject_keys"]:
        need(len(keys) > 1, "the export has data subjects: a second key is needed")
        record, context = bytes.fromhex(subject["rec"]), owner + bytes.fromhex(subject["subject_id"]) + 2 * ZERO
        parents[record[16:32]] = unwrap(keys[1], record, SK, context)
    os.makedirs(out, exist_ok=True)
    for entry in manifest["objects"]:
        context = owner + b"".join(bytes.fromhex(entry[field]) for field in ("bucket_id", "object_id", "version_id"))
        record = bytes.fromhex(entry["rec"])
        dek = unwrap(parents.get(record[32:48], parents[None]), record, DEK, context)
        path, digest = os.path.join(out, entry["version_id"]), hashlib.sha256()
        try:
            with open(path + ".part", "wb") as target:
                for piece in entry["segments"]:
                    with open(os.path.join(export, "blobs", bytes.fromhex(piece["id"]).hex() + ".seg"), "rb") as file:
                        kind = 2 if piece["part"] else 1
                        ids = (record[16:32], bytes.fromhex(piece["id"]))
                        for chunk in Segment(file, dek, kind, piece["part"], context, *ids, piece["len"]):
                            digest.update(chunk)
                            target.write(chunk)
            need(digest.hexdigest() == entry["sha256"], "object: digest")
            os.rename(path + ".part", path)
        except BaseException:
            os.unlink(path + ".part")
            raise
        print(json.dumps({"key": entry["key"], "file": entry["version_id"]}))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (Refused, InvalidTag) as error:
        sys.exit(f"FAIL {error or 'tag'}")
