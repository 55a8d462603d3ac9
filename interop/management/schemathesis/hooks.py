"""Loaded by schemathesis: puts names that exist into a part of the requests, which random names would never reach."""

import json
import os
import zlib

import schemathesis

# The user that the requests log in as; its rights, limits and password stay.
CALLER = os.environ.get("CALLER", "guest")
NOBODY = "nobody"
# Path parameters that the runner has made objects for, by the parameter's name.
KNOWN = json.loads(os.environ.get("KNOWN_NAMES", "{}"))


@schemathesis.hook
def before_call(context, case, kwargs):
    """Replace half of the names, always the same half, and leave out what no schema can describe."""
    for name, value in (case.path_parameters or {}).items():
        if name in KNOWN and zlib.crc32(repr(value).encode()) % 2:
            case.path_parameters[name] = KNOWN[name]
        if case.path_parameters[name] == CALLER and case.method != "GET":
            case.path_parameters[name] = NOBODY
    if isinstance(case.body, dict) and isinstance(case.body.get("users"), list):
        case.body["users"] = [user for user in case.body["users"] if user != CALLER]
    # An answer to `columns` has only the fields that it names.
    if case.query:
        case.query.pop("columns", None)
