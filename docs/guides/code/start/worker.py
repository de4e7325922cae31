import json, os, urllib.request

API = os.environ.get("LONGSHORE_API", "http://127.0.0.1:8000")


def greet(args):  # the job: what it returns is the result, an exception fails this attempt
    return f"Good morning, {args['name']}"


def call(path, body):
    request = urllib.request.Request(API + path, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


while True:
    # waits up to 20 s, and gets a job as soon as there is one
    for job in call("/v1/leases", {"kinds": ["greet"], "limit": 1, "wait": "20s", "worker": "my-first"})["jobs"]:
        try:
            outcome, body = "complete", {"result": greet(job["args"])}
        except Exception as error:
            outcome, body = "fail", {"error": repr(error)}
        print(f"job {job['id']}, attempt {job['attempt']}: {outcome} {body}", flush=True)
        call(f"/v1/jobs/{job['id']}/{outcome}", {"lease": job["lease"], **body})
