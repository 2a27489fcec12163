"""Reads a block with pyarrow and with DuckDB, which know nothing of Pando, and prints what each of them counts.

Usage: read_block.py FILE. Prints {"pyarrow": [SERIES ...], "duckdb": [SERIES ...]}, where SERIES is
{"tenant", "labels", "samples", "first_ms", "last_ms", "min", "max"}.
"""

import json
import sys

import duckdb
import pyarrow.parquet

PREFIX = "label_"


def labels_of(columns, rest):
    """The labels of a row: those with a column of their own, and those in the map."""
    labels = {name[len(PREFIX):]: value for name, value in columns.items() if value is not None}
    for name, value in rest or []:
        assert name not in labels, f"label is in the map and in a column: {name}"
        labels[name] = value
    return labels


def with_pyarrow(file):
    series = {}
    for row in pyarrow.parquet.read_table(file).to_pylist():
        columns = {name: value for name, value in row.items() if name.startswith(PREFIX)}
        labels = labels_of(columns, row["labels"])
        key = (row["tenant"], json.dumps(labels, sort_keys=True))
        one = series.setdefault(key, {
            "tenant": row["tenant"], "labels": labels, "samples": 0,
            "first_ms": row["min_time"], "last_ms": row["max_time"],
            "min": row["min"], "max": row["max"],
        })
        one["samples"] += row["count"]
        one["first_ms"] = min(one["first_ms"], row["min_time"])
        one["last_ms"] = max(one["last_ms"], row["max_time"])
        one["min"] = min(one["min"], row["min"])
        one["max"] = max(one["max"], row["max"])
    return list(series.values())


def with_duckdb(file):
    database = duckdb.connect()
    database.execute("CREATE VIEW block AS SELECT * FROM read_parquet($file)".replace(
        "$file", "'" + file.replace("'", "''") + "'"))
    described = database.execute("DESCRIBE block").fetchall()
    columns = [row[0] for row in described if row[0].startswith(PREFIX)]
    quoted = "".join(f'"{name}", ' for name in columns)
    found = database.execute(
        f"SELECT tenant, {quoted} map_entries(labels) AS rest, sum(count), min(min_time), max(max_time),"
        ' min("min"), max("max") FROM block GROUP BY ALL').fetchall()
    series = []
    for row in found:
        tenant, values, (rest, samples, first_ms, last_ms, low, high) = row[0], row[1:-6], row[-6:]
        rest = [(entry["key"], entry["value"]) for entry in rest or []]
        labels = labels_of(dict(zip(columns, values)), rest)
        series.append({"tenant": tenant, "labels": labels, "samples": int(samples),
                       "first_ms": first_ms, "last_ms": last_ms, "min": low, "max": high})
    return series


def written_out(series):
    """Numbers as text: not every JSON parser returns each double to the last bit."""
    for one in series:
        one.update({"min": repr(one["min"]), "max": repr(one["max"])})
    return series


def main():
    file = sys.argv[1]
    print(json.dumps({"pyarrow": written_out(with_pyarrow(file)), "duckdb": written_out(with_duckdb(file))}))


if __name__ == "__main__":
    main()
