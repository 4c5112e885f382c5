"""Reads the object behind every file under argv[2] from the bucket argv[1] and compares them; prints how many there were."""
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

bucket, folder = sys.argv[1], pathlib.Path(sys.argv[2])
s3 = boto3.client("s3", config=Config(max_pool_connections=8))


def same(path):
    name = path.relative_to(folder).as_posix()
    return s3.get_object(Bucket=bucket, Key=name)["Body"].read() == path.read_bytes()


with ThreadPoolExecutor(8) as pool:
    results = list(pool.map(same, (p for p in folder.rglob("*") if p.is_file())))
assert all(results), f"{results.count(False)} records came back different"
print(len(results))
