package image

import (
	"context"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	buildkit "github.com/moby/buildkit/client"
	"github.com/moby/buildkit/session/auth"
	digest "github.com/opencontainers/go-digest"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/source"
)

// podman answers as an engine does that has the Docker API but no BuildKit.
func podman(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "hallmark-") // short: a socket's path is limited
	check(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	check(err)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Api-Version", "1.41")
		switch {
		case strings.HasSuffix(r.URL.Path, "/_ping"):
		case strings.HasSuffix(r.URL.Path, "/version"):
			must(w.Write([]byte(`{"Version":"4.9.3"}`)))
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	})}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return "unix://" + socket
}

func TestWithoutAnEngine(t *testing.T) {
	refusing := must(net.Listen("tcp", "127.0.0.1:0"))
	address := refusing.Addr().String()
	check(refusing.Close())
	cases := map[string]struct {
		host      string
		env       []string
		err, hint string
	}{
		"no socket":       {"unix:///nowhere/docker.sock", nil, "unix:///nowhere/docker.sock", "start Docker"},
		"nobody listens":  {"tcp://" + address, nil, address, "start Docker"},
		"from Env":        {"", []string{"DOCKER_HOST=unix:///from/env.sock"}, "unix:///from/env.sock", "start Docker"},
		"ssh":             {"ssh://build.test", nil, "reached by ssh", "ssh -L"},
		"no address":      {"nonsense", nil, "nonsense", ""},
		"unverified TLS":  {"tcp://" + address, []string{"DOCKER_CERT_PATH=/certs"}, "would not be checked", "DOCKER_TLS_VERIFY=1"},
		"no certificates": {"tcp://" + address, []string{"DOCKER_CERT_PATH=/nowhere", "DOCKER_TLS_VERIFY=1"}, "/nowhere", ""},
		"no BuildKit":     {podman(t), nil, "has no BuildKit", "build.layout"},
	}
	src := commitTree(t, tree{"Dockerfile": []byte("FROM scratch\nCOPY . /\n")})
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "image")
			// The Dockerfile in the folder is what chooses the builder.
			_, err := Build(t.Context(), src, policy.Build{}, Options{Dir: dir, DockerHost: c.host, Env: c.env})
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("error %v, want %q", err, c.err)
			}
			if got := hint.Of(err); !strings.Contains(got, c.hint) {
				t.Errorf("hint %q lacks %q", got, c.hint)
			}
			names(t, filepath.Dir(dir))
		})
	}
}

// keychain knows one registry.
type keychain map[string]authn.AuthConfig

func (k keychain) Resolve(r authn.Resource) (authn.Authenticator, error) {
	return authn.FromConfig(k[r.RegistryStr()]), nil
}

func TestCredentials(t *testing.T) {
	known := keychain{
		"index.docker.io": {Username: "u", Password: "p"},
		"ghcr.io":         {IdentityToken: "t"},
	}
	for host, want := range map[string][2]string{
		"registry-1.docker.io": {"u", "p"},
		"ghcr.io":              {"", "t"},
		"quay.io":              {"", ""},
	} {
		got := askCredentials(t, credentials{keychain: known}, host)
		if got.Username != want[0] || got.Secret != want[1] {
			t.Errorf("%s: %q %q, want %q", host, got.Username, got.Secret, want)
		}
	}
	if got := askCredentials(t, credentials{}, "quay.io"); got.Username+got.Secret != "" {
		t.Errorf("without a keychain: %v", got)
	}
}

// askCredentials asks as BuildKit does, over gRPC.
func askCredentials(t *testing.T, c credentials, host string) *auth.CredentialsResponse {
	t.Helper()
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	server := grpc.NewServer()
	c.Register(server)
	go server.Serve(l)
	defer server.Stop()
	conn := must(grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials())))
	defer conn.Close()
	got, err := auth.NewAuthClient(conn).Credentials(t.Context(), &auth.CredentialsRequest{Host: host})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestWatch(t *testing.T) {
	var said []string
	w := newWatch(Options{Progress: func(line string) { said = append(said, line) }})
	now := time.Now()
	long := strings.Repeat("x", stepOutputLimit+10)
	for _, s := range []*buildkit.SolveStatus{
		{Vertexes: []*buildkit.Vertex{{Digest: "a", Name: "[1/2] FROM docker.io/library/debian:12@sha256:abc"}, {Digest: "b", Name: "[2/2] RUN make"}}},
		{Vertexes: []*buildkit.Vertex{{Digest: "a", Name: "[1/2] FROM docker.io/library/debian:12@sha256:abc", Started: &now, Cached: true}}},
		{Vertexes: []*buildkit.Vertex{{Digest: "b", Name: "[2/2] RUN make", Started: &now}}},
		{Logs: []*buildkit.VertexLog{{Vertex: "b", Data: []byte("one\ntw")}, {Vertex: "b", Data: []byte("o\x1b[0m\r\n")}, {Vertex: "b", Data: []byte(long)}}},
		{Vertexes: []*buildkit.Vertex{{Digest: "a", Error: "context canceled", Name: "a"}, {Digest: "b", Name: "[2/2] RUN make", Error: "exit code: 2"}}},
	} {
		w.see(s)
	}
	want := []string{"[1/2] FROM docker.io/library/debian:12@sha256:abc (cached)", "[2/2] RUN make", "  one", "  two[0m", "  " + long}
	if diff := cmp.Diff(want, said); diff != "" {
		t.Errorf("progress (-want +got):\n%s", diff)
	}
	if name, output := w.failed(); name != "[2/2] RUN make" || !strings.Contains(output, "xxx") || len(output) > stepOutputLimit+100 {
		t.Errorf("failed %q with %q", name, output)
	}
}

func TestBases(t *testing.T) {
	w := newWatch(Options{})
	pinned := "docker.io/library/debian:12@sha256:" + strings.Repeat("a", 64)
	for i, name := range []string{
		"[internal] load build definition from Dockerfile", "[internal] load metadata for docker.io/library/debian:12",
		"[build 1/2] FROM " + pinned, "[stage-1 1/3] FROM docker.io/library/local:1", "[build 2/2] RUN echo FROM x", "[linux/amd64 1/2] FROM " + pinned,
		"resolve image config for docker-image://docker.io/docker/dockerfile:1", "resolve image config for docker.io/docker/dockerfile:1", "docker-image://docker.io/docker/dockerfile:1@sha256:" + strings.Repeat("b", 64),
		"exporting to image",
	} {
		w.see(&buildkit.SolveStatus{Vertexes: []*buildkit.Vertex{{Digest: digest.FromString(string(rune('a' + i))), Name: name}}})
	}
	want := []string{
		pinned, "docker.io/library/local:1", "docker.io/docker/dockerfile:1@sha256:" + strings.Repeat("b", 64),
	}
	if diff := cmp.Diff(want, w.bases()); diff != "" {
		t.Errorf("bases (-want +got):\n%s", diff)
	}
}

func TestSettleConfig(t *testing.T) {
	in := `{"os":"linux","created":"2026-01-01T00:00:00.5Z","container":"abc","future":{"b":[1.50]},
		"history":[{"created":"2026-01-01T00:00:00Z","created_by":"x","empty_layer":true},{}],"rootfs":{"type":"layers"}}`
	want := `{"created":"2024-05-06T05:08:09Z","future":{"b":[1.50]},` +
		`"history":[{"created":"2024-05-06T05:08:09Z","created_by":"x","empty_layer":true},{"created":"2024-05-06T05:08:09Z"}],` +
		`"os":"linux","rootfs":{"type":"layers"}}`
	got, err := settleConfig([]byte(in), committed)
	if err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	for _, bad := range []string{"", "[]", `{"history":1}`} {
		if got, err := settleConfig([]byte(bad), committed); err == nil {
			t.Errorf("%q gives %s", bad, got)
		}
	}
}

func TestBuildArchiveKeepsAnnotations(t *testing.T) {
	s := must(newStore(t.TempDir(), DefaultMaxBytes))
	tar := must(openArchive(context.Background(), s, writeFile(t, tarOf(docker(layerB), nil))))
	defer tar.close()
	out, err := dockerArchive{tar: tar, store: s, annotations: annotations(source.Source{Commit: "c", CommitTime: committed})}.read(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	m := must(parseManifest(must(os.ReadFile(s.blob(out.subject.Digest)))))
	if m.Annotations["org.opencontainers.image.revision"] != "c" {
		t.Errorf("annotations %v", m.Annotations)
	}
}
