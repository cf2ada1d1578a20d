// Package postgrestest runs a real PostgreSQL server for a test: its own data,
// its own socket, ended with the test.
package postgrestest

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// Server is a running server.
type Server struct {
	socket  string
	bin     string
	data    string
	run     func(name string, args ...string) *exec.Cmd
	process *exec.Cmd
	ended   chan error
	next    atomic.Int32
}

// Start starts a server. durable says that it flushes to the disk at every
// commit, as one must that is killed.
func Start(t testing.TB, durable bool) *Server {
	t.Helper()
	dir, err := os.MkdirTemp("", "pg")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s := &Server{socket: dir, bin: find(t), data: filepath.Join(dir, "data")}
	s.run = command(t, dir)
	initdb := s.run(filepath.Join(s.bin, "initdb"), "-D", s.data, "-U", "hallmark", "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.start(t, durable)
	t.Cleanup(func() {
		s.process.Process.Signal(syscall.SIGQUIT)
		<-s.ended
	})
	return s
}

func (s *Server) start(t testing.TB, durable bool) {
	fsync := "off"
	if durable {
		fsync = "on"
	}
	var log bytes.Buffer
	s.process = s.run(filepath.Join(s.bin, "postgres"), "-D", s.data, "-k", s.socket, "-c", "listen_addresses=", "-c", "fsync="+fsync,
		"-c", "max_connections=200", "-c", "shared_buffers=128MB")
	s.process.Stdout, s.process.Stderr = &log, &log
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	s.ended = make(chan error, 1)
	go func(p *exec.Cmd, ended chan error) { ended <- p.Wait() }(s.process, s.ended)
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		c, err := pgx.Connect(ctx, s.url("postgres"))
		if err == nil {
			c.Close(ctx)
		}
		cancel()
		if err == nil {
			return
		}
		select {
		case err := <-s.ended:
			t.Fatalf("postgres ended: %v\n%s", err, log.String())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Restart kills the server as a power cut would, and starts it again.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.process.Process.Signal(syscall.SIGQUIT) // immediate shutdown: no checkpoint
	<-s.ended
	s.start(t, true)
}

// Database makes an empty database and gives its URL.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", s.next.Add(1))
	ctx := context.Background()
	c, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	if _, err := c.Exec(ctx, "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
	return s.url(name)
}

func (s *Server) url(database string) string {
	return (&url.URL{Scheme: "postgres", User: url.User("hallmark"), Path: "/" + database, RawQuery: "host=" + url.QueryEscape(s.socket)}).String()
}

// find gives the folder of the server's programs, which Debian keeps out of
// the path.
func find(t testing.TB) string {
	t.Helper()
	if path, err := exec.LookPath("postgres"); err == nil {
		return filepath.Dir(path)
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil || len(found) == 0 {
		t.Fatal("PostgreSQL is not installed; make test-postgres installs it")
	}
	return filepath.Dir(slices.Max(found))
}

// command runs programs as another user when this one is root, whom the server
// refuses.
func command(t testing.TB, dir string) func(string, ...string) *exec.Cmd {
	t.Helper()
	if os.Geteuid() != 0 {
		return exec.Command
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		u, err = user.Lookup("nobody")
	}
	if err != nil {
		t.Fatal(err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	return func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(name, args...)
		cmd.Dir = dir
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
		return cmd
	}
}
