"""Runs the programs of docs/guides/code against a `longshore dev`, all languages at the same time. See run.sh.

    verify.py PATH-OF-LONGSHORE FOLDER-OF-NODE-MODULES
"""

import concurrent.futures
import glob
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

LONGSHORE, MODULES = sys.argv[1], pathlib.Path(sys.argv[2])
CODE = pathlib.Path(__file__).parents[2] / "docs/guides/code"
WORK = pathlib.Path(tempfile.mkdtemp(prefix="longshore-guides-"))
WORK.chmod(0o711)  # as root, PostgreSQL runs as another user
ALWAYS = ["python", "typescript", "shell"]  # must be there
URLS = {}  # of the API and the database, when they are known


def run(command, **more):
    """What a program prints; where it fails, its own words."""
    done = subprocess.run(command, text=True, capture_output=True, timeout=120, **more)
    assert done.returncode == 0, f"{command}: exit code {done.returncode}\n{done.stdout}{done.stderr}"
    return done.stdout.strip()


# ------------------------------------------------------------------------------- how each language is built and started


def python():
    return {name: [sys.executable, CODE / f"python/{name}.py"] for name in ("enqueue", "transaction", "worker")}


def typescript():
    build = WORK / "typescript"
    shutil.copytree(CODE / "typescript", build)
    (build / "node_modules").symlink_to(MODULES / "node_modules")
    run([MODULES / "node_modules/.bin/tsc", "--project", build])
    return {name: ["node", build / f"build/{name}.js"] for name in ("enqueue", "transaction", "worker")}


def shell():
    return {name: [CODE / f"shell/{name}.sh"] for name in ("enqueue", "transaction", "worker")}


def ruby():
    return {name: ["ruby", CODE / f"ruby/{name}.rb"] for name in ("enqueue", "transaction", "worker")}


def php():
    return {name: ["php", CODE / f"php/{name}.php"] for name in ("enqueue", "transaction", "worker")}


def go():
    # the driver is Debian's, in the old layout
    environment = os.environ | {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(WORK / "go-cache"), "GOFLAGS": ""}
    for name in ("enqueue", "transaction", "worker"):
        assert not (untidy := run(["gofmt", "-l", CODE / f"go/{name}.go"])), f"gofmt would change {untidy}"
        run(["go", "build", "-o", WORK / f"go-{name}", CODE / f"go/{name}.go"], env=environment)
    return {name: [WORK / f"go-{name}"] for name in ("enqueue", "transaction", "worker")}


def java():
    jars = ":".join(["/usr/share/java/gson.jar", "/usr/share/java/postgresql.jar"])
    return {name: ["java", "-cp", jars, CODE / f"java/{name.capitalize()}.java"] for name in ("enqueue", "transaction", "worker")}


# what has to be there for each
NEEDS = {
    "python": lambda: True,
    "typescript": lambda: shutil.which("node"),
    "shell": lambda: shutil.which("jq") and shutil.which("psql"),
    "ruby": lambda: shutil.which("ruby") and subprocess.run(["ruby", "-e", "require 'pg'"], capture_output=True).returncode == 0,
    "php": lambda: shutil.which("php") and "pdo_pgsql" in run(["php", "-m"]) and "pcntl" in run(["php", "-m"]),
    "go": lambda: shutil.which("go") and glob.glob("/usr/share/gocode/src/github.com/lib/pq/*.go"),
    "java": lambda: shutil.which("javac") and all(map(os.path.exists, ["/usr/share/java/gson.jar", "/usr/share/java/postgresql.jar"])),
}
DATABASE_URL = {
    "php": "pgsql:host=127.0.0.1;port={port};dbname=longshore;user=postgres",
    "java": "jdbc:postgresql://127.0.0.1:{port}/longshore?user=postgres&sslmode=disable",
}
STOPPED = {"java": 143}  # what a JVM says when it was told to end

# ------------------------------------------------------------------------------------------------------------ Longshore


def call(method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(URLS["api"] + path, data, {"content-type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


def eventually(what, condition, within=30):
    until = time.monotonic() + within
    while not (seen := condition()):
        assert time.monotonic() < until, f"not in time: {what}"
        time.sleep(0.1)
    return seen


def enqueue(language, args, **more):
    return call("POST", "/v1/jobs", {"kind": "greet", "queue": language, "args": args, **more})["id"]


def finished(id, state="succeeded", within=45):
    job = eventually(f"job {id} has finished", lambda: (j := call("GET", f"/v1/jobs/{id}")) and j["finished_at"] and j, within)
    assert job["state"] == state, job
    return job


def running(id):
    eventually(f"job {id} runs", lambda: call("GET", f"/v1/jobs/{id}")["state"] == "running")


def forward(target):
    """A port that leads to PostgreSQL's socket, which some drivers cannot use."""
    server = socket.create_server(("127.0.0.1", 0))

    def pump(source, sink):
        try:
            while data := source.recv(65536):
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def accept():
        while True:
            near, _ = server.accept()
            far = socket.socket(socket.AF_UNIX)
            far.connect(target)
            for ends in ((near, far), (far, near)):
                threading.Thread(target=pump, args=ends, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return server.getsockname()[1]


# ------------------------------------------------------------------------------------------------------------ the checks


def check(language):
    programs = globals()[language]()
    url = DATABASE_URL.get(language, "postgres://postgres@127.0.0.1:{port}/longshore?sslmode=disable").format(port=URLS["port"])
    environment = os.environ | {"LONGSHORE_API": URLS["api"], "DATABASE_URL": url, "PYTHONUNBUFFERED": "1"}
    log = WORK / f"{language}.log"
    worker = subprocess.Popen(programs["worker"], env=environment, stdout=log.open("w"), stderr=subprocess.STDOUT, start_new_session=True)
    try:
        said = run(programs["enqueue"], env=environment)
        assert re.fullmatch(r"\d+ succeeded Good morning, Ann", said), said

        ordered = int(run(programs["transaction"], env=environment))
        assert finished(ordered)["result"] == "Good morning, Ann"

        failed = finished(enqueue(language, {"nam": "Ann"}, max_attempts=1), "failed")
        assert "name" in failed["error"], failed["error"]

        # longer than its lease: it is kept by heartbeats
        assert finished(enqueue(language, {"name": "Bob", "seconds": 7}))["attempt"] == 1

        # frozen until the lease is over: the late report is refused, the worker goes on, and runs it again
        lost = enqueue(language, {"name": "Cid", "seconds": 3})
        running(lost)
        os.killpg(worker.pid, signal.SIGSTOP)
        try:
            eventually(f"job {lost} was lost", lambda: call("GET", f"/v1/jobs/{lost}")["state"] != "running")
        finally:
            os.killpg(worker.pid, signal.SIGCONT)
        assert [attempt["outcome"] for attempt in finished(lost)["history"]] == ["lost", "succeeded"]
        assert f"job {lost} is not ours any more" in log.read_text()

        # told to stop, it finishes what it has
        last = enqueue(language, {"name": "Dan", "seconds": 2})
        running(last)
        worker.terminate()
        assert worker.wait(15) == STOPPED.get(language, 0)
        job = call("GET", f"/v1/jobs/{last}")
        assert (job["state"], job["attempt"]) == ("succeeded", 1), job
    except BaseException:
        print(f"--- {language}'s worker said:\n{log.read_text()}", file=sys.stderr)
        raise
    finally:
        if worker.poll() is None:
            os.killpg(worker.pid, signal.SIGKILL)
            worker.wait()
    return f"{language}: enqueued over HTTP and in a transaction; ran, failed, kept, lost and stopped"


def first_steps():
    """What docs/start.md tells: a job with a slip of the pen fails, is changed, and succeeds."""
    environment = os.environ | {"LONGSHORE_API": URLS["api"]}
    slip = call("POST", "/v1/jobs", {"kind": "greet", "args": {"nam": "Bob"}})["id"]
    because = [reason["reason"] for reason in call("GET", f"/v1/jobs/{slip}/explain")["because"]]
    assert because == ["no_handler"], because
    worker = subprocess.Popen([sys.executable, CODE / "start/worker.py"], env=environment, stdout=subprocess.DEVNULL)
    try:
        eventually("it fails twice", lambda: call("GET", f"/v1/jobs/{slip}")["attempt"] >= 2)
        eventually("it waits", lambda: call("GET", f"/v1/jobs/{slip}")["state"] == "retryable")
        call("PATCH", f"/v1/jobs/{slip}", {"args": {"name": "Bob"}})
        call("POST", f"/v1/jobs/{slip}/retry")
        job = finished(slip)
        assert (job["result"], job["worker"]) == ("Good morning, Bob", "my-first"), job
    finally:
        worker.kill()
        worker.wait()
    return "first steps: failed, changed, retried, succeeded"


def main():
    wanted = os.environ.get("LANGUAGES", "").split() or list(NEEDS)
    there = [language for language in wanted if NEEDS[language]()]
    missing = [language for language in wanted if language not in there]
    assert not set(missing) & set(ALWAYS), f"missing: {missing}"

    log = WORK / "log"
    environment = os.environ | {"LONGSHORE_API__LISTEN": "127.0.0.1:0"}
    server = subprocess.Popen([LONGSHORE, "dev", "--data", WORK / "data"], env=environment, stdout=log.open("w"), stderr=subprocess.STDOUT)
    try:
        eventually("longshore dev is ready", lambda: server.poll() is not None or "is ready" in log.read_text(), 60)
        assert server.poll() is None, log.read_text()
        URLS["api"] = "http://" + re.search(r"listening addr=(\S+)", log.read_text())[1]
        URLS["port"] = forward(str(WORK / "data/socket/.s.PGSQL.5432"))
        database = f"postgres://postgres@127.0.0.1:{URLS['port']}/longshore?sslmode=disable"
        run(["psql", database, "-qc", "create table orders (id bigint generated always as identity, customer text)"])

        with concurrent.futures.ThreadPoolExecutor(len(there) + 1) as pool:
            checks = [pool.submit(first_steps), *(pool.submit(check, language) for language in there)]
            for one in concurrent.futures.as_completed(checks):
                print(one.result(), flush=True)

        said = run(["psql", database, "-qAtf", CODE / "sql/transaction.sql"])
        finished(int(said))
        orders = int(run(["psql", database, "-Atc", "select count(*) from orders"]))
        assert orders == len(there) + 1, f"{orders} orders"
        assert not (wrong := run(["psql", database, "-Atc", "select * from longshore.violations"])), wrong
        if missing:
            print(f"left out, since it or its driver is not here: {', '.join(missing)}")
    except BaseException:
        print(f"--- longshore dev said:\n{log.read_text()[-2000:]}", file=sys.stderr)
        raise
    finally:
        server.terminate()
        server.wait(30)
        shutil.rmtree(WORK, ignore_errors=True)


main()
