"""Enqueues texts to be counted, and checks what became of them: the same checker whoever has counted.

    history.py enqueue QUEUE JOBS TEXTS API FILE     enqueues that many, and one that names no text; FILE gets what was asked for
    history.py check QUEUE TEXTS API FILE            every job of FILE is done, rightly, once, with a history that makes sense
"""

import collections
import json
import pathlib
import string
import sys
import urllib.request

LEFT_OUT = {".git", "target", "node_modules", "build"}


def request(method, url, body=None):
    headers = {"content-type": "application/x-ndjson"} if body else {}
    with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=60) as response:
        return json.load(response)


def texts(folder):
    """The project's own pages and sources: real files, of all sizes."""
    kinds = {".md", ".rs", ".sql", ".sh", ".py", ".toml"}
    paths = (path.relative_to(folder) for path in pathlib.Path(folder).rglob("*") if path.suffix in kinds and path.is_file())
    return sorted(str(path) for path in paths if not LEFT_OUT & set(path.parts))


def counted(folder, name):
    """What is right, found in another way than the examples do it."""
    text = (pathlib.Path(folder) / name).read_bytes()
    letters = "".join(character if character in string.ascii_letters else " " for character in text.decode("latin-1"))
    words = letters.lower().split()
    top = sorted(collections.Counter(words).items(), key=lambda word: (-word[1], word[0]))[:5]
    lines = len(text.split(b"\n")) - 1
    return {"file": name, "bytes": len(text), "lines": lines, "words": len(words), "distinct": len(set(words)), "top": [list(word) for word in top]}


def enqueue(queue, jobs, folder, api, file):
    names = texts(folder)
    asked = [names[n % len(names)] for n in range(int(jobs))] + ["../../etc/passwd"]
    retry = {"backoff": "fixed", "base": 1, "jitter": 0}
    lines = [json.dumps({"kind": "count_words", "queue": queue, "args": {"file": name}, "timeout": 60, "retry": retry}) for name in asked]
    ids = request("POST", f"{api}/v1/jobs/batch", "\n".join(lines).encode())["ids"]
    pathlib.Path(file).write_text(json.dumps(dict(zip(ids, asked, strict=True))))
    print(f"      {len(names)} texts, {len(ids)} jobs")


def faults(job, right):
    """What is wrong with one job; nothing, one hopes."""
    history = job["history"]
    outcomes = [attempt["outcome"] for attempt in history]
    if right is None:
        if job["state"] != "failed" or outcomes[-1] != "discarded" or "no such text" not in (job["error"] or ""):
            yield f"it names no text, but is {job['state']} ({outcomes}, {job['error']})"
    else:
        if job["state"] != "succeeded":
            yield f"it is {job['state']}: {job['error']}"
        if job["result"] != right:
            yield f"its result is {job['result']}, but should be {right}"
        if outcomes[-1:] != ["succeeded"]:
            yield f"its last attempt is not the one that succeeded: {outcomes}"
    if set(outcomes[:-1]) - {"lost", "failed", "timed_out", "handed_back"}:
        yield f"it went on after an attempt that should have been its last: {outcomes}"
    counting = [attempt["attempt"] for attempt in history if attempt["outcome"] != "handed_back"]
    if counting != list(range(1, job["attempt"] + 1)):
        yield f"its attempts are not counted from 1 to {job['attempt']}: {counting}"
    for before, after in zip(history, history[1:]):
        if before["finished_at"] > after["started_at"]:
            yield f"attempt {after['attempt']} began at {after['started_at']}, before the one before it had ended at {before['finished_at']}"


def check(queue, folder, api, file):
    asked = {int(id): name for id, name in json.loads(pathlib.Path(file).read_text()).items()}
    right = {name: counted(folder, name) for name in set(asked.values()) if not name.startswith("..")}
    interrupted, wrong = collections.Counter(), []
    for id, name in asked.items():
        job = request("GET", f"{api}/v1/jobs/{id}")
        wrong += [f"job {id} of {name}: {fault}" for fault in faults(job, right.get(name))]
        interrupted.update(attempt["outcome"] for attempt in job["history"][:-1])
    listed, cursor = 0, ""
    while cursor is not None:
        page = request("GET", f"{api}/v1/jobs?queue={queue}&limit=1000{cursor}")
        listed += len(page["items"])
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    if listed != len(asked):
        wrong.append(f"{len(asked)} jobs were enqueued, {listed} are there")
    if not interrupted:
        wrong.append("no attempt was interrupted: nothing was killed in the middle of a job")
    if wrong:
        sys.exit("FAILED: " + "\n".join(wrong[:20]) + f"\n{len(wrong)} faults")
    print(f"      {queue}: {len(asked)} jobs, each done once and rightly; attempts that were interrupted: {dict(interrupted)}")


if __name__ == "__main__":
    {"enqueue": enqueue, "check": check}[sys.argv[1]](*sys.argv[2:])
