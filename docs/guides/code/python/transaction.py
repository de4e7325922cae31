"""Writes an order and enqueues its job in one transaction: both are there, or neither. Needs: pip install "psycopg[binary]"."""

import json
import os

import psycopg

with psycopg.connect(os.environ["DATABASE_URL"]) as connection:  # commits at the end, rolls back on an exception
    connection.execute("insert into orders (customer) values (%s)", ["Ann"])
    row = connection.execute(
        "select longshore.enqueue('greet', %s::json, queue => 'python', unique_key => %s)",
        [json.dumps({"name": "Ann"}), f"order-{os.getpid()}"],
    ).fetchone()
print(row[0])
