#!/usr/bin/env bash
# packages.sh TAG prints the packages with tests under the build tag TAG, where it is the first the file asks for.
set -euo pipefail

grep -rlE --include='*_test.go' "^//go:build $1\b" cmd internal test bench |
	xargs -r -n1 dirname | sort -u | sed 's#^#./#'
