package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/advisory/sample"
	"github.com/hallmark-sh/hallmark/internal/cli"
	"github.com/hallmark-sh/hallmark/internal/localregistry"
)

// The sessions run this test binary as hallmark, so that exit codes, signals
// and streams are a real process's.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"hallmark": func() {
			ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
			context.AfterFunc(ctx, stop)
			os.Exit(cli.Main(ctx, os.Args[1:], cli.Standard(), os.Environ()))
		},
	})
}

// advisories is one small real database for all sessions.
var advisories = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "hallmark-advisories-")
	if err != nil {
		return "", err
	}
	_, err = advisory.Build(context.Background(), advisory.BuildOptions{Sources: sample.Sources(), Out: dir, Time: time.Now()})
	return dir, err
})

func TestSessions(t *testing.T) {
	dir, err := advisories()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("ADVISORIES", dir)
			for _, key := range []string{"GOPROXY", "GOFLAGS", "GOMODCACHE", "GOCACHE", "GONOSUMDB", "GONOSUMCHECK", "GOSUMDB"} {
				if value, ok := os.LookupEnv(key); ok {
					env.Setenv(key, value)
				}
			}
			if err := shareGoCaches(env); err != nil {
				return err
			}
			schemas, err := filepath.Abs("../../docs/schemas")
			if err != nil {
				return err
			}
			env.Setenv("SCHEMAS", schemas)
			env.Setenv("GIT_CONFIG_NOSYSTEM", "1")
			env.Setenv("HOME", env.WorkDir)
			return startRegistry(env)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"requests": requests,
			"forget":   forget,
			"serve":    serve,
			"gitrepo":  gitrepo,
			"status":   status,
			"expand":   expand,
			"field":    field,
			"valid":    valid,
			"glob":     glob,
			"append":   appendByte,
			"read":     readName,
			"readme":   readme,
			"memory":   startMemory,
			"metric":   metric,
		},
		RequireUniqueNames: true,
	})
}

// shareGoCaches lets the go tool of a session use the machine's caches: a
// session's own HOME is empty.
func shareGoCaches(env *testscript.Env) error {
	home, err := os.UserHomeDir()
	if err != nil {
		return err
	}
	for key, fallback := range map[string]string{"GOCACHE": ".cache/go-build", "GOPATH": "go"} {
		value := os.Getenv(key)
		if value == "" {
			value = filepath.Join(home, fallback)
		}
		env.Setenv(key, value)
	}
	return nil
}

// registry is the session's own registry, on loopback, with a log of what it
// was asked.
type registry struct {
	mu      sync.Mutex
	handler http.Handler
	seen    []string
}

type registryKey struct{}

func startRegistry(env *testscript.Env) error {
	r := &registry{}
	if err := r.open(env.WorkDir, localregistry.Options{}); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		r.mu.Lock()
		handler := r.handler
		r.mu.Unlock()
		handler.ServeHTTP(w, req)
	})}
	go server.Serve(listener)
	env.Defer(func() { server.Close() })
	env.Setenv("REGISTRY", listener.Addr().String())
	env.Values[registryKey{}] = r
	return nil
}

func (r *registry) open(dir string, opts localregistry.Options) error {
	opts.OnAccess = func(a localregistry.Access) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen = append(r.seen, fmt.Sprintf("%s %s %d", a.Method, a.Path, a.Status))
	}
	handler, err := localregistry.Open(filepath.Join(dir, ".registry"), opts)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handler = handler
	return nil
}

func registryOf(ts *testscript.TestScript) *registry {
	return ts.Value(registryKey{}).(*registry)
}

// requests METHODS COUNT fails unless the registry has seen that many requests
// of the methods (such as PUT,POST, or any) since the last forget.
func requests(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: requests METHODS COUNT")
	}
	r := registryOf(ts)
	r.mu.Lock()
	defer r.mu.Unlock()
	var hits []string
	for _, line := range r.seen {
		method, _, _ := strings.Cut(line, " ")
		if args[0] == "any" || strings.Contains(","+args[0]+",", ","+method+",") {
			hits = append(hits, line)
		}
	}
	if fmt.Sprint(len(hits)) != args[1] {
		ts.Fatalf("the registry saw %d requests, wanted %s:\n%s", len(hits), args[1], strings.Join(hits, "\n"))
	}
}

// forget empties the registry's log.
func forget(ts *testscript.TestScript, neg bool, _ []string) {
	r := registryOf(ts)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = nil
}

// serve [immutable] [no-referrers] changes what the session's registry is like;
// its content stays.
func serve(ts *testscript.TestScript, neg bool, args []string) {
	var opts localregistry.Options
	for _, arg := range args {
		switch arg {
		case "immutable":
			opts.ImmutableTags = true
		case "no-referrers":
			opts.NoReferrers = true
		default:
			ts.Fatalf("serve: no such mode %q", arg)
		}
	}
	ts.Check(registryOf(ts).open(ts.Getenv("WORK"), opts))
}

// gitrepo DIR makes DIR a git repository with everything in it committed, at a
// fixed time, and origin https://github.com/acme/app; in a repository it
// commits what has changed.
func gitrepo(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: gitrepo DIR")
	}
	dir := ts.MkAbs(args[0])
	git := func(words ...string) {
		ts.Check(ts.Exec("git", append([]string{"-C", dir, "-c", "user.name=T", "-c", "user.email=t@example.test"}, words...)...))
	}
	ts.Setenv("GIT_AUTHOR_DATE", "2026-01-05T09:00:00Z")
	ts.Setenv("GIT_COMMITTER_DATE", "2026-01-05T09:00:00Z")
	if _, err := os.Stat(filepath.Join(dir, ".git")); err != nil {
		git("init", "--quiet", "--initial-branch=main")
		git("remote", "add", "origin", "https://github.com/acme/app")
	}
	git("add", "--all")
	git("commit", "--quiet", "--message", "work")
}

// status CODE WORDS... runs a command and fails unless it exits with the code.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status CODE COMMAND...")
	}
	got := "0"
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		exit := (*exec.ExitError)(nil)
		if !errors.As(err, &exit) {
			ts.Fatalf("running %s: %v", args[1], err)
		}
		got = strconv.Itoa(exit.ExitCode())
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, wanted %s", got, args[0])
	}
}

// expand FILE... replaces $NAME in files by the session's environment.
func expand(ts *testscript.TestScript, neg bool, args []string) {
	for _, name := range args {
		path := ts.MkAbs(name)
		text := os.Expand(ts.ReadFile(path), ts.Getenv)
		ts.Check(os.WriteFile(path, []byte(text), 0o644))
	}
}

// field FILE KEY NAME puts the text of a top-level key of a JSON file into the
// session's environment.
func field(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 {
		ts.Fatalf("usage: field FILE KEY NAME")
	}
	var fields map[string]json.RawMessage
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &fields))
	var text string
	ts.Check(json.Unmarshal(fields[args[1]], &text))
	ts.Setenv(args[2], text)
}

// valid FILE SCHEMA fails unless a JSON file is valid by a published schema.
func valid(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: valid FILE SCHEMA")
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	files, err := filepath.Glob(filepath.Join(ts.Getenv("SCHEMAS"), "*.schema.json"))
	ts.Check(err)
	for _, file := range files {
		raw, err := os.ReadFile(file)
		ts.Check(err)
		document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
		ts.Check(err)
		ts.Check(compiler.AddResource("https://hallmark.sh/schemas/"+filepath.Base(file), document))
	}
	schema, err := compiler.Compile("https://hallmark.sh/schemas/" + args[1] + ".schema.json")
	ts.Check(err)
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(ts.ReadFile(args[0])))
	ts.Check(err)
	ts.Check(schema.Validate(document))
}

// glob PATTERN NAME puts the one file that matches into the environment.
func glob(ts *testscript.TestScript, neg bool, args []string) {
	found, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	found = slices.DeleteFunc(found, func(path string) bool { return strings.HasSuffix(path, ".sigstore.json") })
	if len(found) != 1 {
		ts.Fatalf("%s matches %q, wanted one file", args[0], found)
	}
	ts.Setenv(args[1], found[0])
}

// append FILE adds a byte to a file.
func appendByte(ts *testscript.TestScript, neg bool, args []string) {
	file, err := os.OpenFile(ts.MkAbs(args[0]), os.O_APPEND|os.O_WRONLY, 0)
	ts.Check(err)
	_, err = file.Write([]byte{0})
	ts.Check(err)
	ts.Check(file.Close())
}

// read FILE NAME puts the text of a file, without its last newline, into the
// session's environment.
func readName(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: read FILE NAME")
	}
	ts.Setenv(args[1], strings.TrimSuffix(ts.ReadFile(args[0]), "\n"))
}

// readme FILE writes the session of README.md to a file, with a port that is
// free instead of the one that it names, and without building the program.
func readme(ts *testscript.TestScript, neg bool, args []string) {
	text, err := os.ReadFile(filepath.Join(ts.Getenv("SCHEMAS"), "../../README.md"))
	ts.Check(err)
	_, rest, ok := strings.Cut(string(text), "```sh\nmake build\nexport PATH=\"$PWD/bin:$PATH\"\n")
	if !ok {
		ts.Fatalf("README.md has no session that begins with make build")
	}
	session, _, _ := strings.Cut(rest, "```")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	free := listener.Addr().String()
	ts.Check(listener.Close())
	session = strings.ReplaceAll(session, "127.0.0.1:5000", free)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte("set -e\n"+session), 0o644))
}
