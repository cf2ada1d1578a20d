#!/usr/bin/env bash
# questions.sh HALLMARK: every question of the memory, over images that hallmark release made, by the command line and by curl,
# with the time each took. The images come in by name, by a registry's notification and by a sweep; an unsigned one is refused.
# It ends with 1 when an answer is not what it must be.
set -euo pipefail

bin=$(cd "$(dirname "$1")" && pwd)
PATH=$bin:$PATH
work=$(mktemp -d)
started=()
end() {
	((${#started[@]} == 0)) || kill "${started[@]}" 2>/dev/null || true
	wait
	rm -rf "$work"
}
trap end EXIT
fail() {
	echo "questions: $*" >&2
	exit 1
}
until_answers() { # URL
	for _ in $(seq 300); do
		curl -sf -o "$work/nothing" "$1" && return
		read -rt 0.1 <> <(:) || true
	done
	fail "$1 does not answer"
}

# A registry and a private Sigstore, and a repository with two commits, each of them released.
export HOME=$work GIT_CONFIG_NOSYSTEM=1 GOCACHE GOPATH
registry=127.0.0.1:$((20000 + RANDOM % 12000))
mkdir "$work/app" && cd "$work/app"
git init --quiet --initial-branch=main .
git config user.name me && git config user.email me@example.test
git remote add origin https://github.com/acme/app
cat >hallmark.yaml <<YAML
version: 1
image: $registry/acme/app
build:
  go: {package: .}
trust: {root: local}
YAML
printf 'module example.test/app\n\ngo 1.25.0\n' >go.mod
printf 'package main\n\nfunc main() { println("hello") }\n' >main.go
printf '/.hallmark/\n' >.gitignore
cat >"$work/first.json" <<'JSON'
{"id": "GO-2024-2887", "modified": "2024-06-04T00:00:00Z", "aliases": ["CVE-2024-24790"],
 "affected": [{"package": {"name": "stdlib", "ecosystem": "Go"},
   "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "1.21.11"}, {"introduced": "1.22.0-0"}, {"fixed": "1.22.4"}]}]}]}
JSON
# Made for this test: there is no such vulnerability.
cat >"$work/new.json" <<'JSON'
{"id": "GO-2030-0001", "modified": "2030-01-01T00:00:00Z", "aliases": ["CVE-2030-0001"], "summary": "made for a test",
 "severity": [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}],
 "affected": [{"package": {"name": "golang.org/x/text", "ecosystem": "Go"},
   "ranges": [{"type": "SEMVER", "events": [{"introduced": "0"}, {"fixed": "0.99.0"}]}]}]}
JSON
hallmark advisories build --osv "$work/first.json" --out "$work/advisories" >"$work/log"
hallmark local serve --listen "$registry" >"$work/local.log" 2>&1 &
started+=($!)
until_answers "http://$registry/v2/"
release() {
	git add --all && git commit --quiet --message "$1"
	hallmark release --advisories "$work/advisories" --json >"$work/release.json" || fail "the release ends with $?"
	jq -r .digest "$work/release.json"
}
first=$(release 'Say hello')
printf 'package main\n\nimport "golang.org/x/text/language"\n\nfunc main() { println(language.English.String()) }\n' >main.go
go get golang.org/x/text@v0.42.0 2>"$work/log" || fail "go get: $(cat "$work/log")"
second=$(release 'Say it in English')

# The memory, and what comes in.
: >"$work/serve.log" # It is read before the service may have opened it.
hallmark serve --db "$work/memory.db" --listen 127.0.0.1:0 --log json 2>"$work/serve.log" &
started+=($!)
for _ in $(seq 300); do
	server=$(sed -n 's/.*"address":"\([^"]*\)".*/\1/p' "$work/serve.log")
	[[ -z $server ]] || break
	read -rt 0.1 <> <(:) || true
done
until_answers "$server/readyz"
export HALLMARK_SERVER=$server

echo "| question | by | ms | says |"
echo "|---|---|--:|---|"
row() { # QUESTION BY NANOSECONDS SAYS
	# shellcheck disable=SC2016 # Markdown's backquotes
	printf '| %s | %s | %d.%d | `%s` |\n' "$1" "$2" $(($3 / 1000000)) $(($3 / 100000 % 10)) "${4//|/\\|}"
}
# cli QUESTION STATUS JQ WORDS...: asks by the command line.
cli() {
	local question=$1 want=$2 test=$3 from status=0
	shift 3
	from=$(date +%s%N)
	hallmark "$@" --json >"$work/answer.json" 2>"$work/log" || status=$?
	from=$(($(date +%s%N) - from))
	((status == want)) || fail "hallmark $* ends with $status: $(cat "$work/log")"
	[[ $test == - ]] || jq -e "$test" "$work/answer.json" >"$work/nothing" || fail "hallmark $*: not $test: $(cat "$work/answer.json")"
	row "$question" "hallmark $1" "$from" "$test"
}
# web QUESTION JQ PATH WORDS...: asks by curl.
web() {
	local question=$1 test=$2 path=$3 took
	shift 3
	took=$(curl -sS --fail-with-body -o "$work/answer.json" -w '%{time_total}' "$@" "$server$path") || fail "$path: $(cat "$work/answer.json")"
	jq -e "$test" "$work/answer.json" >"$work/nothing" || fail "$path: not $test: $(cat "$work/answer.json")"
	row "$question" curl "$(awk -v s="$took" 'BEGIN { printf "%d", s * 1e9 }')" "$test"
}
get() { web "$1" "$2" "$3" -G "${@:4}"; }

cli 'in, by name' 0 '.results[0] | .result == "stored" and .verified' ingest "$registry/acme/app@$first"
web 'in, by a notification' '.results[0] | .result == "stored" and .verified' /v1/notifications/distribution \
	-H 'Content-Type: application/vnd.docker.distribution.events.v2+json' \
	--data "{\"events\":[{\"action\":\"push\",\"target\":{\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\"$second\",\"repository\":\"acme/app\"},\"request\":{\"host\":\"$registry\"}}]}"
cli 'in, by a sweep' 0 '[.results[] | select(.result == "unchanged")] | length == 2' ingest --sweep "$registry/acme/app"

# An image that nobody signed.
printf '{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}' >"$work/config"
config=sha256:$(sha256sum "$work/config" | cut -d' ' -f1)
at=$(curl -sS -D - -o "$work/nothing" -X POST "http://$registry/v2/acme/app/blobs/uploads/" | tr -d '\r' | sed -n 's/^[Ll]ocation: //p')
[[ $at == http* ]] || at=http://$registry$at
mark='?'
[[ $at != *\?* ]] || mark='&'
curl -sSf -X PUT -H 'Content-Type: application/octet-stream' --data-binary "@$work/config" "$at${mark}digest=$config"
printf '{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"%s","size":%d},"layers":[]}' \
	"$config" "$(wc -c <"$work/config")" >"$work/manifest"
curl -sSf -X PUT -H 'Content-Type: application/vnd.oci.image.manifest.v1+json' --data-binary "@$work/manifest" "http://$registry/v2/acme/app/manifests/unsigned"
cli 'in, unsigned: refused' 3 '.results[0] | .result == "refused" and .reason != ""' ingest "$registry/acme/app:unsigned"
get 'refused, and why' '.refusals[0] | .code != "" and .reason != ""' /v1/refusals

before=$(date -u +%Y-%m-%dT%H:%M:%S.%NZ)
cli 'advisories in' 0 '.rows == 1' advisories import --osv "$work/first.json" --source first --server "$server"
from=$(date +%s%N)
cli 'a new advisory in' 0 '.added == 1' advisories import --osv "$work/new.json" --source new --server "$server"
cli 'which are hit' 0 '.total == 1 and .images[0].hits[0].severity == "critical"' affected CVE-2030-0001
row 'new advisory until answered, both processes' both $(($(date +%s%N) - from)) 'total == 1'
grep -q 'newly affected' "$work/serve.log" || fail "the log tells of nothing newly affected: $(tail -3 "$work/serve.log")"
get 'which are hit' '.total == 1 and (.images[0].digest == "'"$second"'")' /v1/affected/GO-2030-0001
get 'which are hit, of what is exploited' '.total == 0' /v1/affected/CVE-2030-0001 -d kev=true
# Before the import the advisory was not known, which is not the same as no image.
cli 'which were hit before' 1 - affected CVE-2030-0001 --as-of "$before"
grep -q 'no such advisory' "$work/log" || fail "affected --as-of before the import says: $(cat "$work/log")"
get 'what was newly affected' '.batches | length > 0' /v1/events
cli 'who has' 0 '.total == 1' who-has golang.org/x/text
get 'who has' '.total == 2' /v1/who-has --data-urlencode package=stdlib -d limit=1
cursor=$(jq -r .next "$work/answer.json")
get 'who has, the next page' '(.images | length) == 1 and .next == null' /v1/who-has --data-urlencode package=stdlib -d limit=1 -d "cursor=$cursor"
cli 'who had, before anything came in' 0 '.total == 0' who-has golang.org/x/text --as-of 2020-01-01
cli 'an image' 0 '.verified and (.packages | length) > 1' image "$second"
get 'an image' '.verified and .commit != ""' /v1/image -d "ref=$second"
get 'an image, as of before the advisory' '(.findings | length) == 0' /v1/image -d "ref=$second" --data-urlencode "as-of=$before"
cli 'what changed' 0 '(.findingsAdded | length) == 1' diff "$first" "$second" --server "$server"
get 'what changed' '[.added[].name] == ["text"] and (.findingsAdded | length) == 1' /v1/diff -d "a=$first" -d "b=$second"
cli licences 0 '.undeclared >= 0' licences
get licences '.undeclared >= 0' /v1/licences
for kind in images packages oldest; do
	cli "top $kind" 0 '.total > 0' top $kind
	get "top $kind" '.total > 0' /v1/top -d kind=$kind
done
cli 'why it is hit' 0 '.affected and (.steps | length) > 0' explain CVE-2030-0001 pkg:golang/golang.org/x/text@v0.42.0
get 'why it is not' '.affected == false' /v1/explain -d id=CVE-2030-0001 --data-urlencode purl=pkg:golang/golang.org/x/text@v0.99.0
get 'how fresh it is' '.index.images == 2' /v1/status
cli 'a backup' 0 '.bytes > 0' db backup --db "$work/memory.db" "$work/backup.db"
cli 'the same of the backup' 0 '.total == 1' affected CVE-2030-0001 --db "$work/backup.db"
