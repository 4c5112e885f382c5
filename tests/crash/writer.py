"""Puts every file under argv[2] into the bucket argv[1], several at a time; prints each name once its PUT was answered.

No retries: the first broken connection ends the writer, and what was printed until then is what was acknowledged."""
import os
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

bucket, folder = sys.argv[1], pathlib.Path(sys.argv[2])
s3 = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}, max_pool_connections=8))


def put(path):
    name = path.relative_to(folder).as_posix()
    subject = {"geoseal-subject": "contact:4711", "geoseal-class": "interaction"}
    try:
        s3.put_object(Bucket=bucket, Key=name, Body=path.read_bytes(), Metadata=subject)
    except Exception as e:
        print(e, file=sys.stderr, flush=True)
        os._exit(1)
    os.write(1, name.encode() + b"\n")


with ThreadPoolExecutor(8) as pool:
    list(pool.map(put, sorted(p for p in folder.rglob("*") if p.is_file())))
