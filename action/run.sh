#!/usr/bin/env bash
# Runs one command of the action. Everything from outside comes in through the environment and is quoted: no value becomes
# code, except BUILD_COMMAND, which is the caller's code and is run by the command build only.
set -euo pipefail

fail() {
	echo "::error title=hallmark::$1"
	exit 1
}

output() { printf '%s=%s\n' "$1" "$2" >>"$GITHUB_OUTPUT"; }

# Lets git read the commit, from the one server, with the job's token and nothing else's.
with_token() {
	export GIT_CONFIG_COUNT=1
	export GIT_CONFIG_KEY_0=credential.$GITHUB_SERVER_URL.helper
	# shellcheck disable=SC2016 # git runs this, and the token must not stand in it
	export GIT_CONFIG_VALUE_0='!f() { echo username=x-access-token; echo "password=$GITHUB_TOKEN"; }; f'
}

# Another registry's login, in a docker configuration of this job's own.
login() {
	[[ -n ${REGISTRY_USERNAME:-} && -n ${REGISTRY_PASSWORD:-} ]] || return 0
	[[ -n ${REGISTRY:-} ]] || fail "registry-username and registry-password need registry"
	DOCKER_CONFIG=$(mktemp -d "$RUNNER_TEMP/hallmark-login-XXXXXXXX")
	export DOCKER_CONFIG
	local auth
	auth=$(printf '%s:%s' "$REGISTRY_USERNAME" "$REGISTRY_PASSWORD" | base64 --wrap=0)
	REGISTRY_AUTH=$auth jq --null-input '{auths: {(env.REGISTRY): {auth: env.REGISTRY_AUTH}}}' >"$DOCKER_CONFIG/config.json"
	trap 'rm -rf "$DOCKER_CONFIG"' EXIT
}

build() {
	local out
	out=$(mktemp -d "$RUNNER_TEMP/hallmark-layout-XXXXXXXX")
	if [[ -n $BUILD_COMMAND ]]; then
		(cd "$DIRECTORY" && bash -euo pipefail -c "$BUILD_COMMAND")
	fi
	hallmark build "$DIRECTORY" --out "$out"
	output layout "$out"
}

# The second job's release, or with --check as much of it as a pull request may see. A refusal has documents too, and they
# say why.
release() {
	with_token
	login
	local code=0
	documents=$(mktemp -d "$RUNNER_TEMP/hallmark-documents-XXXXXXXX")
	hallmark release "$DIRECTORY" --layout "$LAYOUT" --digest "$DIGEST" --from "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY@$GITHUB_SHA" \
		--out "$documents" --values-out "$documents/values.yaml" "$@" || code=$?
	if [[ -s $documents/scan.sarif ]]; then
		output documents "$documents"
		output sarif "$documents/scan.sarif"
	fi
	return "$code"
}

# Compares with the base also what the gate refuses; the gate's answer goes first.
check() {
	local code=0 compared=0
	release --check || code=$?
	[[ -s $documents/scan.json ]] || return "$code"
	hallmark diff "$BASE" "$documents" --dir "$DIRECTORY" --from "$GITHUB_SERVER_URL/$GITHUB_REPOSITORY@$GITHUB_SHA" \
		--comment "$PULL_REQUEST" || compared=$?
	return $((code ? code : compared))
}

case "$COMMAND" in
build) build ;;
release) release ;;
check) check ;;
*) fail "command is install, build, release or check, and not '${COMMAND//[^a-z]/}'" ;;
esac
