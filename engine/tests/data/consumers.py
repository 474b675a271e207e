"""Reads what `quorumbench export` wrote with the tools it is for. Fails where one of them does not understand it."""

import csv
import glob
import json
import os
import subprocess
import sys
import tomllib

import jsonschema
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader
from prometheus_client.parser import text_string_to_metric_families

folder = sys.argv[1]
points = [json.loads(line) for line in open(f"{folder}/points.jsonl")]


def stored(point, metric):
    return HdrHistogram.decode(point["histograms"][metric])


# The log: every histogram of every point, to the last count.
reader = HistogramLogReader(f"{folder}/latency.hlog", HdrHistogram(1, 3_600_000_000_000, 3))
read = []
while (histogram := reader.get_next_interval_histogram()) is not None:
    read.append(histogram)
assert len(read) == 3 * len(points), (len(read), len(points))
for point in points:
    response = stored(point, "response")
    tag = f"protocol={point['axes']['protocol']}/response"
    counts = [histogram.get_total_count() for histogram in read if histogram.get_tag() == tag]
    assert response.get_total_count() in counts, (tag, counts)

# Percentiles: the other implementation counts as many values up to each row's in the same histogram.
for point in points:
    name = f"{folder}/percentiles/protocol={point['axes']['protocol']}-{point['repetition']}.hgrm"
    rows = [line.split() for line in open(name) if line.strip() and line[0] != "#"][1:]
    histogram = stored(point, "response")
    steps = [(step.value_iterated_to, step.count_added_in_this_iter_step) for step in histogram.get_recorded_iterator()]
    for value, _, total, *_ in rows:
        theirs = sum(count for upto, count in steps if upto <= float(value) * 1000 + 0.5)
        assert int(total) == theirs, (name, value, total, theirs)
    assert int(rows[-1][2]) == histogram.get_total_count()

# Prometheus: its own parser.
families = {family.name: family for family in text_string_to_metric_families(open(f"{folder}/metrics.prom").read())}
samples = families["quorumbench_p99_seconds"].samples
assert len(samples) == len(points)
wanted = sorted(point["response_ns"]["p99"] / 1e9 for point in points)
got = sorted(sample.value for sample in samples)
assert all(abs(a - b) < 1e-12 for a, b in zip(wanted, got)), (wanted, got)

# Comma-separated values: Python's own reader.
rows = list(csv.DictReader(open(f"{folder}/run.csv")))
for point in points:
    key = (point["axes"]["protocol"], str(point["repetition"]), "p99")
    row = next(row for row in rows if (row["protocol"], row["repetition"], row["metric"]) == key)
    assert float(row["value"]) == point["response_ns"]["p99"]

# Otava: imports the history, and finds the step that is in it, at the commit that made it.
with open(f"{folder}/otava.yaml", "w") as config:
    config.write(
        f"""tests:
  history:
    type: csv
    file: {folder}/history.csv
    time_column: time
    attributes: [commit]
    metrics:
      p50:
        column: "protocol=raft p50"
        direction: -1
"""
    )
said = subprocess.run(
    ["otava", "analyze", "history", "--since", "2020-01-01"],
    env={**os.environ, "OTAVA_CONFIG": f"{folder}/otava.yaml"},
    capture_output=True,
    text=True,
)
assert said.returncode == 0, said.stderr
lines = said.stdout.splitlines()
commit = next(index for index, line in enumerate(lines) if "c6" in line)
assert any("%" in line for line in lines[commit - 3 : commit]), said.stdout
assert sum("%" in line for line in lines) == 1, said.stdout

# The schemas: every bundled config is what one of them allows, and every line what another says; and not just anything is.
tree = f"{os.path.dirname(os.path.abspath(__file__))}/../../.."


def validator(name):
    schema = json.load(open(f"{tree}/schemas/{name}.json"))
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


configs = glob.glob(f"{tree}/bench-configs/*.toml")
assert len(configs) > 20
for name in configs:
    validator("config").validate(tomllib.load(open(name, "rb")))
for wrong in ['name = "x"\nclustre = {}', 'name = "x"\nrun = { warmup = 5 }', 'name = "x"\ncluster = { protocol = "raff" }']:
    assert not validator("config").is_valid(tomllib.loads(wrong)), wrong
for point in points:
    validator("point").validate(point)
    del point["axes"]["protocol"], point["cost"]
    assert not validator("point").is_valid(point)
print("all of them understood it")
