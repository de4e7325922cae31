#!/usr/bin/env python3
"""Counts the words of texts: a worker that leases its jobs from Longshore over HTTP, on the standard library alone.

    TEXTS=../../docs python3 worker.py

It may be killed at any time, and started as often as you like, on as many machines: a job whose worker is gone comes back
when its lease ends, and is run by another.
"""

import collections
import http.client
import json
import os
import pathlib
import random
import re
import signal
import socket
import sys
import threading
import time
import urllib.parse

API = os.environ.get("LONGSHORE_API", "http://127.0.0.1:8000")
KEY = os.environ.get("LONGSHORE_KEY")  # where the API wants one: longshore keys create --name python --scope work
TEXTS = pathlib.Path(os.environ.get("TEXTS", ".")).resolve()
QUEUE = os.environ.get("QUEUE", "python")
NAME = f"{socket.gethostname()}:{os.getpid()}"
LEASE_FOR = 10  # seconds; what a killed worker holds comes back after them
AT_ONCE = 20  # jobs leased at once

stop = threading.Event()


class Stale(Exception):
    """The job is not ours any more."""


class Discard(Exception):
    """Trying again is of no use."""


class Api:
    """One connection to the API, made anew when it breaks. Not to be shared by threads."""

    def __init__(self):
        self.url = urllib.parse.urlsplit(API)
        self.connection = None

    def post(self, path, body, patience=30):
        """Sends a request until it is answered: a worker outlives restarts of the API. All that it sends may be repeated."""
        headers = {"content-type": "application/json"}
        if KEY:
            headers["authorization"] = f"Bearer {KEY}"
        pause = 0.1
        while True:
            try:
                if self.connection is None:
                    kind = http.client.HTTPSConnection if self.url.scheme == "https" else http.client.HTTPConnection
                    self.connection = kind(self.url.netloc, timeout=patience)
                self.connection.request("POST", path, json.dumps(body), headers)
                response = self.connection.getresponse()
                answer = response.read()
                if response.status < 300:
                    return json.loads(answer)
                problem = f"{response.status} {answer.decode(errors='replace')}"
                if response.status == 409:
                    raise Stale(problem)
                if response.status < 500 and response.status != 429:
                    sys.exit(f"the API refuses POST {path}: {problem}")
            except (OSError, http.client.HTTPException) as error:
                problem = error
                if self.connection is not None:
                    self.connection.close()
                    self.connection = None
            print(f"POST {path}: {problem}; trying again", file=sys.stderr, flush=True)
            stop.wait(pause * random.uniform(0.5, 1.5))
            pause = min(pause * 2, 5)


def count_words(args):
    """The job itself."""
    if not isinstance(args, dict) or not isinstance(args.get("file"), str):
        raise Discard('the args must be such as {"file": "containers.md"}')
    path = (TEXTS / args["file"]).resolve()
    if not path.is_relative_to(TEXTS) or not path.is_file():
        raise Discard(f"there is no such text: {args['file']}")
    text = path.read_bytes()
    words = collections.Counter(word.decode() for word in re.findall(rb"[a-z]+", text.lower()))
    top = sorted(words.items(), key=lambda word: (-word[1], word[0]))[:5]
    return {
        "file": args["file"],
        "bytes": len(text),
        "lines": text.count(b"\n"),
        "words": sum(words.values()),
        "distinct": len(words),
        "top": [list(word) for word in top],
    }


def run(job):
    """One job, and what is to be reported of it."""
    report = {"id": job["id"], "lease": job["lease"]}
    try:
        return report | {"outcome": "complete", "result": count_words(job["args"])}
    except Discard as error:
        return report | {"outcome": "fail", "error": str(error), "discard": True}
    except Exception as error:  # whatever a job does wrong is its own attempt's failure
        return report | {"outcome": "fail", "error": f"{type(error).__name__}: {error}"}


def keep_alive(held):
    """Extends the leases of the jobs in hand, so that long ones are not taken for dead."""
    api = Api()
    while not stop.wait(LEASE_FOR / 3):
        leases = [{"id": id, "lease": lease} for id, lease in list(held.items())]
        if leases:
            answer = api.post("/v1/leases/heartbeat", {"leases": leases, "extend": LEASE_FOR})
            for id in answer["lost"] + answer["cancelled"]:
                held.pop(id, None)


def main():
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    signal.signal(signal.SIGINT, lambda *_: stop.set())
    print(f"{NAME} counts the words of {TEXTS}, for {API}", flush=True)
    api, held = Api(), {}
    threading.Thread(target=keep_alive, args=[held], daemon=True).start()
    while not stop.is_set():
        wanted = {"queues": [QUEUE], "kinds": ["count_words"], "limit": AT_ONCE, "lease_for": LEASE_FOR, "wait": 5, "worker": NAME}
        jobs = api.post("/v1/leases", wanted)["jobs"]
        if not jobs:
            continue
        held.update((job["id"], job["lease"]) for job in jobs)
        # a job that was lost or cancelled meanwhile is not begun
        reports = [run(job) for job in jobs if job["id"] in held]
        answer = api.post("/v1/leases/report", {"reports": reports}) if reports else {"ok": [], "lost": []}
        held.clear()
        print(f"{len(answer['ok'])} jobs reported, {len(answer['lost'])} were not ours any more", flush=True)
        time.sleep(float(os.environ.get("PAUSE", "0")))  # to have time to look: PAUSE=1


if __name__ == "__main__":
    main()
