#!/usr/bin/env bash
# install.sh PROGRAM=PACKAGE... installs the Debian package of each program (or file, by its path) that is not there, and
# says so.
set -euo pipefail

packages=()
for want in "$@"; do
	[[ -e ${want%%=*} ]] || PATH="$PATH:/usr/sbin:/sbin" command -v "${want%%=*}" >/dev/null || packages+=("${want#*=}")
done
((${#packages[@]})) || exit 0

if ! command -v apt-get >/dev/null; then
	echo "needed and not here: ${packages[*]} (their names in Debian); install them and run make again" >&2
	exit 1
fi
root=()
((EUID == 0)) || root=(sudo)
echo "installing ${packages[*]} with apt-get"
export DEBIAN_FRONTEND=noninteractive
# The package lists are fetched only when they are missing or too old to find the packages.
"${root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null ||
	{ "${root[@]}" apt-get update -qq && "${root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; }
