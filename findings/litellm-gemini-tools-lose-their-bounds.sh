#!/usr/bin/env bash
# litellm 1.110.2. The same tool goes to an OpenAI server as it is written, to Gemini changed: `exclusiveMinimum`,
# `format: uuid`, the values of an integer `enum` and `additionalProperties` are left out, and a property that is
# `{"const": "EUR"}` becomes `{"type": "object"}`. No error, no warning. Seen in the request that arrives at the server.
# Why it matters: a model behind Gemini is given a weaker description of the tool than a model behind OpenAI (for `const` a wrong
# one), so a comparison of the two also measures that. Repeat bounds in the property's description.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" -qq --disable-pip-version-check install litellm==1.110.2
cat > "$folder/ask.py" << 'PYTHON'
import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import litellm

requests = []
ANSWER = {
    "candidates": [{"content": {"role": "model", "parts": [{"text": "fine"}]}, "finishReason": "STOP"}],
    "usageMetadata": {"promptTokenCount": 9, "candidatesTokenCount": 1, "totalTokenCount": 10},
}


class Gemini(BaseHTTPRequestHandler):
    def do_POST(self):
        requests.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Keep the output to the finding."""


server = HTTPServer(("127.0.0.1", 0), Gemini)
threading.Thread(target=server.serve_forever, daemon=True).start()
PROPERTIES = {
    "amount": {"type": "number", "exclusiveMinimum": 0},
    "client_id": {"type": "string", "format": "uuid"},
    "priority": {"type": "integer", "enum": [1, 2, 3]},
    "currency": {"const": "EUR"},
}
parameters = {"type": "object", "properties": PROPERTIES, "additionalProperties": False}
litellm.completion(
    model="gemini/gemini-2.5-flash",
    api_key="unused",
    api_base=f"http://127.0.0.1:{server.server_port}",
    messages=[{"role": "user", "content": "Make a quote."}],
    tools=[{"type": "function", "function": {"name": "create_quote", "parameters": parameters}}],
)
arrived = requests[0]["tools"][0]["function_declarations"][0]["parameters"]
for name, written in PROPERTIES.items():
    print(f"{name}: {json.dumps(written)} -> {json.dumps(arrived['properties'][name])}")
assert arrived == {
    "type": "object",
    "properties": {
        "amount": {"type": "number"},
        "client_id": {"type": "string"},
        "priority": {"type": "integer"},
        "currency": {"type": "object"},
    },
}, arrived
print("as described, litellm 1.110.2")
PYTHON
LITELLM_LOCAL_MODEL_COST_MAP=True "$folder/venv/bin/python" "$folder/ask.py" 2> "$folder/log" ||
    { tail -n 20 "$folder/log" >&2; exit 1; }
