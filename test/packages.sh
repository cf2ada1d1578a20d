#!/usr/bin/env bash
# packages.sh TAG prints the packages that have tests only under the build tag TAG.
set -euo pipefail

grep -rlE --include='*_test.go' "^//go:build .*\b$1\b" cmd internal test bench |
	xargs -r -n1 dirname | sort -u | sed 's#^#./#'
