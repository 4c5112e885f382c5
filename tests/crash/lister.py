"""Prints every name in the bucket argv[1], in the order of the listing."""
import sys

import boto3

for page in boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=sys.argv[1]):
    for entry in page.get("Contents", []):
        print(entry["Key"])
