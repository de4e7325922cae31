"""Enqueues a job over HTTP and waits for its result."""

import json
import os
import urllib.request

API = os.environ.get("LONGSHORE_API", "http://127.0.0.1:8000")

job = {"kind": "greet", "queue": "python", "args": {"name": "Ann"}}
# the same request sent again enqueues nothing twice
headers = {"content-type": "application/json", "idempotency-key": f"greet-ann-{os.getpid()}"}
if key := os.environ.get("LONGSHORE_KEY"):
    headers["authorization"] = f"Bearer {key}"
request = urllib.request.Request(f"{API}/v1/jobs?wait=30s", json.dumps(job).encode(), headers)
with urllib.request.urlopen(request, timeout=60) as response:
    answer = json.load(response)
print(answer["id"], answer["state"], answer["result"])
