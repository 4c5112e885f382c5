"""Whether a payload comes from the provider that it claims to come from. Verify before you parse.

SES publishes through SNS, whose signature is checked against a certificate that has to be fetched: subscribe a queue of
your own instead and read from that. Postmark signs nothing: give its webhook HTTPS with a user and a password.
"""

import base64
import hashlib
import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key


def sendgrid(public_key, body, signature, timestamp):
    """ECDSA over timestamp and body as received, its line ends included. Keys and signature are base64, body is bytes."""
    try:
        key = load_der_public_key(base64.b64decode(public_key, validate=True))
        if not isinstance(key, ec.EllipticCurvePublicKey):
            return False
        signed = timestamp.encode() + body
        key.verify(base64.b64decode(signature, validate=True), signed, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def mailgun(signing_key, signature, now, max_age_s=900):
    """HMAC over timestamp and token, as the payload's `signature` has them; `now` in seconds since 1970."""
    try:
        timestamp, token, given = signature["timestamp"], signature["token"], signature["signature"]
        fresh = abs(now - int(timestamp)) <= max_age_s
        expected = hmac.new(signing_key, f"{timestamp}{token}".encode(), hashlib.sha256).hexdigest()
        return fresh and hmac.compare_digest(expected, given)
    except (KeyError, TypeError, ValueError):
        return False
