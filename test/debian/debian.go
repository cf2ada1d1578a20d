// Package debian makes the real input of hallmark's tests and benchmarks: an image of Debian 12 with Python, flask,
// requests and cryptography from Debian's own packages, and an application on top built from a Dockerfile by a real
// Docker engine.
//
// The base file system is made once by debootstrap and kept in the user's cache folder. It takes two minutes, root, and
// a Debian mirror: the one apt on this machine is configured with, else debootstrap's own. What is inside is as old as
// that mirror, so tests compare with what dpkg says was installed and never with numbers written down here.
package debian

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// Suite is the release of Debian the base is made of.
const Suite = "bookworm"

// include names the packages the base has besides debootstrap's minimum. python3-cffi-backend is there because debootstrap
// does not follow the virtual package by which python3-cryptography asks for it.
var include = []string{"python3", "python3-flask", "python3-requests", "python3-cryptography", "python3-cffi-backend"}

// generation is part of the cache's file names: raise it when the base is made in another way.
const generation = "2"

// Base is a file system ready to be an image's first layer.
type Base struct {
	// Tar is the path of the uncompressed file system.
	Tar string `json:"-"`
	// Debian is what dpkg says is installed.
	Debian []Package `json:"debian"`
	// Python is what the dist-info and egg-info entries below /usr say is installed.
	Python []Package `json:"python"`
}

// Package is one installed package.
type Package struct {
	Name    string `json:"name"`
	Version string `json:"version"`
	// Source is the Debian source package it was built from, which advisories name; empty for Python.
	Source string `json:"source,omitempty"`
}

// Open returns the base, made now when the cache has none. Several processes may call it at once: one makes the base and
// the others wait.
func Open(ctx context.Context) (Base, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return Base{}, err
	}
	dir := filepath.Join(cache, "hallmark-test")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Base{}, err
	}
	unlock, err := lock(filepath.Join(dir, "debian.lock"))
	if err != nil {
		return Base{}, err
	}
	defer unlock()

	name := filepath.Join(dir, "debian-"+Suite+"-"+generation)
	base, err := read(name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := bootstrap(ctx, dir, name); err != nil {
			return Base{}, fmt.Errorf("making the Debian base: %w", err)
		}
		return read(name)
	}
	return base, err
}

func read(name string) (Base, error) {
	listing, err := os.ReadFile(name + ".json")
	if err != nil {
		return Base{}, err
	}
	base := Base{Tar: name + ".tar"}
	if err := json.Unmarshal(listing, &base); err != nil {
		return Base{}, fmt.Errorf("reading %s.json: %w", name, err)
	}
	_, err = os.Stat(base.Tar)
	return base, err
}

// bootstrap makes name.tar and then name.json in dir; only with the second does the base count as made.
func bootstrap(ctx context.Context, dir, name string) error {
	if os.Getuid() != 0 {
		return errors.New("debootstrap needs root: run as root")
	}
	root, err := os.MkdirTemp(dir, "root-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	args := []string{"--variant=minbase", "--force-check-gpg", "--include=" + strings.Join(include, ","), Suite, root}
	if m := mirror(ctx); m != "" {
		args = append(args, m)
	}
	if _, err := run(ctx, "debootstrap", args...); err != nil {
		return err
	}
	base, err := inspect(ctx, root)
	if err != nil {
		return err
	}
	// What an image does not carry: the downloaded packages, the indexes, and devices, which the engine makes itself.
	for _, left := range []string{"var/cache/apt/archives", "var/lib/apt/lists", "dev", "proc", "sys"} {
		if err := empty(filepath.Join(root, left)); err != nil {
			return err
		}
	}
	if _, err := run(ctx, "tar", "--create", "--numeric-owner", "--sort=name", "--file", name+".tar", "--directory", root, "."); err != nil {
		return err
	}
	listing, err := json.MarshalIndent(base, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(name+".json", listing, 0o644)
}

// inspect asks dpkg itself, inside the new system, and looks for Python's metadata.
func inspect(ctx context.Context, root string) (Base, error) {
	out, err := run(ctx, "chroot", root, "dpkg-query", "--show", "--showformat", "${Package}\t${Version}\t${source:Package}\n")
	if err != nil {
		return Base{}, err
	}
	var base Base
	for line := range strings.Lines(string(out)) {
		fields := strings.Split(strings.TrimSpace(line), "\t")
		if len(fields) != 3 {
			return Base{}, fmt.Errorf("reading dpkg-query's answer: %q has %d fields", line, len(fields))
		}
		base.Debian = append(base.Debian, Package{Name: fields[0], Version: fields[1], Source: fields[2]})
	}
	err = filepath.WalkDir(filepath.Join(root, "usr"), func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		metadata := ""
		switch filepath.Ext(path) {
		case ".dist-info":
			metadata = filepath.Join(path, "METADATA")
		case ".egg-info":
			metadata = path
			if d.IsDir() {
				metadata = filepath.Join(path, "PKG-INFO")
			}
		default:
			return nil
		}
		p, err := pythonPackage(metadata)
		base.Python = append(base.Python, p)
		return err
	})
	return base, err
}

// pythonPackage reads the name and version in the head of a METADATA or PKG-INFO file.
func pythonPackage(path string) (Package, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Package{}, err
	}
	var p Package
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan() && lines.Text() != ""; {
		if name, ok := strings.CutPrefix(lines.Text(), "Name: "); ok {
			p.Name = name
		}
		if version, ok := strings.CutPrefix(lines.Text(), "Version: "); ok {
			p.Version = version
		}
	}
	if p.Name == "" || p.Version == "" {
		return Package{}, fmt.Errorf("reading %s: no name or no version", path)
	}
	return p, nil
}

// mirror is the one apt fetches the suite from, or nothing when it knows of none.
func mirror(ctx context.Context) string {
	out, err := run(ctx, "apt-get", "indextargets", "--format", "$(CODENAME) $(COMPONENT) $(REPO_URI)", "Identifier: Packages")
	if err != nil {
		return "" // not a Debian
	}
	for line := range strings.Lines(string(out)) {
		if uri, ok := strings.CutPrefix(strings.TrimSpace(line), Suite+" main "); ok {
			return uri
		}
	}
	return ""
}

// run runs a program and puts the end of what it wrote into the error.
func run(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		written := append(stdout.Bytes(), stderr.Bytes()...)
		return nil, fmt.Errorf("running %s: %w\n%s", name, err, written[max(0, len(written)-2000):])
	}
	return stdout.Bytes(), nil
}

// empty removes everything in dir and leaves dir itself.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// lock waits until no other process holds path and returns what lets go of it.
func lock(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("locking %s: %w", path, err), f.Close())
	}
	return func() { _ = f.Close() }, nil
}
