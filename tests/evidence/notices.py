"""A receiver of notices over TLS, as Standard Webhooks says: checks the signature itself, refuses the first attempt of each, and
writes one JSON line for every one that it took:  notices.py CERTIFICATE KEY SECRET OUT  (prints its port)."""

import base64
import hashlib
import hmac
import http.server
import json
import ssl
import sys

certificate, key, secret, out = sys.argv[1:]
secret = open(secret, "rb").read().strip()
seen = set()


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        sent = self.headers["webhook-id"]
        signed = f"{sent}.{self.headers['webhook-timestamp']}.".encode() + body
        expected = "v1," + base64.b64encode(hmac.new(secret, signed, hashlib.sha256).digest()).decode()
        good = hmac.compare_digest(expected, self.headers["webhook-signature"])
        status = 401 if not good else 503 if sent not in seen else 204
        seen.add(sent)
        if status == 204:
            with open(out, "a", encoding="utf-8") as file:
                file.write(json.dumps({"id": sent, "body": json.loads(body)}) + "\n")
        self.send_response(status)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_port, flush=True)
server.serve_forever()
