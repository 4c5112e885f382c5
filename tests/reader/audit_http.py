#!/usr/bin/env python3
"""Copies a log as any client of tlog-tiles does:  audit_http.py URL CA-FILE TOKEN-FILE DIRECTORY

URL is what stands before `/checkpoint` and `/tile/`. What it wrote, audit_log.py verifies.
"""

import ssl
import sys
import urllib.request
from pathlib import Path

sys.dont_write_bytecode = True
from audit_log import place


def main():
    url, ca, token, out = sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_text().strip(), Path(sys.argv[4])
    context = ssl.create_default_context(cafile=ca)

    def copy(path):
        request = urllib.request.Request(f"{url}/{path}", headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, context=context, timeout=60) as answer:
            body = answer.read()
        (out / path).parent.mkdir(parents=True, exist_ok=True)
        (out / path).write_bytes(body)
        return body

    size = int(copy("checkpoint").decode().split("\n")[1])
    levels = {"entries": size} | {level: size >> 8 * level for level in range(8) if size >> 8 * level}
    for level, count in levels.items():
        for number in range(-(-count // 256)):
            copy(place(level, number, min(256, count - number * 256)))
    print(f"{size} entries")


if __name__ == "__main__":
    main()
