"""What the property-based client is told beside /openapi.json."""

import json
import re

import schemathesis

DURATION = re.compile(r"[+]?[0-9.]+(e[+]?\d+)?\s*[a-z]*", re.IGNORECASE)


@schemathesis.hook
def before_call(context, case, kwargs):
    """No request waits longer for its job than it takes to see that it waits; what is no duration is left to be refused."""
    if case.query and DURATION.fullmatch(str(case.query.get("wait"))):
        case.query["wait"] = "20ms"


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    """Jobs one a line. The document describes a line."""
    return json.dumps(value).encode()
