"""Loaded by schemathesis: puts names that exist into a half of the requests, which random names would never reach."""

import json
import os
import zlib

import schemathesis

# Path parameters that the runner has made objects for, by the parameter's name.
KNOWN = json.loads(os.environ.get("KNOWN_NAMES", "{}"))


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Replace a part of the random names, always the same part of them."""
    for name, value in (path_parameters or {}).items():
        if name in KNOWN and zlib.crc32(repr(value).encode()) % 2:
            path_parameters[name] = KNOWN[name]
    return path_parameters


@schemathesis.hook
def map_query(context, query):
    """An answer to `columns` has only the fields that it names, which no schema can say."""
    if query:
        query.pop("columns", None)
    return query
