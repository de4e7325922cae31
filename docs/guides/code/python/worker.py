"""A worker that leases its jobs over HTTP, on the standard library alone. Start as many of it as you like."""

import json
import os
import signal
import socket
import threading
import time
import urllib.error
import urllib.request

API = os.environ.get("LONGSHORE_API", "http://127.0.0.1:8000")
NAME = f"{socket.gethostname()}:{os.getpid()}"
LEASE_FOR = 5  # seconds: what a killed worker held comes back after them

stop = threading.Event()


def greet(args):
    """The job itself: what it returns is the result, an exception fails this attempt."""
    time.sleep(args.get("seconds", 0))
    return f"Good morning, {args['name']}"


HANDLERS = {"greet": greet}


def call(path, body):
    headers = {"content-type": "application/json"}
    if key := os.environ.get("LONGSHORE_KEY"):
        headers["authorization"] = f"Bearer {key}"
    request = urllib.request.Request(API + path, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as response:
        return json.load(response)


def keep(job, done):
    """Extends the lease three times as often as it would end, until the job is done or not ours any more."""
    while not done.wait(LEASE_FOR / 3):
        try:
            answer = call("/v1/leases/heartbeat", {"leases": [{"id": job["id"], "lease": job["lease"]}], "extend": LEASE_FOR})
        except OSError as error:
            print(f"heartbeat: {error}", flush=True)
            continue
        if answer["lost"] or answer["cancelled"]:
            return  # a handler that can stop half-way should be told here


def report(job, outcome, body):
    """All that is reported may be sent again: after an outage the same outcome is accepted once more."""
    while True:
        try:
            call(f"/v1/jobs/{job['id']}/{outcome}", {"lease": job["lease"], **body})
            print(f"job {job['id']}: {outcome}", flush=True)
            return
        except urllib.error.HTTPError as error:
            if error.code == 409:
                print(f"job {job['id']} is not ours any more: {error.read().decode()}", flush=True)
                return
            if error.code < 500 and error.code != 429:
                raise
        except OSError as error:
            print(f"report: {error}", flush=True)
        time.sleep(1)


def run(job):
    done = threading.Event()
    heartbeats = threading.Thread(target=keep, args=[job, done], daemon=True)
    heartbeats.start()
    try:
        outcome, body = "complete", {"result": HANDLERS[job["kind"]](job["args"])}
    except Exception as error:  # whatever a job does wrong is its own attempt's failure
        outcome, body = "fail", {"error": f"{type(error).__name__}: {error}"}
    done.set()
    report(job, outcome, body)


def main():
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())  # the job in hand is finished, and no other begun
    while not stop.is_set():
        wanted = {"queues": ["python"], "kinds": list(HANDLERS), "limit": 1, "lease_for": LEASE_FOR, "wait": 5, "worker": NAME}
        try:
            jobs = call("/v1/leases", wanted)["jobs"]
        except OSError as error:  # the API is away: it will be back
            print(f"lease: {error}", flush=True)
            stop.wait(1)
            continue
        for job in jobs:
            run(job)


main()
