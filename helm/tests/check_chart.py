"""Renders the chart with the real Helm engine, once per size, and validates every object.

Usage: check_chart.py CHART_DIR. Prints, for a test that runs the processes of a size, what their pods are given:
{SIZE: {"config": TEXT of prometheus.yml, "pods": [{"name", "host", "role", "args", "files": {MOUNT: KIND}}]}}.
Exits with 1 and names what is wrong.
"""

import json
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml
from helm_python.chart import Chart

NAMESPACE = "metrics"
INTERVAL = "15s"
BUCKET = {"type": "S3", "config": {"bucket": "metrics", "endpoint": "s3:9000"}}
# Each size with its own values file and, where it needs a store, one of the two ways to give it.
SIZES = {
    "single": {},
    "ha": {"objectStore": {"existingSecret": "bucket"}},
    "distributed": {"objectStore": {"config": BUCKET}, "config": {"global": {"evaluation_interval": INTERVAL}}},
}
STATEFUL = ["agent", "ingester", "controller"]
STATELESS = ["receiver", "store-gateway", "query-frontend", "compactor"]
# What is lost with its disk, and must not share a node with its like.
KEEPERS = ["all", "ingester", "controller"]
# Values that have to be refused, on top of the defaults.
WRONG = [
    {"size": "huge"},
    {"sise": "single"},
    {"controller": {"replicas": 2}},
    {"ingester": {"replicas": 0}},
    {"replicationFactor": 2},
    {"size": "distributed", "ingester": {"replicas": 2}},
    {"retention": {"time": "soon"}},
    {"ingester": {"persistence": {"size": "huge"}}},
    {"image": {"repository": ""}},
]
RIGHT = [
    {"size": "distributed", "ingester": {"replicas": 1}, "replicationFactor": 1},
    {"size": "distributed", "ingester": {"replicas": 5}},
    {"size": "ha", "ingester": {"replicas": 1}},
]


def values_of(chart_dir, size):
    values = yaml.safe_load((chart_dir / f"values-{size}.yaml").read_text())
    values.update(SIZES[size])
    return values


def render(chart, values):
    rendered = chart.render(values, name="test", namespace=NAMESPACE)
    objects = []
    for path, text in rendered.items():
        if path.endswith(".yaml"):
            objects += [o for o in yaml.safe_load_all(text) if isinstance(o, dict)]
    return objects


def of_kind(objects, *kinds):
    return {o["metadata"]["name"]: o for o in objects if o["kind"] in kinds}


def pod_of(workload):
    return workload["spec"]["template"]["spec"]


def check_workloads(size, objects):
    workloads = of_kind(objects, "StatefulSet", "Deployment")
    components = ["all"] if size != "distributed" else STATEFUL + STATELESS
    assert set(workloads) == {f"test-pando-{c}" for c in components}, f"{size}: {sorted(workloads)}"
    for component in components:
        workload = workloads[f"test-pando-{component}"]
        stateful = component in STATEFUL + ["all"]
        assert workload["kind"] == ("StatefulSet" if stateful else "Deployment"), component
        pod, container = pod_of(workload), pod_of(workload)["containers"][0]
        for probe, path in [("startupProbe", "healthy"), ("readinessProbe", "ready"), ("livenessProbe", "healthy")]:
            assert container[probe]["httpGet"] == {"path": f"/-/{path}", "port": "http"}, f"{component}: {probe}"
        assert pod["securityContext"]["runAsNonRoot"], f"{component} runs as root"
        assert container["securityContext"]["readOnlyRootFilesystem"], component
        assert pod["serviceAccountName"] == "test-pando", component
        rules = pod["affinity"]["podAntiAffinity"]
        kind = "required" if component in KEEPERS else "preferred"
        assert f"{kind}DuringSchedulingIgnoredDuringExecution" in rules, f"{component}: {rules}"
        claims = workload["spec"].get("volumeClaimTemplates", [])
        assert [c["metadata"]["name"] for c in claims] == (["data"] if stateful else []), component
        named = {v["name"] for v in pod["volumes"] or []} | {c["metadata"]["name"] for c in claims}
        mounted = {m["name"] for m in container["volumeMounts"]}
        assert mounted <= named, f"{component}: mounted={mounted} volumes={named}"
    return workloads


def check_budgets(size, objects, workloads):
    """One budget for each workload that has replicas, for its pods and no others."""
    budgets = of_kind(objects, "PodDisruptionBudget")
    replicated = {name for name, w in workloads.items() if w["spec"]["replicas"] > 1}
    assert set(budgets) == replicated, f"{size}: budgets={sorted(budgets)} replicated={sorted(replicated)}"
    for name, budget in budgets.items():
        assert budget["spec"]["maxUnavailable"] == 1, name
        assert budget["spec"]["selector"] == workloads[name]["spec"]["selector"], name
    expected = {"single": 0, "ha": 1, "distributed": 6}[size]
    assert len(budgets) == expected, f"{size}: {sorted(budgets)}"


def check_access(size, objects):
    assert set(of_kind(objects, "ServiceAccount")) == {"test-pando"}, size
    (role,) = of_kind(objects, "Role").values()
    assert not role["rules"], f"{size}: Pando asks nothing of Kubernetes yet: {role['rules']}"
    (binding,) = of_kind(objects, "RoleBinding").values()
    assert binding["roleRef"]["name"] == role["metadata"]["name"], binding
    subject = {"kind": "ServiceAccount", "name": "test-pando", "namespace": NAMESPACE}
    assert binding["subjects"] == [subject], binding
    secrets = of_kind(objects, "Secret")
    inline = "config" in SIZES[size].get("objectStore", {})
    assert set(secrets) == ({"test-pando-objstore"} if inline else set()), f"{size}: {sorted(secrets)}"
    for secret in secrets.values():
        assert yaml.safe_load(secret["stringData"]["objstore.yml"]) == BUCKET, secret
    return {"single": None, "ha": "bucket", "distributed": "test-pando-objstore"}[size]


def check_services(size, objects, workloads):
    services = of_kind(objects, "Service")
    pods = {name: w["spec"]["template"]["metadata"]["labels"] for name, w in workloads.items()}
    for name, service in services.items():
        selector = service["spec"]["selector"].items()
        chosen = [pod for pod, labels in pods.items() if selector <= labels.items()]
        assert len(chosen) == 1, f"{size}: {name} selects {chosen}"
    for name, workload in workloads.items():
        assert services[name]["spec"]["clusterIP"] == "None", name
        assert workload["spec"].get("serviceName", name) == name, name
    for name in ["test-pando"] + (["test-pando-write"] if size == "distributed" else []):
        assert name in services, f"{size}: no service {name}"
    return services


def check_config(size, objects, services):
    """Pando watches itself: every workload is found by DNS."""
    (config,) = of_kind(objects, "ConfigMap").values()
    text = config["data"]["prometheus.yml"]
    job = yaml.safe_load(text)["scrape_configs"][0]
    names = set(job["dns_sd_configs"][0]["names"])
    headless = {n for n, s in services.items() if s["spec"].get("clusterIP") == "None"}
    assert names == {f"{name}.{NAMESPACE}.svc" for name in headless}, f"{size}: {sorted(names)}"
    return text


def check_query_flags(size, chart, values, workloads):
    """Frontends without a prometheus.yml of their own are told what it says of subqueries, where it does."""
    if size != "distributed":
        return
    flag = "--query.default-evaluation-interval="
    told = {name: [a for a in pod_of(w)["containers"][0]["args"] if flag in a] for name, w in workloads.items()}
    expected = {name: [flag + INTERVAL] if name == "test-pando-query-frontend" else [] for name in workloads}
    assert told == expected, told
    for silent in ({"scrape_configs": []}, {"global": None}, {"global": {"evaluation_interval": ""}}):
        assert flag not in json.dumps(render(chart, {**values, "config": silent})), silent


def environment(workload, number, index):
    """The variables of a pod, as a kubelet fills them in."""
    name = f"{workload['metadata']['name']}-{index}"
    fields = {
        "metadata.name": name,
        "status.podIP": f"10.0.{number}.{index + 1}",
        "metadata.labels['topology.kubernetes.io/zone']": f"zone-{index}",
    }
    known = {}
    for variable in pod_of(workload)["containers"][0]["env"]:
        source = variable.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        known[variable["name"]] = expand(variable["value"], known) if source is None else fields[source]
    return name, known


def expand(text, known):
    return re.sub(r"\$\(([A-Z_]+)\)", lambda found: known[found.group(1)], text)


def pods_of(workload, number, secret):
    container = pod_of(workload)["containers"][0]
    volumes = {v["name"]: v for v in pod_of(workload)["volumes"] or []}
    files = {}
    for mount in container["volumeMounts"]:
        volume = volumes.get(mount["name"], {})
        if "secret" in volume:
            assert volume["secret"]["secretName"] == secret, volume
        kind = "config" if "configMap" in volume else "objstore" if "secret" in volume else "data"
        files[mount["mountPath"]] = kind
    for index in range(workload["spec"]["replicas"]):
        name, known = environment(workload, number, index)
        role, *args = [expand(arg, known) for arg in container["args"]]
        yield {"name": name, "host": known["POD_ADDRESS"], "role": role, "args": args, "files": files}


def validate(objects):
    validator = pathlib.Path(sys.executable).parent / "kubernetes-validate"
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "objects.yaml"
        path.write_text(yaml.safe_dump_all(objects))
        subprocess.run([str(validator), "--strict", "--quiet", "--no-warn", str(path)], check=True)


def is_accepted(chart, values):
    try:
        chart.validate_schema(chart.merge_values(values))
    except Exception:
        return False
    return True


def check_schema(chart):
    for wrong in WRONG:
        assert not is_accepted(chart, wrong), f"values.schema.json accepts {wrong}"
    for right in RIGHT:
        assert is_accepted(chart, right), f"values.schema.json refuses {right}"
    for size in ("ha", "distributed"):
        try:
            render(chart, {"size": size})
        except Exception as error:
            assert "objectStore" in str(error), error
        else:
            raise AssertionError(f"{size} renders without a store")


def main():
    chart_dir = pathlib.Path(sys.argv[1])
    chart = Chart.load(str(chart_dir))
    check_schema(chart)
    sizes = {}
    for size in SIZES:
        values = values_of(chart_dir, size)
        assert is_accepted(chart, values), f"values.schema.json refuses values-{size}.yaml"
        objects = render(chart, values)
        workloads = check_workloads(size, objects)
        check_budgets(size, objects, workloads)
        secret = check_access(size, objects)
        services = check_services(size, objects, workloads)
        check_query_flags(size, chart, values, workloads)
        config = check_config(size, objects, services)
        validate(objects)
        pods = [pod for number, workload in enumerate(workloads.values())
                for pod in pods_of(workload, number, secret)]
        sizes[size] = {"config": config, "pods": pods}
    print(json.dumps(sizes))


if __name__ == "__main__":
    main()
