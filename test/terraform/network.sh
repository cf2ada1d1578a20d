#!/usr/bin/env bash
# network.sh [ROOT...]: what the stand-in cannot tell: init, validate and test of every root of terraform/, or of those
# given, with the real providers and modules from their registry. It runs bin/peers/terraform, or what TERRAFORM names.
#
# No account is needed or used: the tests mock the providers, and no root has its backend.
set -euo pipefail
top=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
terraform=${TERRAFORM:-$top/bin/peers/terraform}
[[ -x $terraform ]] || { echo "network.sh: $terraform is not there: make bin/peers/terraform" >&2; exit 1; }

cd "$top/terraform"
(($# > 0)) || set -- modules/* examples/*

unset AWS_PROFILE AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN
export TF_IN_AUTOMATION=1 TF_INPUT=0 CHECKPOINT_DISABLE=1 AWS_EC2_METADATA_DISABLED=true
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/plugins"
export TF_PLUGIN_CACHE_DIR=$work/plugins
# A copy: init writes beside what it reads.
cp -r . "$work/tree"
cd "$work/tree"

for root in "$@"; do
	printf '== %s\n' "$root"
	"$terraform" -chdir="$root" init -backend=false -no-color
	"$terraform" -chdir="$root" validate -no-color
	"$terraform" -chdir="$root" test -no-color
done
