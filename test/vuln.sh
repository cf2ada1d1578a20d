#!/usr/bin/env bash
# vuln.sh DATABASE looks for known vulnerabilities in the code hallmark calls, but for those that vuln-accepted excuses.
# Exit codes: 0 none, 3 some, 4 not looked: an unreachable database is never an all-clear.
set -euo pipefail

database=$1
accepted=$(dirname "$0")/vuln-accepted
if [[ $database == http* ]] && ! curl -fsS --max-time 20 -o /dev/null "$database/index/db.json"; then
	echo "govulncheck has NOT RUN: $database cannot be reached; VULNDB=file:///path names a copy of it" >&2
	exit 4
fi

code=0
report=$(bin/tools/govulncheck -db "$database" ./...) || code=$?
printf '%s\n' "$report"
((code == 0 || code == 3)) || exit "$code"

mapfile -t found < <(sed -n 's/^Vulnerability #[0-9]*: //p' <<<"$report")
if ((code == 3 && ${#found[@]} == 0)); then
	echo "govulncheck found something and this script did not find it in the report" >&2
	exit 3
fi
today=$(date -u +%F)
left=0
for id in "${found[@]}"; do
	if read -r _ until reason < <(grep "^$id " "$accepted") && [[ $today < $until ]]; then
		echo "$id is accepted until $until: $reason"
	else
		echo "$id is not accepted in $accepted" >&2
		left=3
	fi
done
exit "$left"
