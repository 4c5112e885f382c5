"""Puts every file under argv[2] into the bucket argv[1], several at a time; prints each name once its PUT was answered.

Ends as soon as nobody listens any more: what was printed until then is what was acknowledged. A connection that broke
while the server lives (a machine so busy that a handshake outlasted its deadline) is made again, a few times, as every
client does."""
import os
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config
from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, SSLError

ATTEMPTS = 5

bucket, folder = sys.argv[1], pathlib.Path(sys.argv[2])
s3 = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}, max_pool_connections=8))


def put(path):
    name = path.relative_to(folder).as_posix()
    subject = {"geoseal-subject": "contact:4711", "geoseal-class": "interaction"}
    for attempt in range(ATTEMPTS):
        try:
            s3.put_object(Bucket=bucket, Key=name, Body=path.read_bytes(), Metadata=subject)
            os.write(1, name.encode() + b"\n")
            return
        except Exception as e:
            print(type(e).__name__, e, file=sys.stderr, flush=True)
            broken = isinstance(e, (ConnectionClosedError, ConnectTimeoutError, SSLError))
            if not broken or attempt + 1 == ATTEMPTS:
                os._exit(1)


with ThreadPoolExecutor(8) as pool:
    list(pool.map(put, sorted(p for p in folder.rglob("*") if p.is_file())))
