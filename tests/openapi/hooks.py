"""What schemathesis asks, so that it gets beyond names that nobody has: `known.json` says what `story.py` has prepared."""

import json
import random
import re
import uuid
from pathlib import Path

import schemathesis
from schemathesis.core.parameters import ParameterLocation

known = json.loads(Path("known.json").read_text())
# Operations that no other leads to, or rarely, with what they are asked of.
PATHS = {
    # A run holds what those before it held too, so that whatever is decided of a later one ends them all.
    "discard_run": {"run": known["held"][:2]},
    "release_run": {"run": known["held"][2:]},
    "backlog": {"sync": ["waiting"]},
    "discard_backlog": {"sync": ["waiting"]},
    "rebaseline_sync": {"sync": ["moved"]},
    "sample_sync": {"sync": ["held", "moved"]},
    "stop_sync": {"sync": ["held", "moved"]},
    "forget_sync": {"sync": known["left"]},
    "wire_sync": {"sync": known["runs"]},
    "replace_connection": {"connection": ["crm", "crm_next"]},
}
chance = random.Random(1)


def is_good(case, location):
    """Whether this part of the case is one that the document allows."""
    part = case.meta.components.get(location) if case.meta else None
    return part is not None and part.mode.is_positive


@schemathesis.hook
def before_call(context, case, kwargs):
    data = getattr(case.meta.phase, "data", None) if case.meta else None
    if (getattr(data, "parameter", None) or "").lower() == "authorization":
        return
    # A key is spent by its first request, as it should be: whatever is a good one is put in place of a new one.
    key = case.headers.get("Idempotency-Key") if case.headers else None
    if isinstance(key, str) and re.fullmatch("[!-~]{1,255}", key):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    # In three of four, names that are there; else those that were made up.
    operation = case.operation.definition.raw.get("operationId")
    if operation not in PATHS or not is_good(case, ParameterLocation.PATH) or chance.random() < 0.25:
        return
    for name, values in PATHS[operation].items():
        case.path_parameters[name] = chance.choice(values)
    if operation == "replace_connection" and is_good(case, ParameterLocation.BODY):
        # One sync alone, so that the others keep what was prepared.
        case.body |= {"new": chance.choice(PATHS[operation]["connection"]), "syncs": ["moved"], "group": None}
