"""What the property-based client is told beside /openapi.json."""

import json
import re

import schemathesis

DURATION = re.compile(r"[+]?[0-9.]+(e[+]?\d+)?\s*[a-z]*", re.IGNORECASE)


@schemathesis.hook
def before_call(context, case, kwargs):
    """No request waits longer for jobs than it takes to see that it waits; what is no duration is left to be refused."""
    if isinstance(case.body, dict) and case.path == "/v1/leases" and DURATION.fullmatch(str(case.body.get("wait"))):
        case.body["wait"] = "20ms"
    if case.query and DURATION.fullmatch(str(case.query.get("wait"))):
        case.query["wait"] = "20ms"


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    """Jobs one a line. The document describes a line."""
    return json.dumps(value).encode()
