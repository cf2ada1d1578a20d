#!/usr/bin/env bash
# pin.sh says whether the commit of the action that the workflows use holds the action as it is here: whoever changes the
# action has to move the pin after merging (docs/releasing.md). A change that is not merged yet is told and does not fail.
set -euo pipefail
cd "$(dirname "$0")/.."

mapfile -t pins < <(grep -oh 'hallmark-sh/hallmark@[0-9a-f]*' .github/workflows/*.yml | cut -d @ -f 2 | sort -u)
((${#pins[@]} == 1)) || { echo "the workflows use the action of ${#pins[@]} commits: ${pins[*]}" >&2; exit 1; }
pin=${pins[0]}
if ! git cat-file -e "$pin^{commit}" 2>/dev/null; then
	echo "the action's commit $pin is not in this clone: NOT CHECKED (a shallow clone has no history)"
	exit 0
fi
git merge-base --is-ancestor "$pin" HEAD || { echo "the action's commit $pin is not in the history of this one" >&2; exit 1; }
if git diff --quiet "$pin" -- action.yml action; then
	echo "the workflows use the action as it is here, by commit $pin"
else
	echo "the action differs from its commit $pin: after merging, set the new commit in .github/workflows"
fi
