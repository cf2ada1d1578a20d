//go:build unix

package localtrust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// tryLock takes the lock of an open file. The lock is the open file's, not the
// process's: two openings in one process exclude each other.
func tryLock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) || errors.Is(err, syscall.EINTR) {
		return errLocked
	}
	return err
}

// checkOwner refuses a folder of another user.
func checkOwner(info fs.FileInfo) error {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return errors.New("its owner cannot be told")
	}
	if uid := os.Geteuid(); int(s.Uid) != uid {
		return hint.Add(fmt.Errorf("it belongs to user %d, not to %d who runs this", s.Uid, uid), "name a folder of your own")
	}
	return nil
}
