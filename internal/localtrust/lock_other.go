//go:build !unix

package localtrust

import (
	"errors"
	"io/fs"
	"os"
)

// errSystem says that the folder's keys cannot be kept safe here.
var errSystem = errors.New("local trust needs a Unix system: file owners and locks are not known here")

func tryLock(*os.File) error { return errSystem }

func checkOwner(fs.FileInfo) error { return errSystem }
