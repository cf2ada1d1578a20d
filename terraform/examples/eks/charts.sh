#!/usr/bin/env bash
# charts.sh NAME=oci://REGISTRY/CHART@sha256:DIGEST ...: fetches charts by digest into archives/ and writes
# charts.auto.tfvars.json with the version and the SHA-256 of each archive. Needs helm 3.18 or later and jq.
#
#   ./charts.sh \
#     kyverno=oci://ghcr.io/kyverno/charts/kyverno@sha256:... \
#     kube_prometheus_stack=oci://ghcr.io/prometheus-community/charts/kube-prometheus-stack@sha256:... \
#     hallmark=oci://ghcr.io/hallmark-sh/charts/hallmark@sha256:...
#
# The digest of a version is printed by: helm show chart oci://REGISTRY/CHART --version VERSION. Compare it with what the
# chart's maintainers publish; from then on it cannot change unseen.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

if (($# == 0)); then
	sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
	exit 2
fi
for program in helm jq sha256sum; do
	command -v "$program" >/dev/null || { echo "charts.sh: $program is not installed" >&2; exit 1; }
done

fetched=$(mktemp -d)
trap 'rm -rf "$fetched"' EXIT
mkdir -p archives
lock='{}'
[[ ! -e charts.auto.tfvars.json ]] || lock=$(jq .charts charts.auto.tfvars.json)

for argument in "$@"; do
	name=${argument%%=*}
	reference=${argument#*=}
	if [[ ! $name =~ ^(kyverno|kube_prometheus_stack|hallmark)$ || ! $reference =~ ^oci://.+@sha256:[0-9a-f]{64}$ ]]; then
		echo "charts.sh: $argument: want kyverno, kube_prometheus_stack or hallmark, =, and oci://REGISTRY/CHART@sha256:DIGEST" >&2
		exit 2
	fi
	rm -rf "${fetched:?}/$name"
	mkdir "$fetched/$name"
	helm pull "$reference" --destination "$fetched/$name"
	archive=$(cd "$fetched/$name" && ls -- *.tgz)
	version=$(helm show chart "$fetched/$name/$archive" | sed -n 's/^version: *//p' | tr -d "\"'")
	digest=$(sha256sum "$fetched/$name/$archive" | cut -d' ' -f1)
	mv "$fetched/$name/$archive" "archives/$archive"
	lock=$(jq --arg n "$name" --arg a "archives/$archive" --arg v "$version" --arg s "$digest" \
		'.[$n] = {archive: $a, version: $v, sha256: $s}' <<<"$lock")
	echo "$name $version sha256:$digest"
done
jq '{charts: .}' <<<"$lock" >charts.auto.tfvars.json.new
mv charts.auto.tfvars.json.new charts.auto.tfvars.json
