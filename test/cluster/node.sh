#!/usr/bin/env bash
# node.sh DIR CONTAINERD KUBELET runs containerd and the kubelet, as the first process of a PID namespace and in a mount
# namespace of its own, which cluster.Start makes for it. Whatever they start ends with it, and whatever they mount or
# write outside DIR is seen by nobody else and is gone then.
set -euo pipefail
dir=$1 containerd=$2 kubelet=$3

mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir /run/upper /run/work /run/tunables /run/kubelet
# Paths under /var that cannot be set: /var/lib/cni, /var/lib/kubelet/device-plugins, /var/log/containers.
mount -t overlay overlay -o lowerdir=/var,upperdir=/run/upper,workdir=/run/work /var
# The kubelet and the network plugin set these; the machine keeps its own.
for tunable in kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes \
	vm/overcommit_memory vm/panic_on_oom net/ipv4/ip_forward; do
	[[ -e /proc/sys/$tunable ]] || continue
	private=/run/tunables/${tunable//\//.}
	cat "/proc/sys/$tunable" >"$private"
	mount --bind "$private" "/proc/sys/$tunable"
done

"$containerd" --config "$dir/containerd.toml" &
until ctr --address /run/containerd.sock version >/dev/null 2>&1; do
	kill -0 $! # ends here when containerd has ended
	sleep 0.05
done
ctr --address /run/containerd.sock --namespace k8s.io images import --no-unpack "$dir/pause.tar"
"$kubelet" --config "$dir/kubelet.yaml" --kubeconfig "$dir/kubelet.kubeconfig" --root-dir /run/kubelet --cert-dir /run/kubelet/pki \
	--hostname-override localhost &
# The node is whole or it is not there.
wait -n
