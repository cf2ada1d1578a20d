#!/usr/bin/env bash
# fuzz.sh DURATION runs every fuzz target of the module for that long. The first that fails ends it.
set -euo pipefail

found=0
while IFS=: read -r file target; do
	found=$((found + 1))
	echo "fuzzing $target in ${file%/*} for $1"
	go test -run '^$' -fuzz "^${target}\$" -fuzztime "$1" -fuzzminimizetime 1x "./${file%/*}"
done < <(grep -roP --include='*_test.go' '^func \KFuzz\w+' internal cmd | sort)
echo "$found fuzz targets, each $1: nothing found"
((found))
