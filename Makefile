# Everything hallmark's people and its CI do, by name. `make` lists it.
#
# Every target installs what it needs: Go modules by themselves, Debian packages through test/install.sh, which says what
# it installs. Nothing is written outside this folder but Go's caches and ~/.cache/hallmark-test (the Debian test image).

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS   += --no-builtin-rules
.DEFAULT_GOAL := help

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  := -s -w -X github.com/hallmark-sh/hallmark/internal/cli.version=$(VERSION)
FUZZTIME ?= 10s
ROUNDS   ?= 7
VULNDB   ?= https://vuln.go.dev
BENCHDOCS ?= docs/benchmarks.md

# The same flags for what ships and for what is tested: one build cache, and the tests run the code that ships. Version
# control stamping is off because the version comes from git above, and because it fails in a clone owned by another user.
export CGO_ENABLED := 0
export GOFLAGS     := -trimpath -buildvcs=false
# Where the tests find the peers' programs.
export HALLMARK_PEERS := $(CURDIR)/bin/peers

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

## Building

.PHONY: build
build: ## build bin/hallmark, stripped, and state its size
	@go build -ldflags '$(LDFLAGS)' -o bin/hallmark ./cmd/hallmark
	@stat -c 'bin/hallmark $(VERSION): %s bytes' bin/hallmark
	@(( $$(stat -c %s bin/hallmark) < 120000000 )) || { echo 'bin/hallmark is over the 120 MB it promises' >&2; exit 1; }

.PHONY: demo
demo: build install-git ## the whole chain on this machine: no account, no daemon, no internet
	@bin/hallmark demo

.PHONY: clean
clean: ## remove what was built here; Go's caches and the Debian test image stay
	rm -rf bin coverage

## Everyday

.PHONY: test
test: install-git ## vet and run the everyday tests
	@SECONDS=0; go vet ./...; go test ./...; echo "vetted and tested in $$SECONDS s"

.PHONY: lint
lint: bin/tools/staticcheck bin/tools/actionlint install-shellcheck ## gofmt, vet with every build tag, staticcheck, shellcheck
	@files=$$(gofmt -l cmd internal test bench); [[ -z $$files ]] || { printf 'not formatted as gofmt does:\n%s\n' "$$files" >&2; exit 1; }
	go vet -tags docker,peers,faults,terraform,actions,postgres,kills,cluster,charts,node,rules,observed ./...
	bin/tools/staticcheck -tags docker,peers,faults,terraform,actions,postgres,kills,cluster,charts,node,rules,observed ./...
	git ls-files -z '*.sh' .ci/run | xargs -0 shellcheck
	git ls-files -z 'internal/scaffold/testdata/*.yml' | xargs -0 bin/tools/actionlint

.PHONY: vuln
vuln: bin/tools/govulncheck install-curl ## known vulnerabilities in what hallmark calls; VULNDB= names another database
	@test/vuln.sh '$(VULNDB)'

.PHONY: cover
cover: ## coverage of the packages that decide; fails under 90 % of statements
	@test/cover.sh 90 gate policy verify provenance

## Slower

.PHONY: race
race: install-gcc install-git ## the everyday tests under the race detector
	CGO_ENABLED=1 go test -race ./...

.PHONY: fuzz
fuzz: ## every fuzz target for FUZZTIME each
	@test/fuzz.sh '$(FUZZTIME)'

.PHONY: test-peers
test-peers: build peers ## what cosign, syft and grype say of hallmark's work, and hallmark of theirs
	go test -tags peers -timeout 20m $$(test/packages.sh peers)

.PHONY: test-docker
test-docker: build peers install-docker install-debootstrap ## a Debian image through a real Docker engine (as root)
	go test -tags docker,peers -timeout 30m $$(test/packages.sh docker)

.PHONY: test-faults
test-faults: build install-git install-unshare ## kill, refuse, cut and fill the disk at every stage of a release
	go test -tags faults -timeout 30m $$(test/packages.sh faults)

.PHONY: test-actions
test-actions: build bin/peers/act install-curl install-jq ## the reusable workflows, executed by a runner on this machine
	go test -tags actions -timeout 30m $$(test/packages.sh actions)

.PHONY: test-admitted
test-admitted: build bin/peers/act cluster-peers install-curl install-jq ## what the reusable workflow released, at the real Kyverno
	go test -tags actions,cluster -timeout 20m -v -run TestAdmitted ./test/actions

.PHONY: lint-actions
lint-actions: bin/tools/actionlint install-shellcheck ## actionlint on the workflows, with shellcheck on their scripts
	bin/tools/actionlint -shellcheck shellcheck
	bin/tools/actionlint -shellcheck shellcheck internal/scaffold/testdata/*/.github/workflows/*.yml
	@test/pin.sh

.PHONY: test-postgres
test-postgres: install-postgres ## the memory's store on a real PostgreSQL, with replicas that are killed
	go test -tags postgres -timeout 20m $$(test/packages.sh postgres)

.PHONY: test-kills
test-kills: build install-git install-unshare install-postgres ## kill -9 of the memory at random points, and a full disk: nothing lost, in part or twice
	go test -tags kills -v -timeout 15m $$(test/packages.sh kills)

.PHONY: test-rules
test-rules: install-prometheus ## when the alerts fire; and each query of the dashboards, of a real Prometheus
	promtool check rules charts/hallmark/rules/*.yaml
	promtool test rules test/rules/*_test.yaml
	go test -tags rules -v -timeout 5m -run TestDashboards $$(test/packages.sh rules)

.PHONY: test-observed
test-observed: build cluster-peers install-git install-prometheus ## what a real Prometheus sees of a real Kyverno, API server and service
	go test -tags observed,cluster -v -timeout 10m -run TestObserved ./test/cluster

.PHONY: test-questions
test-questions: build install-git install-curl install-jq ## every question of the memory over images that hallmark release made, by CLI and by curl, with times
	@GOCACHE="$$(go env GOCACHE)" GOPATH="$$(go env GOPATH)" test/questions.sh bin/hallmark

.PHONY: test-terraform
test-terraform: bin/peers/terraform bin/peers/terraform-provider-standin ## the real terraform on every root, over a stand-in for AWS
	go test -tags terraform -v -run 'Terraform|OwnRoots|WeakRoots' ./test/terraform

.PHONY: test-node
test-node: build cluster-peers node-peers install-git install-containerd ## a real node behind the policies: what is admitted runs, the rest is never pulled (as root)
	test/node.sh
	go test -tags node,cluster -v -timeout 15m -run 'Node|MovedTagRuns|Holding' ./test/cluster

.PHONY: test-charts
test-charts: build bin/peers/helm bin/peers/operator-crds cluster-peers install-git ## the charts: what they render, refuse, and a real API server takes
	go test -tags charts -v -timeout 10m $$(test/packages.sh charts)

.PHONY: dist
dist: bin/peers/goreleaser bin/peers/syft ## the archives and packages of a release, in dist; on a tag
	bin/peers/goreleaser release --clean --skip=publish

.PHONY: lint-release
lint-release: bin/peers/goreleaser ## what goreleaser says of its configuration
	bin/peers/goreleaser check

.PHONY: test-cluster
test-cluster: build cluster-peers bin/peers/cosign install-git ## admission by the real Kyverno behind a real API server
	go test -tags cluster -v -timeout 20m $$(test/packages.sh cluster)

.PHONY: test-terraform-network
test-terraform-network: bin/peers/terraform ## init, validate and test with the real providers, where a network reaches their registry
	test/terraform/network.sh

## Figures

.PHONY: bench
bench: build peers install-docker install-debootstrap ## hallmark beside the chain of command lines it replaces, ROUNDS rounds
	go run ./bench -rounds $(ROUNDS) -docs '$(BENCHDOCS)'

SIZES ?= 5000,10000,100000

.PHONY: bench-query
bench-query: install-jq install-postgres ## the memory's questions beside SQLite, grep and jq, and on PostgreSQL, at SIZES images
	test/postgres.sh go run ./bench/query -sizes '$(SIZES)' -docs '$(BENCHDOCS)'

.PHONY: bench-admission
bench-admission: build cluster-peers ## a hundred Pods at the real Kyverno, as it comes and as hallmark sets it
	go test -tags cluster -run '^$$' -bench Admission -benchtime 1x -timeout 20m ./test/cluster

.PHONY: profile
profile: build install-docker install-debootstrap ## where the time of a release goes
	go build -o bin/hallmark-profile ./bench/profile
	go run ./bench -profile bin/hallmark-profile

## What the others need

bin/peers/goreleaser: peer = goreleaser
bin/peers/goreleaser: test/peers/goreleaser/go.mod
bin/peers/act: peer = act
bin/peers/act: test/peers/act/go.mod

bin/peers/helm: peer = helm
bin/peers/helm: test/peers/helm/go.mod

PEERS := cosign syft grype crane registry

bin/peers/terraform: peer = terraform
bin/peers/terraform: test/peers/terraform/go.mod
bin/peers/terraform-provider-standin: $(wildcard test/peers/standin/*)
	@mkdir -p bin/peers
	cd test/peers/standin && go vet . && go build -o $(CURDIR)/$@ .

.PHONY: peers
peers: $(addprefix bin/peers/,$(PEERS)) ## build the peers at the versions of test/peers/*/go.mod

bin/peers/cosign:            peer = cosign
bin/peers/registry:          peer = registry
bin/peers/syft bin/peers/grype bin/peers/crane: peer = scanners
bin/peers/cosign:            test/peers/cosign/go.mod
bin/peers/registry:          test/peers/registry/go.mod
bin/peers/syft bin/peers/grype bin/peers/crane: test/peers/scanners/go.mod
bin/peers/%:
	@mkdir -p bin/peers
	cd test/peers/$(peer) && go build -ldflags '-s -w' -o $(CURDIR)/$@ "$$(go list -f '{{.ImportPath}}' tool | grep '/$*$$')"
	@touch $@

# The test cluster. A server that was not told its version calls itself by a template that no client can read.
CLUSTER      := etcd kube-apiserver kube-controller-manager kyverno kyverno-crds
KUBE_VERSION := v1.37.2
KUBE_LDFLAGS := $(foreach kv,gitVersion=$(KUBE_VERSION) gitMajor=1 gitMinor=37,-X k8s.io/component-base/version.$(kv))

.PHONY: cluster-peers
cluster-peers: $(addprefix bin/peers/,$(CLUSTER)) ## build etcd, Kubernetes' servers and Kyverno (cold: about 20 minutes)

$(addprefix bin/peers/,etcd kube-apiserver kube-controller-manager kube-scheduler kubelet): test/peers/kubernetes/go.mod
	@mkdir -p bin/peers
	cd test/peers/kubernetes && go build -ldflags '-s -w $(KUBE_LDFLAGS)' -o $(CURDIR)/$@ $(if $(findstring etcd,$@),go.etcd.io/etcd/server/v3,k8s.io/kubernetes/cmd/$(@F))
	@touch $@

# What the one node needs on top, besides Debian's containerd, runc and network plugins.
.PHONY: node-peers
node-peers: $(addprefix bin/peers/,kubelet kube-scheduler pause) ## build the kubelet and the scheduler (after cluster-peers: three minutes)

bin/peers/pause: $(wildcard test/cluster/pause/*.go)
	go build -ldflags '-s -w' -o $@ ./test/cluster/pause

bin/peers/kyverno: test/peers/kyverno/go.mod
	@mkdir -p bin/peers
	cd test/peers/kyverno && go build -ldflags '-s -w' -o $(CURDIR)/$@ github.com/kyverno/kyverno/cmd/kyverno
	@touch $@
bin/peers/kyverno-crds: test/peers/kyverno/go.mod
	@mkdir -p $@
	cd test/peers/kyverno && cp -r --no-preserve=mode "$$(go list -m -f '{{.Dir}}' github.com/kyverno/kyverno)"/config/crds/{kyverno,policies.kyverno.io,policyreport,reports} $(CURDIR)/$@
	@touch $@

# The Prometheus operator's kinds: a module that holds them is fetched, and nothing of it built.
bin/peers/operator-crds: test/peers/operator/go.mod
	@mkdir -p $@
	cd test/peers/operator && dir=$$(go mod download -json github.com/prometheus-operator/prometheus-operator | sed -n 's/^\t"Dir": "\(.*\)",$$/\1/p') && \
		cp --no-preserve=mode "$$dir"/example/prometheus-operator-crd/monitoring.coreos.com_{servicemonitors,prometheusrules}.yaml $(CURDIR)/$@
	@touch $@

bin/tools/%: tools/go.mod
	cd tools && go build -o $(CURDIR)/$@ "$$(go list -f '{{.ImportPath}}' tool | grep '/$*$$')"
	@touch $@

.PHONY: install-git install-curl install-gcc install-shellcheck install-docker install-debootstrap install-postgres install-jq install-unshare install-containerd install-prometheus
install-git:
	@test/install.sh git=git
install-curl:
	@test/install.sh curl=curl
install-gcc:
	@test/install.sh gcc=gcc gcc=libc6-dev
install-shellcheck:
	@test/install.sh shellcheck=shellcheck
install-unshare:
	@test/install.sh unshare=util-linux
install-containerd:
	@test/install.sh containerd=containerd runc=runc /usr/lib/cni/ptp=containernetworking-plugins
install-docker:
	@test/install.sh dockerd=docker.io unshare=util-linux
install-prometheus:
	@test/install.sh promtool=prometheus prometheus=prometheus
install-jq:
	@test/install.sh jq=jq
install-debootstrap:
	@test/install.sh debootstrap=debootstrap gpgv=gpgv /usr/share/keyrings/debian-archive-keyring.gpg=debian-archive-keyring
install-postgres:
	@test/install.sh pg_createcluster=postgresql
