"""Compares what deploy/ asks Prometheus for with what the programs tell. See run.sh."""

import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

LONGSHORE, DEPLOY = sys.argv[1], pathlib.Path(sys.argv[2])
NAME = re.compile(r"\blongshore_[a-z_]+\b")


def promtool(*args, text=None):
    done = subprocess.run(["promtool", *args], input=text, text=True, capture_output=True)
    # 3: it is well formed, and there is advice on style
    return done.returncode, (done.stdout + done.stderr).strip()


def fetch(address, path):
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        return answer.read().decode()


def queries():
    """Everything that the dashboard asks for, with where it stands."""
    dashboard = json.loads((DEPLOY / "grafana/longshore.json").read_text())
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(ids) == len(set(ids)), "two panels have one id"
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield panel["title"], target["expr"].replace("$queue", ".*")


def wait_for(lines, text, within=60):
    until = time.monotonic() + within
    while time.monotonic() < until:
        for line in pathlib.Path(lines).read_text().splitlines():
            if text in line:
                return line
        time.sleep(0.1)
    sys.exit(f"longshore dev did not say {text!r}:\n{pathlib.Path(lines).read_text()}")


def main():
    faults = []
    told = set()
    with tempfile.TemporaryDirectory() as folder:
        log = f"{folder}/log"
        env = {
            **os.environ,
            "LONGSHORE_API__LISTEN": "127.0.0.1:0",
            "LONGSHORE_WORKER__LISTEN": "127.0.0.1:0",
            "LONGSHORE_WORKER__QUEUES": "*=5",
        }
        os.chmod(folder, 0o755)
        with open(log, "w") as out:
            dev = subprocess.Popen([LONGSHORE, "dev", "--data", f"{folder}/data"], cwd=folder, env=env, stdout=out, stderr=out, start_new_session=True)
        try:
            wait_for(log, "ready for work")
            said = pathlib.Path(log).read_text()
            found = re.findall(r"listening.*?addr=(\S+)(.*)", said)
            worker = next(address for address, rest in found if "/metrics" in rest)
            api = next(address for address, rest in found if "/metrics" not in rest)
            for kind, args, attempts in [("echo", "{}", 1), ("fail", '{"times": 1}', 3), ("nobody", "{}", 1)]:
                job = json.dumps({"kind": kind, "args": json.loads(args), "max_attempts": attempts}).encode()
                request = urllib.request.Request(f"http://{api}/v1/jobs", job, {"content-type": "application/json"})
                urllib.request.urlopen(request, timeout=10).read()
            until = time.monotonic() + 30
            while True:
                texts = {"API": fetch(api, "/metrics"), "worker": fetch(worker, "/metrics")}
                if 'outcome="failed"' in texts["worker"] and "jobs_without_handler{" in texts["API"] and "longshore_wait_seconds{" in texts["API"]:
                    break
                if time.monotonic() > until:
                    faults.append("what was done is not told")
                    break
                time.sleep(0.3)
            for program, text in texts.items():
                told |= set(re.findall(r"^(longshore_[a-z_]+)", text, re.MULTILINE))
                code, said = promtool("check", "metrics", text=text)
                if code != 0:
                    faults.append(f"promtool says of the {program}'s metrics: {said}")
        finally:
            dev.send_signal(signal.SIGTERM)
            if dev.wait(60) != 0:
                faults.append("longshore dev did not stop cleanly")

        asked = list(queries())
        rules = {"groups": [{"name": "dashboard", "rules": [{"record": f"q{n}", "expr": expr} for n, (_, expr) in enumerate(asked)]}]}
        file = pathlib.Path(folder) / "dashboard.yml"  # JSON is YAML
        file.write_text(json.dumps(rules))
        code, said = promtool("check", "rules", str(file))
        if code != 0:
            faults.append(f"promtool says of the dashboard's queries: {said}")
    asked += [("alerts.yml", expr) for expr in re.findall(r"^\s+expr: (?:\|\n)?((?:.|\n)*?)(?=^\s+(?:for|labels):)", (DEPLOY / "prometheus/alerts.yml").read_text(), re.MULTILINE)]
    for where, expr in asked:
        for name in NAME.findall(expr):
            if name not in told:
                faults.append(f"{where} asks for {name}, which nobody tells")
    if faults:
        sys.exit("\n".join(faults))
    print(f"{len(asked)} queries ask for what is told; {len(told)} names are well formed")


main()
