"""Has each operation of the OpenAPI document succeed once: `story.py URL`, in the folder of the server's config.

Prepares what they need: runs that hold deletes, a paused sync with a backlog, what is left of syncs that left the config.
Every answer must be a success, and as the document says. An operation that the document has and this story has not fails
it. What is there at its end goes into `known.json`, for the tester that follows (`hooks.py`).
"""

import json
import os
import sys
import time
from pathlib import Path

import schemathesis
from schemathesis.core import NOT_SET

DEADLINE = 60
CONFIG = Path("counterflow.yaml")
WHY = {"message": "the story of the check"}
# How many runs hold deletes: the first two are for this story.
HOLDING = 6

url = sys.argv[1]
headers = {"Authorization": f"Bearer {os.environ['COUNTERFLOW_TOKEN']}"}
document = schemathesis.openapi.from_url(f"{url}/api/v1/openapi.json", headers=headers)
succeeded = set()


def ask(operation, body=NOT_SET, **path):
    """What the operation answers, which is a success and as the document says."""
    case = document.find_operation_by_id(operation).Case(path_parameters=path, body=body, media_type="application/json")
    answer = case.call_and_validate(headers=headers, timeout=20)
    if answer.status_code // 100 != 2:
        sys.exit(f"`{operation}` of {path or 'everything'} was answered with {answer.status_code}: {answer.text}")
    succeeded.add(operation)
    is_json = answer.headers.get("content-type", [""])[0].startswith("application/json")
    return answer.json() if is_json else answer.text


def ended(run):
    """The run, once it has ended."""
    until = time.monotonic() + DEADLINE
    while not (shown := ask("run", run=run))["finished_at"]:
        if time.monotonic() > until:
            sys.exit(f"run {run} has no end after {DEADLINE} s: {shown}")
        time.sleep(0.05)
    return shown


def synced(sync):
    """A run of the sync that has ended."""
    return ended(ask("run_sync", {"message": "as prepared"}, sync=sync)["run"])["run"]


def write_rows(model, first, last):
    """Puts the rows in place of what the model had."""
    new = Path(f"{model}.new")
    new.write_text("carrier,name\n" + "".join(f"K{row},Line {row}\n" for row in range(first, last)))
    new.rename(f"{model}.csv")


def ask_everything():
    """What needs no more than that the server is there, and a sync that has run."""
    for operation in "health ready version openapi metrics syncs runs audit connections groups sources".split():
        ask(operation)
    write_rows("held", 0, 50)
    write_rows("waiting", 0, 10)
    run = synced("held")
    for operation in "run run_events rejected_of_run".split():
        ask(operation, run=run)
    for operation in "sync rejected_of_sync".split():
        ask(operation, sync="held")
    ask("connection", connection="crm")
    ask("group", group="sales")
    ask("source", source="lines")
    ended(ask("sample_sync", {"limit": 1}, sync="held")["run"])
    ask("stop_sync", {}, sync="held")
    ask("disable_source", WHY, source="nycflights")
    ask("enable_source", WHY, source="nycflights")
    ask("stop_group", WHY, group="sales")
    ask("start_group", WHY, group="sales")


def ask_as_rudderstack_clients_do():
    run = ask("wire_start", {}, connection="orders_to_crm")["syncId"]
    ended(int(run))
    ask("wire_sync", connection="orders_to_crm", sync=run)
    ask("wire_syncs", connection="orders_to_crm")
    ask("wire_stop", connection="orders_to_crm")
    return [run]


def hold_deletes():
    """Runs that hold two deletes each; what is decided of two of them."""
    runs = []
    for gone in range(1, HOLDING + 1):
        write_rows("held", 2 * gone, 50)
        runs.append(synced("held"))
    ended(ask("release_run", WHY, run=runs[0])["run"])
    ask("discard_run", WHY, run=runs[1])
    return runs[2:]


def leave_a_backlog():
    """A sync that is paused while rows wait, of which some were discarded."""
    synced("waiting")
    ask("resume_sync", WHY, sync="waiting")
    for last in (20, 30):
        ask("pause_sync", WHY, sync="waiting")
        write_rows("waiting", 0, last)
        waits = ask("backlog", sync="waiting")
        shown = {what: waits[what] for what in ("changes", "removals", "in_doubt")}
        if not shown["changes"]:
            sys.exit(f"nothing waits: {waits}")
        if last == 20:
            ask("discard_backlog", {**WHY, "shown": shown}, sync="waiting")


def leave_the_config():
    """Syncs that ran and are taken out of the config; one is forgotten."""
    text = CONFIG.read_text()
    names = [line.strip(" :") for line in text.split("# gone\n")[1].splitlines() if line.startswith("  gone_")]
    for sync in names:
        synced(sync)
    CONFIG.write_text(text.split("# gone\n")[0])
    ask("reload", {})
    ask("forget_sync", WHY, sync=names[0])
    return names[1:]


def replace_a_connection():
    synced("moved")
    ask("rebaseline_sync", WHY, sync="moved")
    ask("replace_connection", {"new": "crm_next", "syncs": ["moved"]}, connection="crm")


ask_everything()
runs = ask_as_rudderstack_clients_do()
held = hold_deletes()
leave_a_backlog()
left = leave_the_config()
replace_a_connection()
operations = {operation.ok().definition.raw["operationId"] for operation in document.get_all_operations()}
if missing := sorted(operations - succeeded):
    sys.exit(f"nothing shows that these succeed, add them to tests/openapi/story.py: {', '.join(missing)}")
Path("known.json").write_text(json.dumps({"runs": runs, "held": held, "left": left}))
print(f"{len(operations)} operations succeeded, and answered as the document says")
