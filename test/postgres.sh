#!/usr/bin/env bash
# postgres.sh COMMAND... runs a command beside a PostgreSQL server of its own, which flushes every commit to the disk and is
# reached through a socket only. HALLMARK_POSTGRES is the URL of an empty database, whose user may make more.
set -euo pipefail

bin=$(dirname "$(command -v postgres || printf '%s\n' /usr/lib/postgresql/*/bin/postgres | sort -V | tail -n 1)")
dir=$(mktemp -d)
as=()
if ((EUID == 0)); then # The server refuses to run as root.
	chown postgres "$dir"
	as=(setpriv --reuid=postgres --regid=postgres --clear-groups)
fi
in_dir() { (cd "$dir" && "${as[@]}" "$@"); }

finish() {
	local code=$?
	[[ ! -e $dir/data/postmaster.pid ]] || in_dir "$bin/pg_ctl" -D "$dir/data" -s -w -m fast stop
	rm -rf "$dir"
	exit "$code"
}
trap finish EXIT

in_dir "$bin/initdb" -D "$dir/data" -U hallmark -A trust -E UTF8 --no-locale >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; exit 1; }
in_dir "$bin/pg_ctl" -D "$dir/data" -s -w -t 60 -l "$dir/server.log" -o "-k $dir -c listen_addresses= -c shared_buffers=128MB" start ||
	{ cat "$dir/server.log" >&2; exit 1; }
HALLMARK_POSTGRES="postgres://hallmark@/postgres?host=$dir" "$@"
