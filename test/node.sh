#!/usr/bin/env bash
# node.sh says whether this machine can be the test cluster's node: it needs root, namespaces, mounts and control groups,
# which a container or a virtual machine may not give. Exit 0 if it can, 4 with the reason if it cannot.
set -uo pipefail

cannot() {
	echo "NOT RUN: this machine cannot be a Kubernetes node: $*" >&2
	exit 4
}

((EUID == 0)) || cannot "only root can start containers"
command -v unshare >/dev/null || cannot "unshare (util-linux) is not here"

# What test/cluster/node.sh does, in a namespace that nobody sees.
said=$(unshare --mount --pid --fork bash -euc '
	mount --make-rprivate /
	mount -t proc proc /proc
	mount -t tmpfs tmpfs /run
	mkdir /run/upper /run/work
	mount -t overlay overlay -o lowerdir=/var,upperdir=/run/upper,workdir=/run/work /var
	touch /run/file
	mount --bind /run/file /proc/sys/vm/overcommit_memory' 2>&1) || cannot "$said"

[[ -e /dev/kmsg ]] || cannot "there is no /dev/kmsg, which the kubelet reads"

group=hallmark-node-check-$$
if [[ -e /sys/fs/cgroup/cgroup.controllers ]]; then
	folders=("/sys/fs/cgroup/$group")
else
	folders=()
	for controller in cpu memory pids; do folders+=("/sys/fs/cgroup/$controller/$group"); done
fi
for folder in "${folders[@]}"; do
	said=$(mkdir "$folder" 2>&1) || cannot "$said"
	rmdir "$folder"
done
