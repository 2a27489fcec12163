"""Renders the chart with the real Helm engine, once per size, and validates every object.

Usage: check_chart.py CHART_DIR. Exits with 1 and names what is wrong.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import yaml
from helm_python.chart import Chart

SECRET = {"objectStore": {"existingSecret": "bucket"}}
SIZES = {
    "single": {},
    "ha": SECRET,
    "distributed": SECRET,
}
# What each size has to contain: (kind, name) of its workloads and budgets.
ROLES = ["agent", "receiver", "ingester", "store-gateway", "query-frontend", "compactor", "controller"]
STATEFUL = {"agent", "ingester", "controller", "all"}


def values_of(chart_dir, size):
    values = yaml.safe_load((chart_dir / f"values-{size}.yaml").read_text())
    values.update(SIZES[size])
    return values


def render(chart, values):
    rendered = chart.render(values, name="test", namespace="metrics")
    objects = []
    for path, text in rendered.items():
        if path.endswith(".yaml"):
            objects += [o for o in yaml.safe_load_all(text) if isinstance(o, dict)]
    return objects


def check_objects(size, objects):
    found = {(o["kind"], o["metadata"]["name"]) for o in objects}
    components = ["all"] if size != "distributed" else ROLES
    for component in components:
        kind = "StatefulSet" if component in STATEFUL else "Deployment"
        assert (kind, f"test-pando-{component}") in found, f"{size}: no {kind} of {component}"
    budgets = {name for kind, name in found if kind == "PodDisruptionBudget"}
    if size != "single":
        replicated = "all" if size == "ha" else "ingester"
        assert f"test-pando-{replicated}" in budgets, f"{size}: no budget for {replicated}"
    for o in objects:
        if o["kind"] not in ("StatefulSet", "Deployment"):
            continue
        name, pod = o["metadata"]["name"], o["spec"]["template"]["spec"]
        container = pod["containers"][0]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert probe in container, f"{size}: {name} has no {probe}"
        assert pod["securityContext"]["runAsNonRoot"], f"{size}: {name} runs as root"
        if name.endswith(("-controller", "-ingester", "-all")):
            assert o["spec"].get("volumeClaimTemplates"), f"{size}: {name} has no volume"
            assert "podAntiAffinity" in pod["affinity"], f"{size}: {name} has no anti-affinity"
    config = next(o for o in objects if o["kind"] == "ConfigMap")
    jobs = yaml.safe_load(config["data"]["prometheus.yml"])["scrape_configs"]
    assert jobs[0]["dns_sd_configs"], f"{size}: Pando does not watch itself"
    return [a for o in objects if o["kind"] in ("StatefulSet", "Deployment")
            for a in [o["spec"]["template"]["spec"]["containers"][0]["args"]]]


def validate(objects):
    validator = pathlib.Path(sys.executable).parent / "kubernetes-validate"
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "objects.yaml"
        path.write_text(yaml.safe_dump_all(objects))
        subprocess.run([str(validator), "--strict", "--quiet", "--no-warn", str(path)], check=True)


def main():
    chart_dir = pathlib.Path(sys.argv[1])
    chart = Chart.load(str(chart_dir))
    commands = []
    for size in SIZES:
        objects = render(chart, values_of(chart_dir, size))
        commands += check_objects(size, objects)
        validate(objects)
    for wrong in ({"size": "huge"}, {"sise": "single"}, {"controller": {"replicas": 2}}):
        try:
            chart.validate_schema({**yaml.safe_load((chart_dir / "values.yaml").read_text()), **wrong})
        except Exception:
            continue
        raise AssertionError(f"values.schema.json accepts {wrong}")
    try:
        render(chart, {"size": "ha"})
    except Exception as error:
        assert "objectStore" in str(error), error
    else:
        raise AssertionError("ha renders without a store")
    # The command lines, for a test that gives them to the real binary.
    print(json.dumps(commands))


if __name__ == "__main__":
    main()
