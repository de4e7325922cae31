"""Checks manifests as kustomize has built them: each object against its schema, and all of them against each other and
against the settings that Longshore knows.

usage: check.py ROOT KEDA_FOLDER NAME=FILE…     ROOT is Longshore's folder; FILE holds what was built from NAME

Prints a line a check; exits with 1 if one has failed, and says which and why.
"""

import json
import pathlib
import re
import subprocess
import sys
import tomllib

import kubernetes_validate
import yaml

HERE = pathlib.Path(__file__).parent
ROOT = pathlib.Path(sys.argv[1])
KEDA = sys.argv[2]
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
# What a stopping program takes beyond what its settings leave: constants of its code.
WORKER_LAST_REPORTS = ("worker/src/lib.rs", "LAST_REPORTS")
API_BEYOND_TIMEOUT = ("api/src/server.rs", "BEYOND_TIMEOUT")
failed = False


def check(what: str, faults: list[str]) -> None:
    global failed
    if faults:
        failed = True
        for fault in faults:
            print(f"FAILED: {what}: {fault}")
    else:
        print(f"ok: {what}")


def seconds(text: str | int) -> float:
    """`25s`, `1h30m`, 25"""
    parts = re.findall(r"([\d.]+)(ms|[smhd])", str(text))
    return sum(float(n) * UNITS[unit] for n, unit in parts) if parts else float(text)


def constant(place: tuple[str, str]) -> float:
    """Of a Duration in the code, in seconds."""
    found = re.search(rf"const {place[1]}: Duration = Duration::from_secs\((\d+)\)", (ROOT / place[0]).read_text())
    assert found, f"{place[0]} has no constant {place[1]}"
    return float(found[1])


# ------------------------------------------------------------------------------------------------------------ settings
def known_settings() -> dict[str, str]:
    """longshore.example.toml has every setting as a comment: `# key = default`, in the sections of the file."""
    known, section = {}, ""
    for line in (ROOT / "longshore.example.toml").read_text().splitlines():
        if found := re.fullmatch(r"\[(\w+)\]", line):
            section = found[1] + "."
        elif found := re.fullmatch(r"# (\w+) = (.+)", line):
            known[section + found[1]] = str(tomllib.loads(f"it = {found[2]}")["it"])
    assert len(known) > 10, "longshore.example.toml has been read wrongly"
    return known


SETTINGS = known_settings()


def variable(key: str) -> str:
    return "LONGSHORE_" + key.upper().replace(".", "__")


VARIABLES = {variable(key) for key in SETTINGS}


def flat(table: dict, prefix: str = "") -> dict[str, object]:
    found = {}
    for key, value in table.items():
        name = prefix + key
        if isinstance(value, dict) and name not in SETTINGS:
            found |= flat(value, name + ".")
        else:
            found[name] = value
    return found


# ------------------------------------------------------------------------------------------------------------- objects
class Built:
    """What one kustomization gave."""

    def __init__(self, name: str, path: str) -> None:
        self.name = name
        self.objects = [o for o in yaml.safe_load_all(pathlib.Path(path).read_text()) if o]
        self.by_name = {(o["kind"], o["metadata"]["name"]): o for o in self.objects}
        self.workloads = [o for o in self.objects if o["kind"] in ("Deployment", "Job")]

    def containers(self):
        for workload in self.workloads:
            spec = workload["spec"]["template"]["spec"]
            for container in spec["containers"] + spec.get("initContainers", []):
                yield workload, spec, container

    def settings(self, spec: dict, container: dict) -> dict[str, object]:
        """As the program in this container will see them: defaults, file, environment."""
        values: dict[str, object] = dict(SETTINGS)
        for volume in spec.get("volumes", []):
            if "configMap" in volume:
                text = self.by_name[("ConfigMap", volume["configMap"]["name"])]["data"]["longshore.toml"]
                values |= flat(tomllib.loads(text))
        environment = {e["name"]: e.get("value") for e in container.get("env", [])}
        return values | {key: environment[variable(key)] for key in SETTINGS if variable(key) in environment}


def component(workload: dict) -> str:
    return workload["metadata"]["labels"]["app.kubernetes.io/component"]


def schemas(built: Built) -> list[str]:
    faults, keda = [], []
    for item in built.objects:
        name = f"{item['kind']} {item['metadata']['name']}"
        if item["apiVersion"].startswith("keda.sh/"):
            keda.append(item)
            continue
        try:
            kubernetes_validate.validate(item, kubernetes_validate.latest_version(), strict=True)
        except kubernetes_validate.ValidationError as error:
            faults.append(f"{name}: {'/'.join(map(str, error.path))}: {error.message[:300]}")
        except kubernetes_validate.InvalidSchemaError as error:
            faults.append(f"{name}: {error}")
    if keda:
        asked = subprocess.run(["node", HERE / "keda.mjs", KEDA], input=json.dumps(keda), text=True, capture_output=True, check=False)
        if asked.returncode:
            faults += (asked.stdout or asked.stderr).strip().splitlines()
    return faults


def images(built: Built) -> list[str]:
    """Those that the Dockerfile builds, each where it belongs; the registry is everybody's own."""
    belongs = {"api": "longshore-api", "worker": "longshore-worker", "migrate": "longshore"}
    dockerfile = (ROOT / "Dockerfile").read_text()
    faults = [f"the Dockerfile builds no {image}" for image in belongs.values() if f"--tag {image} " not in dockerfile]
    for workload, _, container in built.containers():
        image, wanted = container["image"], belongs[component(workload)]
        if image.rpartition("/")[2].partition(":")[0] != wanted:
            faults.append(f"{workload['metadata']['name']} runs {image}, not {wanted}")
        if image.endswith(":latest"):
            faults.append(f"{workload['metadata']['name']} runs {image}, which may be another program tomorrow")
    return faults


def variables(built: Built) -> list[str]:
    """Known to Longshore, and what they refer to comes before them: Kubernetes leaves a $(NAME) that it meets too early."""
    faults = []
    for workload, _, container in built.containers():
        before: set[str] = set()
        for entry in container.get("env", []):
            name = entry["name"]
            if name.startswith("LONGSHORE_") and name.removesuffix("_FILE") not in VARIABLES | {"LONGSHORE_CONFIG"}:
                faults.append(f"{workload['metadata']['name']}: Longshore has no setting {name}")
            for used in re.findall(r"\$\((\w+)\)", entry.get("value") or ""):
                if used not in before:
                    faults.append(f"{workload['metadata']['name']}: {name} uses $({used}), which does not come before it")
            before.add(name)
    return faults


def files(built: Built) -> list[str]:
    faults = []
    for (kind, name), item in built.by_name.items():
        for key, text in item.get("data", {}).items() if kind == "ConfigMap" else ():
            for setting in flat(tomllib.loads(text)):
                if setting not in SETTINGS:
                    faults.append(f"{name}, {key}: Longshore has no setting {setting}")
    return faults


def mounts(built: Built) -> list[str]:
    """What a _FILE names is mounted there, from a Secret or ConfigMap that exists and has that key."""
    faults = []
    for workload, spec, container in built.containers():
        who = workload["metadata"]["name"]
        volumes = {v["name"]: v for v in spec.get("volumes", [])}
        places = {m["mountPath"]: volumes.get(m["name"]) for m in container.get("volumeMounts", [])}
        if "configMap" not in (places.get("/etc/longshore") or {}):
            faults.append(f"{who}: no ConfigMap is mounted where longshore.toml is looked for, /etc/longshore")
        for entry in container.get("env", []):
            if not entry["name"].startswith("LONGSHORE_") or not entry["name"].endswith("_FILE"):
                continue
            folder, _, key = entry["value"].rpartition("/")
            if "secret" not in (places.get(folder) or {}):
                faults.append(f"{who}: {entry['name']} names {entry['value']}, but no Secret is mounted at {folder}")
                continue
            secret = built.by_name.get(("Secret", places[folder]["secret"]["secretName"]))
            if secret is None:
                if built.name != "base":  # base leaves it to the overlay
                    faults.append(f"{who}: there is no Secret {places[folder]['secret']['secretName']}")
            elif key not in secret.get("data", {}):
                faults.append(f"{who}: the Secret {secret['metadata']['name']} has no key {key}")
    return faults


def stopping(built: Built) -> list[str]:
    """Kubernetes waits longer than a program may take to stop."""
    faults = []
    for workload, spec, container in built.containers():
        settings, who = built.settings(spec, container), workload["metadata"]["name"]
        leaves = spec.get("terminationGracePeriodSeconds", 30)
        if component(workload) == "worker":
            takes = seconds(settings["worker.grace"]) + constant(WORKER_LAST_REPORTS)
        elif component(workload) == "api":
            nap = container["lifecycle"]["preStop"]["exec"]["command"]
            takes = float(nap[1]) + seconds(settings["api.timeout"]) + constant(API_BEYOND_TIMEOUT)
        else:
            continue
        if leaves <= takes:
            faults.append(f"{who} may take {takes:g} s to stop, and is killed after {leaves} s")
    return faults


def security(built: Built) -> list[str]:
    faults = []
    dockerfile = (ROOT / "Dockerfile").read_text()
    for workload, spec, container in built.containers():
        pod, own = spec.get("securityContext", {}), container.get("securityContext", {})
        wanted = {
            "runAsNonRoot": pod.get("runAsNonRoot") is True,
            "the user of the Dockerfile": f"USER {pod.get('runAsUser')}:{pod.get('runAsGroup')}\n" in dockerfile,
            "seccompProfile RuntimeDefault": pod.get("seccompProfile") == {"type": "RuntimeDefault"},
            "readOnlyRootFilesystem": own.get("readOnlyRootFilesystem") is True,
            "no privilege escalation": own.get("allowPrivilegeEscalation") is False,
            "drop ALL": own.get("capabilities") == {"drop": ["ALL"]},
            "no token": spec.get("automountServiceAccountToken") is False,
            "a limit of memory": "memory" in container.get("resources", {}).get("limits", {}),
            # a Service longshore-api would put LONGSHORE_API_SERVICE_HOST there, which stops every program with exit code 2
            "enableServiceLinks: false": spec.get("enableServiceLinks") is False,
        }
        faults += [f"{workload['metadata']['name']} lacks: {what}" for what, has in wanted.items() if not has]
    return faults


def listening(built: Built) -> list[str]:
    """Where the API listens, its port, its probes, the Service and the policy agree."""
    faults = []
    for _, spec, container in (c for c in built.containers() if component(c[0]) == "api"):
        address, _, port = str(built.settings(spec, container)["api.listen"]).rpartition(":")
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        if address in ("127.0.0.1", "[::1]"):
            faults.append(f"the API listens on {address}, where no probe and no Service reach it")
        if ports.get("http") != int(port):
            faults.append(f"the API listens on port {port}, its container says {ports}")
        served = (ROOT / "api/src/routes/health.rs").read_text()
        for probe in ("livenessProbe", "readinessProbe"):
            asks = container[probe]["httpGet"]
            if asks["port"] != "http" or f'path = "{asks["path"]}"' not in served:
                faults.append(f"{probe} asks for {asks}, which the API does not serve")
        if "/livez" != container["livenessProbe"]["httpGet"]["path"]:
            faults.append("the liveness of the API must not depend on the database")
    return faults


def selectors(built: Built) -> list[str]:
    """Each Service, budget and policy means pods that there are; clients of the API are not asked to be Longshore."""
    faults = []
    labels = [w["spec"]["template"]["metadata"]["labels"] for w in built.workloads]
    for item in built.objects:
        spec, name = item.get("spec", {}), f"{item['kind']} {item['metadata']['name']}"
        wanted = {
            "Service": lambda: spec["selector"],
            "PodDisruptionBudget": lambda: spec["selector"]["matchLabels"],
            "NetworkPolicy": lambda: spec["podSelector"]["matchLabels"],
        }.get(item["kind"], lambda: None)()
        if wanted and not any(wanted.items() <= have.items() for have in labels):
            faults.append(f"{name} means pods with {wanted}, and there are none")
        for rule in spec.get("ingress", []) if item["kind"] == "NetworkPolicy" else ():
            for source in rule["from"]:
                if source.get("podSelector") != {"matchLabels": {"longshore-client": "true"}}:
                    faults.append(f"{name} lets in {source}, not pods with the label longshore-client")
    return faults


def liveness(built: Built) -> list[str]:
    """The worker's probe tells death from an outage of the database by a sentence, which must be the program's."""
    faults = []
    for _, _, container in (c for c in built.containers() if component(c[0]) == "worker"):
        found = re.search(r'\*"([^"]+)"\*', container["livenessProbe"]["exec"]["command"][-1])
        if not found or found[1] not in (ROOT / "worker/src/lib.rs").read_text():
            faults.append("the sentence that the liveness probe looks for is not one that the worker says")
    return faults


def scaling(built: Built) -> list[str]:
    """One master over the number of replicas, who asks for what the view has, and secrets that are there."""
    faults = []
    views = (ROOT / "common/sql/routines/07_views.sql").read_text()
    for item in (o for o in built.objects if o["kind"] == "ScaledObject"):
        target = built.by_name.get(("Deployment", item["spec"]["scaleTargetRef"]["name"]))
        if target is None:
            faults.append(f"it scales {item['spec']['scaleTargetRef']['name']}, and there is no such Deployment")
        elif "replicas" in target["spec"]:
            faults.append(f"{target['metadata']['name']} has replicas of its own, which each apply would set back to")
        for trigger in item["spec"]["triggers"]:
            view = re.search(r"from (longshore\.\w+)", trigger["metadata"]["query"])
            if not view or f"create view {view[1]} as" not in views:
                faults.append(f"there is no view in: {trigger['metadata']['query']}")
            if ("TriggerAuthentication", trigger["authenticationRef"]["name"]) not in built.by_name:
                faults.append(f"there is no TriggerAuthentication {trigger['authenticationRef']['name']}")
    for item in (o for o in built.objects if o["kind"] == "TriggerAuthentication"):
        for reference in item["spec"]["secretTargetRef"]:
            secret = built.by_name.get(("Secret", reference["name"]), {})
            if reference["key"] not in secret.get("data", {}):
                faults.append(f"there is no Secret {reference['name']} with the key {reference['key']}")
    return faults


for argument in sys.argv[3:]:
    name, _, path = argument.partition("=")
    built = Built(name, path)
    count = len(built.objects)
    check(f"{name}: {count} objects against their schemas", schemas(built) + ([] if count > 5 else ["too few objects"]))
    check(f"{name}: images", images(built))
    check(f"{name}: variables are settings, and refer to earlier ones", variables(built))
    check(f"{name}: longshore.toml has settings only", files(built))
    check(f"{name}: mounted secrets and files", mounts(built))
    check(f"{name}: grace periods are longer than stopping takes", stopping(built))
    check(f"{name}: security of pods", security(built))
    check(f"{name}: the API's port and probes", listening(built))
    check(f"{name}: selectors", selectors(built))
    check(f"{name}: the worker's liveness is not the database's", liveness(built))
    if any(o["kind"] == "ScaledObject" for o in built.objects):
        check(f"{name}: autoscaling", scaling(built))
sys.exit(failed)
