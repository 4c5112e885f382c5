"""What is not built says 501, and does nothing."""


def every_other_operation_is_501():
    name = bucket("not-built")
    s3.put_object(Bucket=name, Key="k", Body=b"x", Tagging="a=1")
    at, key = {"Bucket": name}, {"Bucket": name, "Key": "k"}
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}}
    calls = [
        ("get_bucket_acl", at), ("put_bucket_acl", {**at, "ACL": "public-read"}), ("get_object_acl", key),
        ("put_object_acl", {**key, "ACL": "public-read"}), ("get_bucket_policy", at),
        ("put_bucket_policy", {**at, "Policy": "{}"}), ("delete_bucket_policy", at), ("get_bucket_policy_status", at),
        ("get_bucket_cors", at), ("put_bucket_cors", {**at, "CORSConfiguration": {"CORSRules": [
            {"AllowedMethods": ["GET"], "AllowedOrigins": ["*"]}]}}), ("delete_bucket_cors", at),
        ("put_bucket_lifecycle_configuration", {**at, "LifecycleConfiguration": {"Rules": [
            {"Status": "Enabled", "Prefix": "", "Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}]}}),
        ("get_bucket_encryption", at),
        ("put_bucket_encryption", {**at, "ServerSideEncryptionConfiguration": {"Rules": [rule]}}),
        ("delete_bucket_encryption", at), ("get_bucket_tagging", at),
        ("put_bucket_tagging", {**at, "Tagging": {"TagSet": []}}), ("delete_bucket_tagging", at),
        ("get_bucket_website", at), ("put_bucket_website", {**at, "WebsiteConfiguration": {
            "IndexDocument": {"Suffix": "i"}}}), ("delete_bucket_website", at),
        ("get_bucket_logging", at), ("put_bucket_logging", {**at, "BucketLoggingStatus": {}}),
        ("get_bucket_notification_configuration", at),
        ("put_bucket_notification_configuration", {**at, "NotificationConfiguration": {}}),
        ("get_bucket_replication", at), ("delete_bucket_replication", at), ("get_bucket_request_payment", at),
        ("get_bucket_accelerate_configuration", at), ("get_bucket_ownership_controls", at),
        ("delete_bucket_ownership_controls", at), ("get_public_access_block", at), ("delete_public_access_block", at),
        ("put_public_access_block", {**at, "PublicAccessBlockConfiguration": {"BlockPublicAcls": False}}),
        ("get_object_lock_configuration", at), ("get_object_retention", key), ("get_object_legal_hold", key),
        ("put_object_legal_hold", {**key, "LegalHold": {"Status": "ON"}}),
        ("put_object_retention", {**key, "Retention": {"Mode": "GOVERNANCE", "RetainUntilDate": 1900000000}}),
        ("get_object_torrent", key), ("get_object_attributes", {**key, "ObjectAttributes": ["ETag"]}),
        ("restore_object", {**key, "RestoreRequest": {"Days": 1}}),
        ("select_object_content", {**key, "Expression": "select 1", "ExpressionType": "SQL",
                                   "InputSerialization": {"CSV": {}}, "OutputSerialization": {"CSV": {}}}),
        ("list_bucket_analytics_configurations", at), ("list_bucket_inventory_configurations", at),
        ("list_bucket_metrics_configurations", at), ("list_bucket_intelligent_tiering_configurations", at),
    ]
    for operation, arguments in calls:
        refused(501, "NotImplemented", getattr(s3, operation), **arguments)
    assert read(name, "k") == b"x" and s3.get_object_tagging(**key)["TagSet"] == [{"Key": "a", "Value": "1"}]
    assert s3.list_objects_v2(**at)["KeyCount"] == 1


def headers_that_imply_what_is_not_there():
    name = bucket("not-built-headers")
    key = {"Bucket": name, "Key": "k"}
    s3.put_object(**key, Body=b"x")
    for more in [
        {"ACL": "public-read"}, {"GrantRead": "id=1"}, {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": "k" * 32},
        {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "mine"}, {"ServerSideEncryption": "aws:kms:dsse"},
        {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": 1900000000}, {"ObjectLockLegalHoldStatus": "ON"},
        {"WriteOffsetBytes": 1},
    ]:
        refused(501, "NotImplemented", s3.put_object, **key, Body=b"y", **more)
    for storage in ["GLACIER", "STANDARD_IA", "made up"]:
        refused(400, "InvalidStorageClass", s3.put_object, **key, Body=b"y", StorageClass=storage)
    refused(501, "NotImplemented", s3.create_bucket, Bucket="locked-bucket", ObjectLockEnabledForBucket=True)
    assert read(name, "k") == b"x"
    # What only says "encrypt it" is granted, because everything is.
    for more in [{"ServerSideEncryption": "AES256"}, {"ServerSideEncryption": "aws:kms"}, {"ACL": "private"},
                 {"ACL": "bucket-owner-full-control"}, {"StorageClass": "STANDARD"}]:
        s3.put_object(**key, Body=b"z", **more)
