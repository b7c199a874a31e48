"""The rows of a PostgreSQL table by what one would take otherwise.

usage: postgres_read.py prepare|duckdb|psycopg PORT DATABASE

`psycopg` reads all rows by a cursor of the server, 10,000 at a time, and says how many; nothing is compared. `prepare` has
DuckDB keep key and 128-bit hash of each row in DATABASE, and `duckdb` compares with it as duckdb_delta.py does, and says
how many rows differ.
"""

import pathlib
import sys

COLUMNS = (
    "customer_id, email, name, company, country, plan, is_active, signed_up, seats, mrr, score, updated_at"
)
HASHES = f"hash({COLUMNS}) AS low, hash('second', {COLUMNS}) AS high"
ROWS = f"SELECT {COLUMNS}, {HASHES} FROM pg.public.customers"

DELTA = f"""
WITH rows AS ({ROWS})
SELECT len(list(rows) FILTER (WHERE known.low IS DISTINCT FROM rows.low OR known.high IS DISTINCT FROM rows.high))
FROM rows FULL OUTER JOIN known ON rows.customer_id = known.key
"""


def of_psycopg(address: str) -> int:
    import psycopg

    read = 0
    with psycopg.connect(address) as connection, connection.cursor("rows", binary=True) as cursor:
        cursor.itersize = 10_000
        cursor.execute(f"SELECT {COLUMNS} FROM customers")
        for _ in cursor:
            read += 1
    return read


def of_duckdb(command: str, address: str, database: str) -> int:
    import duckdb
    import duckdb_extension_postgres_scanner

    connection = duckdb.connect(database)
    connection.execute("SET threads = 2")
    connection.execute("SET enable_progress_bar = false")
    package = pathlib.Path(duckdb_extension_postgres_scanner.__file__).parent
    (extension,) = package.glob("extensions/*/postgres_scanner.duckdb_extension")
    connection.execute(f"LOAD '{extension}'")
    connection.execute(f"ATTACH '{address}' AS pg (TYPE postgres, READ_ONLY)")
    if command == "prepare":
        connection.execute(f"CREATE OR REPLACE TABLE known AS SELECT customer_id AS key, low, high FROM ({ROWS})")
        return 0
    return connection.execute(DELTA).fetchone()[0]


def main() -> None:
    command, port, database = sys.argv[1:]
    address = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"
    if command == "psycopg":
        print(of_psycopg(address))
    else:
        print(of_duckdb(command, address, database))


main()
