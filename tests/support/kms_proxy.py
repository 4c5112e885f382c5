"""A proxy before moto's KMS: PORT MOTO_PORT.

moto proves the wire format, and no more: it decrypts with disabled keys and with keys pending deletion, and checks no
signature. This checks signatures with botocore, enforces the keys' states, remembers every request, and fails as told:
POST /-/fault {"way": ..., "times": n}, POST /-/captured.
"""
import base64, http.client, json, os, re, socket, sys, threading, time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

SECRET = "a-secret-of-this-test/0001+x"
port, moto = int(sys.argv[1]), int(sys.argv[2])
lock = threading.Lock()
captured, states, fault = [], {}, {"way": "", "times": 0}


def is_signed(method, url, headers, body):
    found = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/kms/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})",
        headers.get("authorization", ""),
    )
    if not found:
        return False
    access, _, region, names, signature = found.groups()
    if not {"host", "x-amz-date", "x-amz-target"} <= set(names.split(";")):
        return False
    signed = {name: headers[name] for name in names.split(";")}
    request = AWSRequest(method=method, url=url, data=body, headers=signed)
    request.context["timestamp"] = headers["x-amz-date"]
    auth = SigV4Auth(Credentials(access, SECRET, headers.get("x-amz-security-token")), "kms", region)
    return auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request) == signature


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, body, kind="application/x-amz-json-1.1"):
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def error(self, status, kind):
        self.answer(status, json.dumps({"__type": kind, "message": "as told"}).encode())

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/-/fault":
            with lock:
                fault.update(json.loads(body))
            return self.answer(200, b"{}")
        if self.path == "/-/captured":
            with lock:
                return self.answer(200, json.dumps(captured).encode())
        headers = {name.lower(): value for name, value in self.headers.items()}
        act = headers.get("x-amz-target", "").rpartition(".")[2]
        signed = is_signed("POST", f"http://{headers['host']}{self.path}", headers, body)
        with lock:
            captured.append({"act": act, "headers": headers, "body": json.loads(body), "signature": signed})
            way = fault["way"] if fault["times"] > 0 else ""
            fault["times"] = max(0, fault["times"] - 1)
        if not signed:
            return self.error(400, "InvalidSignatureException")
        if way == "throttle":
            return self.error(400, "ThrottlingException")
        if way == "429":
            return self.error(429, "")
        if way == "500":
            return self.error(500, "KMSInternalException")
        if way == "denied":
            return self.error(400, "AccessDeniedException")
        if way == "disabled":
            return self.error(400, "DisabledException")
        if way == "garbage":
            return self.answer(200, b"<html>hello</html>", "text/html")
        if way == "huge":
            return self.answer(200, b'{"Plaintext":"' + b"A" * (8 << 20) + b'"}')
        if way == "cut":
            self.close_connection = True
            return self.connection.shutdown(socket.SHUT_RDWR)
        if way == "slow":
            time.sleep(20)
        if way == "late":
            time.sleep(2)
        key = json.loads(body).get("KeyId", "").rpartition("/")[2]
        state = states.get(key, "Enabled")
        if act in ("Encrypt", "Decrypt", "EnableKey", "DisableKey"):
            if state == "PendingDeletion":
                return self.error(400, "KMSInvalidStateException")
            if state == "Disabled" and act in ("Encrypt", "Decrypt"):
                return self.error(400, "DisabledException")
        upstream = http.client.HTTPConnection("127.0.0.1", moto, timeout=30)
        kept = {name: value for name, value in headers.items() if name not in ("host", "connection", "content-length")}
        upstream.request("POST", self.path, body, kept)
        reply = upstream.getresponse()
        text = reply.read()
        if reply.status == 200:
            changed = {"EnableKey": "Enabled", "DisableKey": "Disabled", "ScheduleKeyDeletion": "PendingDeletion"}
            if act in changed:
                states[key] = changed[act]
            of = json.loads(body).get("EncryptionContext", {}).get("geoseal-tenant", "")
            if act == "Decrypt" and (way == "any-wrong-key" or way == "wrong-key" and of.strip("0")):
                wrong = json.loads(text)
                wrong["Plaintext"] = base64.b64encode(os.urandom(32)).decode()
                text = json.dumps(wrong).encode()
        self.answer(reply.status, text)


ThreadingHTTPServer(("127.0.0.1", port), Handler).serve_forever()
