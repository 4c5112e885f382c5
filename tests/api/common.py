"""What the scripts beside this file share. `mod.rs` puts it in front of each of them, so there is nothing to import.

Every case is a function without arguments that makes a bucket of its own and fails by an exception.
"""

import base64
import hashlib
import io
import itertools
import os
import random
import sys
import threading
import time
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import boto3
import botocore
import botocore.config
import botocore.exceptions
import urllib3
from boto3.s3.transfer import TransferConfig

MIB = 1 << 20
PART = 5 * MIB
REGION = os.environ["AWS_REGION"]
ENDPOINT = os.environ["AWS_ENDPOINT_URL"]


def client(region=REGION, **settings):
    """boto3 with nothing but `dev.env`; no retries, so that a test sees the first answer."""
    settings.setdefault("retries", {"total_max_attempts": 1})
    settings.setdefault("connect_timeout", 30)
    return boto3.client("s3", region_name=region, config=botocore.config.Config(**settings))


s3 = client()


def bucket(name):
    """A new bucket."""
    s3.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    return name


def refused(status, code, call, **arguments):
    """The call must fail like this. HEAD and 304 have no body, so their code is the status."""
    try:
        call(**arguments)
    except botocore.exceptions.ClientError as error:
        got = (error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"])
        assert got == (status, code), f"{got}, and not {(status, code)}: {error}"
        return error.response
    raise AssertionError(f"succeeded, and should have been {status} {code}: {arguments}")


def read(bucket, key, **arguments):
    return s3.get_object(Bucket=bucket, Key=key, **arguments)["Body"].read()


def noise(size, seed=1):
    return random.Random(seed).randbytes(size)


def md5(data):
    return hashlib.md5(data).hexdigest()


def b64(data):
    return base64.b64encode(data).decode()


def plain_http():
    """A client that knows nothing of S3, for presigned URLs."""
    return urllib3.PoolManager(ca_certs=os.environ["AWS_CA_BUNDLE"], retries=False)


def add_header(client, operation, **headers):
    """Sends headers that boto3 has no word for; they are signed with the rest."""

    def add(request, **_):
        for name, value in headers.items():
            request.headers[name.replace("_", "-")] = value

    client.meta.events.register(f"before-sign.s3.{operation}", add)
    return client
