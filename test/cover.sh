#!/usr/bin/env bash
# cover.sh PERCENT PACKAGE... prints the coverage of each internal package by its own tests and fails under PERCENT.
set -euo pipefail

least=$1
shift
mkdir -p coverage
short=0
for package in "$@"; do
	go test -count=1 -coverprofile "coverage/$package.out" "./internal/$package" >coverage/log || { cat coverage/log >&2; exit 1; }
	total=$(go tool cover -func "coverage/$package.out" | awk '/^total:/ {sub("%", "", $3); print $3}')
	printf '%-12s %5s %% of statements\n' "$package" "$total"
	awk -v total="$total" -v least="$least" 'BEGIN {exit !(total < least)}' && short=1
done
((short == 0)) || { echo "under $least %; go tool cover -html coverage/PACKAGE.out shows the lines" >&2; exit 1; }
