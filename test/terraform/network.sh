#!/usr/bin/env bash
# network.sh runs terraform on every root with the real providers and modules, which it fetches: where there is a network. What
# make test-terraform does needs none, and knows the providers' schemas only.
set -euo pipefail
cd "$(dirname "$0")/../.."

program=$PWD/bin/peers/terraform
"$program" fmt -check -recursive terraform
for versions in terraform/modules/*/versions.tf terraform/examples/*/versions.tf; do
	root=$(dirname "$versions")
	printf '\n== %s\n' "$root"
	"$program" -chdir="$root" init -input=false -backend=false
	"$program" -chdir="$root" validate
	"$program" -chdir="$root" test
done
