"""The delta of design.md §8 in DuckDB: `prepare` keeps key and 128-bit hash of each row, `delta` compares.

usage: duckdb_delta.py prepare|delta DATABASE parquet FILE
       duckdb_delta.py prepare|delta DATABASE store OBJECT HOST:PORT
       duckdb_delta.py prepare|delta DATABASE delta FOLDER

As fast as we know how to write it: two 64-bit hashes of all twelve columns make the 128 bits, rows are compared by a
full outer join on the key, and the rows to be sent come out with all their columns. Repeated keys are detected by
counting: the keys kept are distinct, so if no key comes twice, pairs and unmet keys add up to the keys kept, and the
added rows (few) are counted distinctly.
"""

import importlib
import pathlib
import sys

import duckdb

COLUMNS = (
    "customer_id, email, name, company, country, plan, is_active, signed_up, seats, mrr, score, updated_at"
)
HASHES = f"hash({COLUMNS}) AS low, hash('second', {COLUMNS}) AS high"

PREPARE = f"""
CREATE OR REPLACE TABLE known AS SELECT customer_id AS key, {HASHES} FROM ROWS_OF(?)
"""

DELTA = f"""
CREATE TEMP TABLE delta AS
WITH rows AS (SELECT {COLUMNS}, {HASHES} FROM ROWS_OF(?))
SELECT
    count(*) FILTER (WHERE known.key IS NOT NULL AND rows.customer_id IS NOT NULL) AS pairs,
    count(*) FILTER (WHERE rows.customer_id IS NULL) AS removed,
    count(*) FILTER (WHERE known.key IS NULL) AS added,
    list(rows) FILTER (
        WHERE rows.customer_id IS NOT NULL
        AND (known.low IS DISTINCT FROM rows.low OR known.high IS DISTINCT FROM rows.high)
    ) AS upserts,
    list(known.key) FILTER (WHERE rows.customer_id IS NULL) AS deletes
FROM rows FULL OUTER JOIN known ON rows.customer_id = known.key
"""

SECRET = """
CREATE SECRET (
    TYPE s3, KEY_ID 'reader', SECRET 'of the bench alone', ENDPOINT '{server}', URL_STYLE 'path', USE_SSL false
)
"""

CHECK = """
SELECT
    len(upserts) - added AS changed, added, removed,
    pairs + removed = (SELECT count(*) FROM known)
    AND len(upserts) = (SELECT count(DISTINCT u.customer_id) FROM (SELECT unnest(upserts) AS u FROM delta))
FROM delta
"""


def load(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    package = pathlib.Path(importlib.import_module(f"duckdb_extension_{name}").__file__).parent
    (extension,) = package.glob(f"extensions/*/{name}.duckdb_extension")
    connection.execute(f"LOAD '{extension}'")


def main() -> None:
    command, database, kind, place, *server = sys.argv[1:]
    connection = duckdb.connect(database, read_only=command == "delta")
    connection.execute("SET threads = 2")
    connection.execute("SET enable_progress_bar = false")
    if kind == "store":
        load(connection, "httpfs")
        connection.execute(SECRET.format(server=server[0]))
    if kind == "delta":
        load(connection, "delta")
    function = "delta_scan" if kind == "delta" else "read_parquet"
    if command == "prepare":
        connection.execute(PREPARE.replace("ROWS_OF", function), [place])
        return
    connection.execute(DELTA.replace("ROWS_OF", function), [place])
    changed, added, removed, is_distinct = connection.execute(CHECK).fetchone()
    if not is_distinct:
        sys.exit("a key is repeated")
    print(f'{{"changed": {changed}, "added": {added}, "removed": {removed}}}')


main()
