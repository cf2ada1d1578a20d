package sqlite_test

import (
	"context"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
	"github.com/hallmark-sh/hallmark/internal/store/storetest"
)

// What the package promises of a commit rests on two settings, which SQLite
// takes or quietly does not: each connection of the store must have them.
func TestConnectionsAreDurable(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "a.db"))
	for name, got := range s.Settings(t.Context(), t) {
		if got != (sqlite.Settings{Journal: "wal", Synchronous: 2}) {
			t.Errorf("the %s has %+v, want a write-ahead log that is flushed at every commit", name, got)
		}
	}
}

// held is how many packages the store has, and grown how many the image has
// that is being written when the process is killed: more than SQLite keeps of a
// transaction in memory, so that a part of it is on the disk, in the midst of
// what is held.
const (
	held  = 10_000
	grown = 60_000
)

// TestMain lets the test binary be the process that is killed.
func TestMain(m *testing.M) {
	if path := os.Getenv("HALLMARK_TEST_WRITES"); path != "" {
		writeUntilKilled(path)
	}
	os.Exit(m.Run())
}

func writeUntilKilled(path string) {
	s, err := sqlite.Open(context.Background(), path)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	first, second := storetest.Arrival(1), storetest.Arrival(2)
	for n := range held {
		first.Packages = append(first.Packages, storetest.Package(n))
	}
	for n := range grown {
		second.Packages = append(second.Packages, storetest.Package(held+n))
	}
	if _, err = s.Put(context.Background(), []store.Arrival{first}); err == nil {
		fmt.Println("first") // It is on the disk: the parent waits for more than it.
		_, err = s.Put(context.Background(), []store.Arrival{second})
	}
	fmt.Fprintln(os.Stderr, "not killed:", err)
	os.Exit(1)
}

// A process that is killed while a part of its transaction is on the disk must
// leave what it had acknowledged, and nothing of the rest.
func TestKilledInsideATransaction(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for n, more := range []int64{512 << 10, 2 << 20} {
		path := filepath.Join(t.TempDir(), fmt.Sprintf("%d.db", n))
		writer := osexec.CommandContext(t.Context(), self)
		writer.Env, writer.Stderr = append(os.Environ(), "HALLMARK_TEST_WRITES="+path), os.Stderr
		out, err := writer.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := writer.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		for began, at := time.Now(), onDisk(path)+more; onDisk(path) < at; runtime.Gosched() {
			if time.Since(began) > time.Minute {
				t.Fatalf("%d bytes are on the disk after a minute, and %d were to be", onDisk(path), at)
			}
		}
		if err := writer.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := writer.Wait(); err == nil || writer.ProcessState.Exited() {
			t.Fatalf("it ended before it was killed: %v", err)
		}
		s := open(t, path)
		if damage := s.Integrity(t.Context(), t); damage != "ok" {
			t.Errorf("killed with %d KB more on the disk: SQLite says of the file: %s", more>>10, damage)
		}
		content := storetest.Load(t, s)
		content.Check(t)
		if len(content.Images) != 1 || len(content.Packages) != held {
			t.Errorf("killed with %d KB more on the disk: %d images with %d packages are there, 1 with %d was acknowledged", more>>10, len(content.Images), len(content.Packages), held)
		}
	}
}

// onDisk is the size of the store and its write-ahead log.
func onDisk(path string) (size int64) {
	for _, p := range []string{path, path + "-wal"} {
		if info, err := os.Stat(p); err == nil {
			size += info.Size()
		}
	}
	return size
}
