//go:build faults

package faults_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hallmark-sh/hallmark/internal/registry/registrytest"
)

// TestDiskFull gives a release a disk of every size on which it runs full
// somewhere else: first the folder it works in, then that of the local trust,
// whose log grows with each signature. The disk is a tmpfs in a mount namespace
// of the release's own.
func TestDiskFull(t *testing.T) {
	for _, disk := range []struct {
		name, folder string
		// from and by are in KiB: the least room tried, and the step.
		from, by int
	}{
		{"work", ".hallmark", 64, 512},
		{"trust", "../trust", 4, 96},
	} {
		t.Run(disk.name, func(t *testing.T) {
			s := newScene(t, "linux/amd64")
			s.server(registrytest.Options{}, "linux/amd64")
			if o := s.run("release"); o.code != 0 { // makes both folders
				t.Fatal(o)
			}
			failed := 0
			for room := disk.from; ; room += disk.by {
				server := s.server(registrytest.Options{}, "linux/amd64")
				o := s.runOnDisk(disk.folder, s.kibibytes(disk.folder)+room)
				if o.code == 0 {
					break
				}
				failed++
				when := fmt.Sprintf("%d KiB of room", room)
				if o.code != 1 || !strings.Contains(o.stderr, "no space left") || !strings.Contains(o.stderr, "hint: ") {
					t.Errorf("%s: %s", when, o)
				}
				t.Logf("%s: %s", when, lastLines(o.stderr))
				s.sound(server, when)
				s.completes(server, when, true)
			}
			if failed == 0 {
				t.Error("no disk was too small")
			}
		})
	}
}

// runOnDisk runs a release whose folder is a copy on a disk of so many KiB.
func (s *scene) runOnDisk(folder string, size int) outcome {
	s.t.Helper()
	const script = `mount -t tmpfs -o size="$2"k tmpfs /mnt && cp -a "$1"/. /mnt/ && mount --bind /mnt "$1" && exec "$3" release`
	release, stdout, stderr := s.command("release")
	args := []string{"--mount", "sh", "-c", script, "sh", folder, fmt.Sprint(size), s.program}
	if os.Geteuid() != 0 {
		args = append([]string{"--user", "--map-root-user"}, args...)
	}
	cmd := exec.Command("unshare", args...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = release.Dir, release.Env, stdout, stderr
	return ended(s.t, cmd.Run(), stdout, stderr)
}

// kibibytes is how much a folder's files take on a disk of 4 KiB pages.
func (s *scene) kibibytes(folder string) int {
	s.t.Helper()
	pages := 0
	err := filepath.WalkDir(filepath.Join(s.dir, folder), func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		pages += int(info.Size()+4095) / 4096
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return 4 * pages
}
