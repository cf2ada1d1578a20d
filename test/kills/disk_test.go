//go:build kills

package kills_test

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/store/sqlite"
)

// disk is a small disk in a mount namespace of its own.
type disk struct {
	t      *testing.T
	inside []string     // what enters the namespace
	folder string       // the disk, seen from outside
	writer func() *life // who writes to it
}

// newDisk makes a disk of so many KiB, at /mnt for whoever is inside.
func newDisk(t *testing.T, size int) *disk {
	t.Helper()
	args, enter := []string{"--mount"}, []string{"nsenter", "--mount"}
	if os.Geteuid() != 0 {
		args, enter = append(args, "--user", "--map-root-user"), append(enter, "--user", "--preserve-credentials")
	}
	holder := exec.Command("unshare", append(args, "sh", "-c", `mount -t tmpfs -o size="$1"k tmpfs /mnt && echo mounted && exec cat`, "sh", fmt.Sprint(size))...)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	holder.Stderr = os.Stderr
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); holder.Wait() })
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatalf("mounting: %q, %v", line, err)
	}
	return &disk{t: t, inside: append(enter, "--target", fmt.Sprint(holder.Process.Pid), "--"), folder: fmt.Sprintf("/proc/%d/root/mnt", holder.Process.Pid)}
}

// halt keeps a process from running, if it does, until resume is called.
func (l *life) halt() (resume func()) {
	l.t.Helper()
	select {
	case <-l.ended:
		return func() {}
	default:
	}
	if err := l.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		l.t.Fatal(err)
	}
	until(l.t, "the service stands still", func() bool {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.cmd.Process.Pid))
		return err == nil && strings.Contains(string(status), "State:\tT")
	})
	return func() { l.cmd.Process.Signal(syscall.SIGCONT) }
}

// fill takes all the disk's room but so many bytes.
func (d *disk) fill(leave int) {
	d.t.Helper()
	ballast, err := os.Create(filepath.Join(d.folder, "ballast"))
	if err != nil {
		d.t.Fatal(err)
	}
	defer ballast.Close()
	page := make([]byte, 4096)
	written := int64(0)
	for {
		n, err := ballast.Write(page)
		if written += int64(n); err != nil {
			break
		}
	}
	if err := ballast.Truncate(max(0, written-int64(leave))); err != nil {
		d.t.Fatal(err)
	}
}

func (d *disk) makeRoom() {
	d.t.Helper()
	if err := os.Remove(filepath.Join(d.folder, "ballast")); err != nil {
		d.t.Fatal(err)
	}
}

// copied copies the store from the disk, while the service stands still: SQLite
// itself would follow the disk's folder to one outside the namespace, and need
// room.
func (d *disk) copied() (file string) {
	d.t.Helper()
	defer d.writer().halt()()
	file = filepath.Join(d.t.TempDir(), "hallmark.db")
	for _, suffix := range []string{"", "-wal"} {
		raw, err := os.ReadFile(filepath.Join(d.folder, "hallmark.db"+suffix))
		if err != nil && !os.IsNotExist(err) {
			d.t.Fatal(err)
		}
		if err == nil {
			if err := os.WriteFile(file+suffix, raw, 0o600); err != nil {
				d.t.Fatal(err)
			}
		}
	}
	return file
}

// open opens a copy of the store.
func (d *disk) open() store.Store {
	d.t.Helper()
	s, err := sqlite.Open(d.t.Context(), d.copied())
	if err != nil {
		d.t.Fatalf("the store does not open: %v", err)
	}
	return s
}

// endLease is endLease on the disk, while no process has the store open.
func (d *disk) endLease() {
	d.t.Helper()
	file := d.copied()
	endLease(d.t, file)
	raw, err := os.ReadFile(file)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(filepath.Join(d.folder, "hallmark.db"+suffix)); err != nil && !os.IsNotExist(err) {
			d.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(d.folder, "hallmark.db"), raw, 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// TestDiskFull runs the disk full while images and advisories come in, with
// room for less and less of them, and kills the service there.
func TestDiskFull(t *testing.T) {
	r := chance(t)
	scene := release(t, 1)
	d := newDisk(t, 48<<10)
	hook := newWebhook(t)
	s := &service{t: t, name: "the service", dir: scene.dir, wrapper: d.inside, full: true, args: []string{
		"--config", filepath.Join(scene.dir, "hallmark.yaml"), // nsenter leaves the folder.
		"--db", "/mnt/hallmark.db", "--webhook", hook.url,
	}}
	c := &checker{ledger: newLedger(t), open: d.open}
	c.verified = scene.images
	var l *life
	d.writer = func() *life { return l }
	l = s.start()
	c.prepare(l)
	c.adviseOnce(l)
	for _, leave := range []int{0, 16 << 10, 64 << 10, 256 << 10, 1 << 20} {
		when := fmt.Sprintf("%d KiB left", leave>>10)
		d.fill(leave)
		stored := c.untilFull(t, l, when)
		c.importIntoFull(t, l, when)
		c.store(t, when+", before the kill")
		c.answers(t, when, l, r) // A full disk does not keep it from answering.
		t.Logf("%s: %d documents went in, and one data set did not", when, stored)
		l.kill()
		c.store(t, when)
		l = s.begin() // On a full disk a service may start or say why not.
		select {
		case <-l.ready:
			c.answers(t, when+", started again", l, r)
			l.kill()
			t.Logf("%s: the service starts", when)
		case <-l.ended:
			if log := l.log.String(); !strings.Contains(log, "no room left") || !strings.Contains(log, "hint: ") {
				t.Errorf("%s: starting on a full disk: %s", when, log)
			}
			l.dying.Store(true)
			t.Logf("%s: the service says that it cannot start", when)
		}
		d.makeRoom()
		d.endLease()
		l = s.start()
		c.goesOn(t, l, when)
		l.kill()
		c.store(t, when+", with room again")
		l = s.start()
		c.answers(t, when+", with room again", l, r)
	}
	// Room that is made while the service runs is enough.
	d.fill(64 << 10)
	c.untilFull(t, l, "at last")
	c.importIntoFull(t, l, "at last")
	d.makeRoom()
	c.goesOn(t, l, "at last")
	l.kill()
	c.store(t, "at last")
	l = s.start()
	hook.check(t, c)
}

// untilFull sends documents until one is refused.
func (c *checker) untilFull(t *testing.T, l *life, when string) (stored int) {
	t.Helper()
	for {
		n, _ := c.take()
		d := documentOf(n)
		got := l.send(http.MethodPost, "/v1/sboms?image="+url.QueryEscape(d.image), "application/json", d.raw)
		if got.status == http.StatusOK {
			c.settle(n, true)
			stored++
			continue
		}
		c.settle(n, false)
		full(t, when, got)
		return stored
	}
}

// importIntoFull imports a data set that there is no room for.
func (c *checker) importIntoFull(t *testing.T, l *life, when string) {
	t.Helper()
	c.trying = c.version + 1
	full(t, when, l.send(http.MethodPost, "/v1/advisories?source=kills", "application/x-ndjson", dataset(t, c.trying)))
	c.trying = 0 // It may not be there.
}

func full(t *testing.T, when string, got reply) {
	t.Helper()
	if got.status != http.StatusInsufficientStorage || !strings.Contains(string(got.body), "no room left to write") {
		t.Errorf("%s: %d %s", when, got.status, got.body)
	}
}

// goesOn takes in what there was no room for.
func (c *checker) goesOn(t *testing.T, l *life, when string) {
	t.Helper()
	n, _ := c.take()
	d := documentOf(n)
	got := l.send(http.MethodPost, "/v1/sboms?image="+url.QueryEscape(d.image), "application/json", d.raw)
	if got.status != http.StatusOK {
		t.Errorf("%s: with room again: %d %s", when, got.status, got.body)
	}
	c.settle(n, got.status == http.StatusOK)
	c.adviseOnce(l)
}
