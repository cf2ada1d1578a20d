//go:build unix

package localtrust

import (
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

// owned is a folder of the given user.
type owned struct {
	fs.FileInfo
	uid int
}

func (o owned) Sys() any { return &syscall.Stat_t{Uid: uint32(o.uid)} }

func TestCheckOwner(t *testing.T) {
	me := os.Geteuid()
	if err := checkOwner(owned{uid: me}); err != nil {
		t.Error(err)
	}
	if err := checkOwner(owned{uid: me + 1}); err == nil || !strings.Contains(err.Error(), "belongs to user") {
		t.Errorf("error %v, want a refusal of another user's folder", err)
	}
}
