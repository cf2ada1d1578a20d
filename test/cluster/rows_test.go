//go:build cluster

package cluster_test

import (
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/oidc"
	"github.com/hallmark-sh/hallmark/test/cluster"
)

// row is one case of the matrix: an image with its evidence, in an object, and what must become of it.
type row struct {
	name string
	// admitted is what the cluster and `hallmark policy test` must say; proven what verify must say of the image, and
	// the same unless the rule that decides is about more than evidence.
	admitted, proven bool
	// image makes the image and gives the reference to deploy.
	image func(*world) string
	// object makes the object that runs it; a Pod unless set.
	object func(image string) cluster.Object
	// namespace is where it runs; default "shop".
	namespace string
}

// rows of images that differ in their evidence: what verify says is what the cluster must do.
func evidenceRows() []row {
	made := func(name string, good bool, image func(*world) name.Digest) row {
		return row{name: name, admitted: good, proven: good, image: func(w *world) string { return image(w).String() }}
	}
	by := func(c oidc.Claims) func(*world) name.Digest {
		return func(w *world) name.Digest { return w.released(c) }
	}
	some := func(pick func(*world, name.Digest) statements) func(*world) name.Digest {
		return func(w *world) name.Digest {
			ref := w.push()
			w.attach(ref, w.sign(ours(), pick(w, ref)...))
			return ref
		}
	}
	return []row{
		made("complete, by digest", true, by(ours())),
		made("unsigned", false, (*world).push),
		made("signature only", false, some(func(w *world, r name.Digest) statements { return statements{w.signature(r)} })),
		made("SBOM attestation only", false, some(func(w *world, r name.Digest) statements { return statements{w.sbom(r, 3)} })),
		made("no signature", false, some(func(w *world, r name.Digest) statements { return w.full(r, ours())[1:] })),
		made("no SBOM", false, some(func(w *world, r name.Digest) statements {
			return statements{w.signature(r), w.provenance(r, ours())}
		})),
		made("no provenance", false, some(func(w *world, r name.Digest) statements { return w.full(r, ours())[:2] })),
		made("SBOM without packages", false, some(func(w *world, r name.Digest) statements {
			return statements{w.signature(r), w.sbom(r, 0), w.provenance(r, ours())}
		})),
		made("SBOM of another format", false, some(func(w *world, r name.Digest) statements {
			return statements{w.signature(r), w.statement(r, evidence.CycloneDX, []byte(`{"spdxVersion":"SPDX-2.3","packages":[{"name":"a"}]}`)), w.provenance(r, ours())}
		})),
		made("SBOM under another predicate type", false, some(func(w *world, r name.Digest) statements {
			return statements{w.signature(r), w.statement(r, "https://spdx.dev/Document", []byte(`{"spdxVersion":"SPDX-2.3"}`)), w.provenance(r, ours())}
		})),
		made("evidence of another digest", false, func(w *world) name.Digest {
			true_, ref := w.push(), w.push()
			w.attach(ref, w.sign(ours(), w.full(true_, ours())...))
			return ref
		}),
		made("provenance of another repository", false, some(func(w *world, r name.Digest) statements {
			return statements{w.signature(r), w.sbom(r, 3), w.provenance(r, localtrust.GitHubClaims("acme/other", workflow, branch, commit))}
		})),
		made("signed by another repository", false, by(localtrust.GitHubClaims("acme/other", workflow, branch, commit))),
		made("signed by another owner", false, by(localtrust.GitHubClaims("evil/app", workflow, branch, commit))),
		made("signed by another workflow", false, by(localtrust.GitHubClaims(repository, ".github/workflows/ci.yml", branch, commit))),
		made("signed on another branch", false, by(localtrust.GitHubClaims(repository, workflow, "refs/heads/evil", commit))),
		made("look-alike, longer", false, by(localtrust.GitHubClaims("acme/app-evil", workflow, branch, commit))),
		made("look-alike, before", false, by(localtrust.GitHubClaims("xacme/app", workflow, branch, commit))),
		made("signed by a person", false, func(w *world) name.Digest {
			ref := w.push()
			w.attach(ref, w.sign(oidc.Claims{Email: localtrust.Identity}, w.full(ref, ours())...))
			return ref
		}),
		made("signed under another trust root", false, func(w *world) name.Digest {
			ref := w.push()
			other := w.sigstore("stranger", time.Now)
			w.attach(ref, w.signAt(other, time.Now, ours(), w.full(ref, ours())...))
			return ref
		}),
		made("same name, by another issuer", false, (*world).releasedByOtherIssuer),
		made("foreign bundle beside ours", true, func(w *world) name.Digest {
			ref := w.released(ours())
			evil := localtrust.GitHubClaims("evil/app", workflow, branch, commit)
			w.attach(ref, w.sign(evil, w.full(ref, evil)...))
			return ref
		}),
		made("certificate long expired", true, func(w *world) name.Digest {
			ref := w.push()
			w.attach(ref, w.signAt(w.sigstore("trust", longAgo), longAgo, ours(), w.full(ref, ours())...))
			return ref
		}),
		made("index and platform both carry it, by index", true, func(w *world) name.Digest { i, _ := w.releasedIndex(true, true); return i }),
		made("index and platform both carry it, by platform", true, func(w *world) name.Digest { _, p := w.releasedIndex(true, true); return p }),
		made("only the index carries it, by index", true, func(w *world) name.Digest { i, _ := w.releasedIndex(true, false); return i }),
		made("only the index carries it, by platform", false, func(w *world) name.Digest { _, p := w.releasedIndex(true, false); return p }),
		made("only the platform carries it, by index", false, func(w *world) name.Digest { i, _ := w.releasedIndex(false, true); return i }),
	}
}

func (w *world) releasedIndex(onIndex, onPlatform bool) (index, platform name.Digest) {
	index, platform = w.pushIndex()
	if onIndex {
		w.attach(index, w.sign(ours(), w.full(index, ours())...))
	}
	if onPlatform {
		w.attach(platform, w.sign(ours(), w.full(platform, ours())...))
	}
	return index, platform
}

// placeRows are about where an image stands in an object, and what object.
func placeRows() []row {
	good := func(w *world) string { return w.released(ours()).String() }
	bad := func(w *world) string { return w.push().String() }
	nginx := func(*world) string { return "nginx:latest" }
	return []row{
		{name: "nginx:latest", image: nginx},
		{name: "another registry, by digest", image: func(*world) string { return "quay.io/acme/app@sha256:" + strings.Repeat("a", 64) }},
		{name: "complete, by tag", proven: true, image: func(w *world) string {
			ref := w.released(ours())
			if err := w.client.MoveTag(w.t.Context(), ref, "v1"); err != nil {
				w.t.Fatal(err)
			}
			return ref.Context().Tag("v1").String()
		}},
		{name: "bad init container", image: bad, object: initContainer},
		{name: "good init container", admitted: true, proven: true, image: good, object: initContainer},
		{name: "Deployment, good", admitted: true, proven: true, image: good, object: deployment},
		{name: "Deployment, bad", image: bad, object: deployment},
		{name: "Deployment, nginx:latest", image: nginx, object: deployment},
		{name: "StatefulSet, bad", image: bad, object: statefulSet},
		{name: "DaemonSet, bad", image: bad, object: daemonSet},
		{name: "ReplicaSet, bad", image: bad, object: replicaSet},
		{name: "Job, bad", image: bad, object: job},
		{name: "CronJob, good", admitted: true, proven: true, image: good, object: cronJob},
		{name: "CronJob, bad", image: bad, object: cronJob},
		{name: "exempt namespace", admitted: true, image: bad, namespace: "legacy"},
		{name: "expired exemption", image: bad, namespace: "forgotten"},
	}
}

func spec(image string) map[string]any {
	return map[string]any{"containers": []any{map[string]any{"name": "app", "image": image}}}
}

func object(version, kind string, spec map[string]any) cluster.Object {
	return cluster.Object{"apiVersion": version, "kind": kind, "metadata": map[string]any{"name": "app"}, "spec": spec}
}

func pod(image string) cluster.Object { return object("v1", "Pod", spec(image)) }

// initContainer runs the image beside one that needs no evidence, which the policy's list of other registries names.
func initContainer(image string) cluster.Object {
	s := spec(addOn)
	s["initContainers"] = []any{map[string]any{"name": "first", "image": image}}
	return object("v1", "Pod", s)
}

// addOn is an image that the policy admits without evidence.
const addOn = "registry.k8s.io/pause@sha256:7031c1b283388d2c2e09b57badb803c05ebed362dc88d84b480cc47f72a21097"

func template(image string) map[string]any {
	return map[string]any{"metadata": map[string]any{"labels": map[string]any{"app": "app"}}, "spec": spec(image)}
}

func selecting(image string) map[string]any {
	return map[string]any{"selector": map[string]any{"matchLabels": map[string]any{"app": "app"}}, "template": template(image)}
}

func deployment(image string) cluster.Object {
	return object("apps/v1", "Deployment", selecting(image))
}

func statefulSet(image string) cluster.Object {
	s := selecting(image)
	s["serviceName"] = "app"
	return object("apps/v1", "StatefulSet", s)
}

func daemonSet(image string) cluster.Object { return object("apps/v1", "DaemonSet", selecting(image)) }

func replicaSet(image string) cluster.Object {
	return object("apps/v1", "ReplicaSet", selecting(image))
}

func jobSpec(image string) map[string]any {
	t := template(image)
	t["spec"].(map[string]any)["restartPolicy"] = "Never"
	return map[string]any{"template": t}
}

func job(image string) cluster.Object { return object("batch/v1", "Job", jobSpec(image)) }

func cronJob(image string) cluster.Object {
	return object("batch/v1", "CronJob", map[string]any{"schedule": "0 0 * * *", "jobTemplate": map[string]any{"spec": jobSpec(image)}})
}
