#!/bin/bash
# kubernetes-validate 1.37.0: manifests within a List, kinds without a schema and quantities pass unseen, with --strict too.
#
# Expected: `kubernetes-validate --strict` ends with another code than 0 when something in a file was not validated, or says so: a List
#           (what `kubectl get -o yaml` writes) is its items, `memory: banana` is no quantity, and a kind that is misspelt is no kind.
# Seen:     each of the three ends with 0, while the same Deployment outside of the List ends with 1. For the List and for the misspelt kind
#           there is a warning that no schema was found; of the quantity it says "passed".
#
# Needs: bash, Python 3.11 or newer.
#
# Exits with an error as soon as this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --disable-pip-version-check kubernetes-validate==1.37.0 2>/dev/null
cd "$folder"
cat > wrong.yaml <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec: {replicas: two, selector: {matchLabels: {a: b}}, template: {metadata: {labels: {a: b}}, spec: {containers: [{name: a, image: a}]}}}
YAML
{ printf 'apiVersion: v1\nkind: List\nitems:\n- '; sed '2,$s/^/  /' wrong.yaml; } > list.yaml
sed -e 's/replicas: two/replicas: 2/' -e 's/image: a}/image: a, resources: {limits: {memory: banana}}}/' wrong.yaml > quantity.yaml
sed -e 's/kind: Deployment/kind: Deploymnt/' wrong.yaml > kind.yaml
validate() { venv/bin/kubernetes-validate -k 1.36 --strict "$1" > "$1.said" 2>&1; }
if validate wrong.yaml; then echo "CHANGED: replicas: two passes"; exit 1; fi
for name in list quantity kind; do
    if ! validate $name.yaml; then echo "CHANGED: $name.yaml is refused"; cat $name.yaml.said; exit 1; fi
    cat $name.yaml.said
done
grep -q "passed" quantity.yaml.said
grep -q "Couldn't find schema" kind.yaml.said
echo "as seen before: exit code 0 for a List with a wrong item, for 'memory: banana' and for a kind that is none"
