"""Enqueues jobs over HTTP, one after the other on a few connections, until a file named `stop` appears or 80 s are over.

Writes into the folder FOLDER: `acknowledged`, a line for each job that was answered with 201: its id and its token, which
also stands in its meta (an id alone would not do: a server that has lost jobs gives their ids to others). And `answers`, a
line an answer: when it came, its status (0: none), how long it took.

usage: load.py URL FOLDER
"""

import http.client
import json
import os
import sys
import threading
import time
import urllib.parse

CONNECTIONS = 4
LONGEST = 80

address = urllib.parse.urlsplit(sys.argv[1]).netloc
folder = sys.argv[2]
end = time.monotonic() + LONGEST
lock = threading.Lock()
acknowledged = open(os.path.join(folder, "acknowledged"), "w", buffering=1)
answers = open(os.path.join(folder, "answers"), "w", buffering=1)


def enqueue(connection: http.client.HTTPConnection, token: str, number: int) -> tuple[int, int | None]:
    """Status, and the id where there is one."""
    job = {"kind": "echo", "queue": "load", "args": {"number": number}, "meta": {"token": token}}
    if number % 10 == 0:
        job |= {"kind": "sleep", "args": {"for": "1s"}}
    connection.request("POST", "/v1/jobs", json.dumps(job), {"content-type": "application/json"})
    answer = connection.getresponse()
    body = answer.read()
    return answer.status, json.loads(body)["id"] if answer.status == 201 else None


def work() -> None:
    connection = http.client.HTTPConnection(address, timeout=15)
    number = 0
    while time.monotonic() < end and not os.path.exists(os.path.join(folder, "stop")):
        number += 1
        token = f"{threading.get_ident()}-{number}"
        began = time.monotonic()
        try:
            status, job = enqueue(connection, token, number)
        except (OSError, http.client.HTTPException):
            connection.close()
            status, job = 0, None
        with lock:
            if job is not None:
                acknowledged.write(f"{job}\t{token}\n")
            answers.write(f"{time.time():.3f} {status} {time.monotonic() - began:.3f}\n")
        # 201: at a pace that leaves a small machine room; else as a client that tries again a little later
        time.sleep(0.01 if status == 201 else 0.2)


threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
