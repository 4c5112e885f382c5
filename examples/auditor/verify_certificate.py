#!/usr/bin/env python3
"""Verifies a certificate of destruction, or of a data subject's erasure, with nothing of geoseal's:

    verify_certificate.py CERTIFICATE LOG-KEY [OLDER-CHECKPOINT]

LOG-KEY is the geo's public log key: 64 hexadecimal digits, or a file that holds them (`geoseal audit log-key`). With a
checkpoint that you kept, the certificate has to be in a log that goes on from it; fetch it with `certificate get
--since-checkpoint` (or `dsr certificate`) then. Needs Python 3.9 and the package `cryptography`. Ends with 1, and says why, when anything does
not fit. Formats: docs/retention.md; c2sp.org/tlog-proof, tlog-checkpoint, signed-note; RFC 6962, section 2.1.
"""

import base64
import hashlib
import json
import os
import sys

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey


def sha256(*parts):
    return hashlib.sha256(b"".join(parts)).digest()


def check(condition, what):
    if not condition:
        sys.exit(f"NOT VALID: {what}")


def decoded(text):
    raw = base64.b64decode(text, validate=True)
    check(base64.b64encode(raw).decode() == text, "base64 that was edited")
    return raw


def signed_by(key, signature, message):
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def checkpoint(note, key):
    """(name, size, root) of a signed note."""
    text, _, signatures = note.partition("\n\n")
    name, size, root = text.split("\n")
    wanted = sha256(name.encode(), b"\n\x01", key)[:4]
    values = [line.split(" ") for line in signatures.splitlines()]
    values = [decoded(value) for dash, signer, value in values if (dash, signer) == ("\u2014", name)]
    fits = [value for value in values if value[:4] == wanted and signed_by(key, value[4:], (text + "\n").encode())]
    check(fits, "the checkpoint is not signed by this log key")
    return name, int(size), decoded(root)


def root_from(leaf, index, size, hashes):
    """The root that a leaf leads to. RFC 9162, section 2.1.3.2, which is the same tree."""
    node, last, at = leaf, size - 1, index
    check(index < size, "the entry is beyond the checkpoint")
    for beside in hashes:
        check(last > 0, "a proof that is too long")
        if at & 1 or at == last:
            node = sha256(b"\x01", beside, node)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            node = sha256(b"\x01", node, beside)
        at, last = at >> 1, last >> 1
    check(last == 0, "a proof that is too short")
    return node


def entry(proof, key):
    """The entry of a tlog-proof, its checkpoint, and the checkpoint's text."""
    head, _, note = proof.partition("\n\n")
    first, extra, index, *hashes = head.split("\n")
    check(first == "c2sp.org/tlog-proof@v1", "not a tlog-proof")
    check(extra.startswith("extra ") and index.startswith("index "), "not a tlog-proof")
    line, index = decoded(extra[6:]), int(index[6:])
    name, size, root = checkpoint(note, key)
    found = root_from(sha256(b"\x00", line), index, size, [decoded(text) for text in hashes])
    check(found == root, "the entry is not in the log of its checkpoint, or not in this place")
    read = json.loads(line)
    check(read["index"] == index, "the entry has another index")
    check(hashlib.sha256(line[:line.rindex(b',"hash":')]).hexdigest() == read["hash"], "the entry was edited")
    return read, (name, size, root), note


def roots_from(older, newer, hashes, root):
    """Both roots that a consistency proof leads to. RFC 9162, section 2.1.4.2."""
    at, last = older - 1, newer - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    hashes = list(hashes)
    if older & (older - 1) == 0:
        hashes.insert(0, root)
    check(hashes, "an empty proof")
    old = new = hashes[0]
    for beside in hashes[1:]:
        check(last > 0, "a proof that is too long")
        if at & 1 or at == last:
            old, new = sha256(b"\x01", beside, old), sha256(b"\x01", beside, new)
            while at and not at & 1:
                at, last = at >> 1, last >> 1
        else:
            new = sha256(b"\x01", new, beside)
        at, last = at >> 1, last >> 1
    check(last == 0, "a proof that is too short")
    return old, new


def canonical(value):
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def main():
    text = open(sys.argv[1], encoding="utf-8").read().removesuffix("\n")
    key = open(sys.argv[2]).read() if os.path.exists(sys.argv[2]) else sys.argv[2]
    key = bytes.fromhex(key.strip())
    document = json.loads(text)
    pretty = json.dumps(document, sort_keys=True, indent=2, ensure_ascii=False)
    check(text in (pretty, canonical(document)), "the file is not as it was written")
    check(set(document) == {"certificate", "signature", "log"}, "members that do not belong there, or `log` is missing")
    certificate, signature, log = (document[name] for name in ("certificate", "signature", "log"))
    check(signature["algorithm"] == "Ed25519", "another algorithm")
    check(signature["key_id"] == hashlib.sha256(key).hexdigest()[:16], "signed by another key")
    check(signed_by(key, decoded(signature["value"]), canonical(certificate).encode()), "the signature does not fit")

    of_subject = certificate["schema"].startswith("geoseal/subject-certificate/")
    issued, (name, size, root), note = entry(log["issued"], key)
    bare = json.dumps({"certificate": certificate, "signature": signature}, sort_keys=True, indent=2, ensure_ascii=False)
    act = {"event": "certificate-issued", "tenant": certificate["tenant"],
           "certificate": hashlib.sha256(bare.encode()).hexdigest()}
    if of_subject:
        act |= {"event": "subject-certificate-issued", "dsr": int(certificate["dsr"].removeprefix("DSR-"))}
    check(issued["act"] == act, "`log.issued` names another certificate")
    # Of a data subject of whom nothing was stored there is no entry on the destruction.
    audit = certificate.get("audit")
    check((audit is None) == ("ended" not in log) and (of_subject or audit), "`log.ended` is missing, or does not belong there")
    if audit:
        ended, _, first_note = entry(log["ended"], key)
        check((ended["index"], ended["hash"]) == (audit["index"], audit["hash"]), "`log.ended` is another entry")
        check(ended["act"]["tenant"] == certificate["tenant"], "`log.ended` is about another tenant")
        check(not of_subject or ended["act"]["event"] == "subject-erased", "`log.ended` is of another kind")
        check(note == first_note, "the two proofs are under different checkpoints")
    check(name.split("/")[2] == certificate["geo"], "the log of another geo")

    since = ""
    if len(sys.argv) > 3:
        older_name, older, older_root = checkpoint(open(sys.argv[3], encoding="utf-8").read(), key)
        check(older_name == name, "the older checkpoint is of another log")
        check(older <= size, "the log is shorter than it was")
        if older == size:
            check(older_root == root, "fork: the log is another one than it was")
        elif older:
            growth = log.get("growth") or {}
            check(growth.get("from") == older, "nothing shows what came after the older checkpoint")
            both = roots_from(older, size, [decoded(text) for text in growth["hashes"]], older_root)
            check(both == (older_root, root), "fork: the log is another one than it was")
        since = f"; consistent {older}\u2192{size}"
    kind = "erasure" if of_subject else certificate["kind"]
    print(f"valid; {kind}; tenant {certificate['tenant']}; in the log as entry {issued['index']} of {size}{since}")


if __name__ == "__main__":
    main()
