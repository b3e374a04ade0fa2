"""Runs an agent of samples.py as the other types have it.

`python -m tests.agents.driver NAME`: a program that is told turns on standard input; `… NAME FD`: a service
on the socket that it inherits.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

from crm_assets.agents import Crm, ToolRefused
from tests.agents import samples


def post(url: str, token: str, body: object) -> tuple[int, Any]:
    """Post JSON; return the status and the answer."""
    address = urlsplit(url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port)
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": "application/json",
        "Accept": "application/json, text/event-stream",
    }
    try:
        connection.request("POST", address.path, json.dumps(body), headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def call_by_mcp(url: str, token: str, name: str, arguments: Any) -> Any:
    """Make a call as an MCP client does."""
    asked = {"name": name, "arguments": arguments}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asked}
    _, answer = post(url, token, body)
    if "error" in answer:
        raise ToolRefused(str(answer["error"]))
    text = answer["result"]["content"][0]["text"]
    if answer["result"]["isError"]:
        raise ToolRefused(text)
    return json.loads(text)


def call_by_http(url: str, token: str, name: str, arguments: Any) -> Any:
    """Make a call by the plain endpoint."""
    _, answer = post(url, token, {"name": name, "arguments": arguments})
    if "error" in answer:
        raise ToolRefused(answer["error"])
    return answer["result"]


def program(name: str) -> None:
    """Be a program."""
    url, token = os.environ["MCP_URL"], os.environ["MCP_TOKEN"]
    agent = getattr(samples, name)()
    crm = None
    for line in sys.stdin:
        turn = json.loads(line)
        crm = crm or Crm(lambda *call: call_by_mcp(url, token, *call), [], turn["instructions"])
        crm.reported = {}
        reply = agent.turn(turn["utterance"], crm)
        sys.stdout.write(json.dumps({"reply": reply, "usage": crm.reported, "turn": turn["turn"]}) + "\n")
    if hasattr(agent, "close"):
        agent.close()


def service(name: str, listening: socket.socket) -> None:
    """Be a service."""
    agents: dict[str, Any] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            turn = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            agent = agents.setdefault(turn["session"], getattr(samples, name)())
            call = (turn["endpoint"], turn["token"])
            crm = Crm(lambda *asked: call_by_http(*call, *asked), turn["tools"], turn["instructions"])
            try:
                reply = agent.turn(turn["utterance"], crm)
                status, answer = 200, json.dumps({"reply": reply, "usage": crm.reported})
            except LookupError as error:
                status, answer = 500, f"{type(error).__name__}: {error}"
            body = answer.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listening
    server.serve_forever()


if __name__ == "__main__":
    if len(sys.argv) > 2:
        service(sys.argv[1], socket.socket(fileno=int(sys.argv[2])))
    else:
        program(sys.argv[1])
