"""Starts a service that verifies each call by the published library, the service of the page on pushing, and a longshore dev
that calls both. See run.sh.
"""

import base64
import collections
import http.server
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

from standardwebhooks import Webhook, WebhookVerificationError

PAGE = pathlib.Path(__file__).parents[2] / "docs/handlers/push.md"
JOBS = 200
TEXTS = ["plain", "Grüße", "日本語 と 😀", 'a "quoted" \\ line\nand another', "\u2028 \u007f"]


def secret():
    return "whsec_" + base64.b64encode(os.urandom(32)).decode()


OLD, NEW, STRANGE = secret(), secret(), secret()


def verifies(key, body, headers):
    try:
        Webhook(key).verify(body, headers)
        return True
    except WebhookVerificationError:
        return False


class Service(http.server.BaseHTTPRequestHandler):
    """Answers 200 where the call is right by the secret that it knows, and would not be if anything in it were changed."""

    protocol_version = "HTTP/1.1"
    known = [OLD]
    seen = collections.Counter()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        headers = dict(self.headers.items())
        names = {name.lower(): name for name in headers}

        def changed(name, value):
            return {**headers, names[name]: value}

        faults = []
        if not any(verifies(key, body, headers) for key in self.known):
            faults.append("it does not verify")
        for what, key, text, sent in [
            ("another secret", STRANGE, body, headers),
            ("a changed body", self.known[-1], body + " ", headers),
            ("another id", self.known[-1], body, changed("webhook-id", "job_0")),
            ("another time", self.known[-1], body, changed("webhook-timestamp", str(int(headers[names["webhook-timestamp"]]) - 1))),
        ]:
            if verifies(key, text, sent):
                faults.append(f"{what} is not noticed")
        Service.seen[len(headers[names["webhook-signature"]].split()), self.known == [NEW]] += 1
        answer = json.dumps(faults or json.loads(body), ensure_ascii=False).encode()
        self.send_response(400 if faults else 200)
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def request(method, url, body=None):
    data = None if body is None else json.dumps(body).encode()
    call = urllib.request.Request(url, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(call, timeout=60) as answer:
        return json.load(answer)


def until(what, seconds, happens):
    """What happens, once it does."""
    end = time.monotonic() + seconds
    while not (result := happens()):
        if time.monotonic() > end:
            sys.exit(f"not within {seconds} s: {what}")
        time.sleep(0.1)
    return result


def run(api, jobs):
    """Enqueues so many, and waits until all have succeeded at once, with their args as results."""
    args = [{"text": TEXTS[n % len(TEXTS)], "n": n} for n in range(jobs)]
    ids = request("POST", f"{api}/v1/jobs/batch", {"jobs": [{"kind": "verify", "args": one, "max_attempts": 1} for one in args]})["ids"]
    for id, one in zip(ids, args, strict=True):
        job = until(f"job {id} has ended", 30, lambda: (job := request("GET", f"{api}/v1/jobs/{id}"))["finished_at"] and job)
        if job["state"] != "succeeded" or job["result"] != one:
            sys.exit(f"job {id} of {one} is {job['state']}: {job['error']}, {job['result']}")
    return len(ids)


def page_service(folder):
    """The first block of Python in the page, on a free port."""
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.S)[1].replace('("127.0.0.1", 9000), Jobs)', '("127.0.0.1", 0), Jobs)')
    code = re.sub(r"(http\.server\.ThreadingHTTPServer\(.*\))\.serve_forever\(\)", r"it = \1; print(it.server_port, flush=True); it.serve_forever()", code)
    (folder / "service.py").write_text(code)
    process = subprocess.Popen([sys.executable, folder / "service.py"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return process, int(process.stdout.readline())


def check(folder, longshore):
    service = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Service)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    page, page_port = page_service(folder)
    keys = folder / "keys"
    keys.write_text(OLD)
    told = re.search(r"secret = \"(whsec_\w+)\"", PAGE.read_text())[1]
    (folder / "longshore.toml").write_text(f"""
[worker]
allow = "127.0.0.0/8"
[handlers.verify]
url = "http://127.0.0.1:{service.server_port}/"
secret_file = "{keys}"
[handlers.count]
url = "http://127.0.0.1:{page_port}/"
secret = "{told}"
[handlers.stranger]
url = "http://127.0.0.1:{page_port}/"
secret = "{STRANGE}"
""")
    environment = {**os.environ, "LONGSHORE_API__LISTEN": "127.0.0.1:0", "LONGSHORE_CONFIG": str(folder / "longshore.toml")}
    log = (folder / "log").open("w+")
    dev = subprocess.Popen([longshore, "dev", "--data", folder / "data"], env=environment, stdout=log, stderr=log)
    try:
        until("longshore dev is ready", 60, lambda: "is ready" in (folder / "log").read_text())
        api = "http://" + re.search(r"listening addr=(\S+)", (folder / "log").read_text())[1]
        done = run(api, JOBS)
        print(f"{done} calls verified by the old secret; with anything in them changed, none")

        keys.write_text(f"{OLD}\n{NEW}\n")
        until("calls bear two signatures", 30, lambda: run(api, 5) and Service.seen[2, False])
        Service.known = [NEW]
        done = run(api, JOBS)
        print(f"{done} calls verified by the new one, while both sign")
        keys.write_text(NEW)
        until("calls bear one signature again", 30, lambda: run(api, 5) and Service.seen[1, True])
        done = run(api, JOBS)
        print(f"{done} calls verified by the new one alone; {sum(Service.seen.values())} in all, and none was refused")

        counted = request("POST", f"{api}/v1/jobs?wait=20s", {"kind": "count", "args": "two wörds"})
        refused = request("POST", f"{api}/v1/jobs?wait=20s", {"kind": "stranger", "args": "two words", "max_attempts": 1})
        if counted["result"] != 2 or "answered 401 Unauthorized" not in (refused["error"] or ""):
            sys.exit(f"the service of the page: {counted}, {refused}")
        print("the service of docs/handlers/push.md counts, and refuses another's signature")
    except BaseException:
        print((folder / "log").read_text()[-3000:], file=sys.stderr)
        raise
    finally:
        dev.send_signal(signal.SIGTERM)
        dev.wait(60)
        page.kill()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as work:
        os.chmod(work, 0o711)  # as root, PostgreSQL runs as another user
        check(pathlib.Path(work), sys.argv[1])
