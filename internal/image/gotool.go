package image

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

// goTool is the go program with all that decides what it makes.
type goTool struct {
	program string
	// dir is the folder within the exported source to build in.
	dir     string
	version string
	env     []string
}

// goSettings are the settings of the go tool that a build takes over from the
// environment or from go env -w: they say where modules come from and where
// they are cached, not what is made of them.
var goSettings = [...]string{
	"GOPROXY", "GOSUMDB", "GONOSUMDB", "GONOPROXY", "GOPRIVATE", "GOINSECURE", "GOVCS", "GOAUTH",
	"GOCACHE", "GOMODCACHE", "GOPATH", "GOTOOLCHAIN",
}

// goEnvironment are the other variables a build takes over.
var goEnvironment = [...]string{
	"PATH", "HOME", "TMPDIR", "USER", "SSH_AUTH_SOCK", "GIT_SSH_COMMAND", "GIT_CONFIG_GLOBAL",
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy",
	"SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC", "XDG_CONFIG_HOME", "GOROOT",
}

// goFixed are variables the policy must not set: hallmark sets them itself.
var goFixed = []string{"GOOS", "GOARCH", "CGO_ENABLED", "GOFLAGS", "GOENV", "GOWORK", "GO111MODULE", "PATH", "HOME"}

// findGo finds the go program and asks it for its settings and version, which
// may be another than the program's own when go.mod names a toolchain.
func findGo(ctx context.Context, root, dir string, settings policy.GoBuild, opts Options) (goTool, error) {
	for name := range settings.Env {
		if slices.Contains(goFixed, name) {
			return goTool{}, hint.Add(fmt.Errorf("the policy sets %s for the go tool, which hallmark sets itself", name),
				"take %s out of env under build.go", name)
		}
	}
	program, err := lookPath("go", opts.getenv("PATH"))
	if err != nil {
		return goTool{}, hint.Add(err, "install Go (https://go.dev/dl), or put the folder that holds it into PATH")
	}
	if _, err := findUp(root, dir, "go.mod"); err != nil {
		return goTool{}, hint.Add(fmt.Errorf("the source has no go.mod: %w", err), "commit a go.mod, or put the policy file beside it")
	}
	t := goTool{program: program, dir: dir}
	for _, name := range goEnvironment {
		if value := opts.getenv(name); value != "" {
			t.env = append(t.env, name+"="+value)
		}
	}
	work := "GOWORK=off"
	if file, err := findUp(root, dir, "go.work"); err == nil {
		work = "GOWORK=" + file
	}
	asked := append([]string{"env", "-json", "GOVERSION", "GOFLAGS"}, goSettings[:]...)
	out, err := t.run(ctx, append(slices.Clone(opts.Env), work), asked...)
	if err != nil {
		return goTool{}, err
	}
	var known map[string]string
	if err := json.Unmarshal(out, &known); err != nil {
		return goTool{}, fmt.Errorf("reading go env: %w", err)
	}
	t.version = known["GOVERSION"]
	for _, name := range goSettings {
		if known[name] != "" {
			t.env = append(t.env, name+"="+known[name])
		}
	}
	t.env = append(t.env, "GOENV=off", "CGO_ENABLED=0", "GOFLAGS="+keptFlags(known["GOFLAGS"], opts), work)
	for _, name := range slices.Sorted(maps.Keys(settings.Env)) {
		t.env = append(t.env, name+"="+settings.Env[name])
	}
	return t, nil
}

// keptFlags keeps of GOFLAGS how modules are found. The rest would change what
// is built without a trace in the policy.
func keptFlags(flags string, opts Options) string {
	var kept, dropped []string
	for _, f := range strings.Fields(flags) {
		switch name, _, _ := strings.Cut(strings.TrimLeft(f, "-"), "="); name {
		case "mod", "modcacherw":
			kept = append(kept, f)
		case "buildvcs", "trimpath":
		default:
			dropped = append(dropped, f)
		}
	}
	if len(dropped) > 0 {
		opts.say("leaving %s out of GOFLAGS: what decides the build stands in the policy", strings.Join(dropped, " "))
	}
	return strings.Join(kept, " ")
}

// microarchitecture gives the setting that a platform's variant stands for, or
// the one that holds without a variant: go's default may be changed by its
// builder, the image's meaning may not.
func microarchitecture(p v1.Platform) (string, error) {
	defaults := map[string]string{"amd64": "GOAMD64=v1", "arm64": "GOARM64=v8.0", "arm": "GOARM=7", "386": "GO386=sse2"}
	if p.Variant == "" {
		return defaults[p.Architecture], nil
	}
	switch p.Architecture {
	case "amd64":
		if slices.Contains([]string{"v1", "v2", "v3", "v4"}, p.Variant) {
			return "GOAMD64=" + p.Variant, nil
		}
	case "arm":
		if slices.Contains([]string{"v5", "v6", "v7"}, p.Variant) {
			return "GOARM=" + strings.TrimPrefix(p.Variant, "v"), nil
		}
	case "arm64":
		if p.Variant == "v8" {
			return "GOARM64=v8.0", nil
		}
	}
	return "", hint.Add(fmt.Errorf("platform %s has a variant that the go tool cannot build", p), "leave the variant out, or set it by env under build.go")
}

// build makes the program for one platform in the folder out, which it makes,
// and gives the program's path.
func (t goTool) build(ctx context.Context, b policy.GoBuild, p v1.Platform, out string) (string, error) {
	if err := os.Mkdir(out, 0o755); err != nil {
		return "", err
	}
	level, err := microarchitecture(p)
	if err != nil {
		return "", err
	}
	args := []string{"build", "-trimpath", "-buildvcs=false",
		"-ldflags=" + strings.TrimSpace("-buildid= -s -w "+b.Ldflags), "-o", out + string(filepath.Separator)}
	if len(b.Tags) > 0 {
		args = append(args, "-tags="+strings.Join(b.Tags, ","))
	}
	// The policy's own env comes last and may say another level.
	env := append([]string{"GOOS=" + p.OS, "GOARCH=" + p.Architecture, level}, t.env...)
	if _, err := t.run(ctx, env, append(args, "--", b.Package)...); err != nil {
		return "", fmt.Errorf("package %s: %w", b.Package, err)
	}
	made, err := os.ReadDir(out)
	if err != nil {
		return "", err
	}
	if len(made) != 1 {
		return "", hint.Add(fmt.Errorf("package %s gives %d programs", b.Package, len(made)), "set package under build.go to one main package, such as ./cmd/app")
	}
	return filepath.Join(out, made[0].Name()), nil
}

// outputLimit bounds how much of a tool's output an error shows, in bytes.
const outputLimit = 8 << 10

// run runs the go tool with its children in a process group of their own, so
// that none outlives ctx.
func (t goTool) run(ctx context.Context, env []string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, t.program, args...)
	cmd.Dir, cmd.Env = t.dir, env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	var stdout strings.Builder
	said := &ending{limit: outputLimit}
	cmd.Stdout, cmd.Stderr = &stdout, said
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, hint.Add(fmt.Errorf("running go %s: %w\n%s", args[0], err, said),
			"see that go %s works in a fresh clone of the commit: only committed files are built", args[0])
	}
	return []byte(stdout.String()), nil
}

// findUp looks for a file in dir and the folders above it, no higher than root.
func findUp(root, dir, name string) (string, error) {
	for {
		file := filepath.Join(dir, name)
		if _, err := os.Stat(file); err == nil {
			return file, nil
		}
		if dir == root || len(dir) <= len(root) {
			return "", fs.ErrNotExist
		}
		dir = filepath.Dir(dir)
	}
}

// lookPath finds a program in the folders that path lists.
func lookPath(program, path string) (string, error) {
	for _, dir := range filepath.SplitList(path) {
		file := filepath.Join(dir, program)
		if info, err := os.Stat(file); err == nil && filepath.IsAbs(dir) && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, nil
		}
	}
	return "", fmt.Errorf("looking for the %s program: %w", program, exec.ErrNotFound)
}
