package cluster

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// cgroups is a group of processes, by the name it has in every hierarchy of the machine: there are several under the
// first version of control groups, and one under the second.
type cgroups string

const (
	cgroupRoot   = "/sys/fs/cgroup"
	cgroupPrefix = "hallmark-node-"
)

// newCgroups names a group that nobody else has. The name tells whose it is, so that it can be removed when this process
// was killed.
func newCgroups() cgroups {
	return cgroups(fmt.Sprintf("%s%d-%s", cgroupPrefix, os.Getpid(), rand.Text()))
}

// abandoned are the groups of processes that are no more.
func abandoned() (left []cgroups) {
	folders, err := cgroups(cgroupPrefix + "*").folders()
	if err != nil {
		return nil
	}
	for _, pattern := range folders {
		found, _ := filepath.Glob(pattern)
		for _, folder := range found {
			group := filepath.Base(folder)
			owner, _, _ := strings.Cut(strings.TrimPrefix(group, cgroupPrefix), "-")
			if _, err := os.Stat("/proc/" + owner); err != nil {
				left = append(left, cgroups(group))
			}
		}
	}
	return left
}

func (c cgroups) folders() ([]string, error) {
	if _, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers")); err == nil {
		return []string{filepath.Join(cgroupRoot, string(c))}, nil
	}
	hierarchies, err := filepath.Glob(filepath.Join(cgroupRoot, "*", "cgroup.procs"))
	if err != nil {
		return nil, err
	}
	if len(hierarchies) == 0 {
		return nil, fmt.Errorf("no control groups under %s", cgroupRoot)
	}
	var folders []string
	for _, h := range hierarchies {
		folders = append(folders, filepath.Join(filepath.Dir(h), string(c)))
	}
	return folders, nil
}

func (c cgroups) make() error {
	folders, err := c.folders()
	if err != nil {
		return err
	}
	for _, old := range abandoned() {
		_ = old.remove()
	}
	for _, folder := range folders {
		if err := os.Mkdir(folder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return nil
}

// remove removes it with all groups in it. Its processes must have ended.
func (c cgroups) remove() error {
	folders, err := c.folders()
	if err != nil {
		return err
	}
	var left []error
	for _, folder := range folders {
		var groups []string
		_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() {
				groups = append(groups, path)
			}
			return nil
		})
		slices.Reverse(groups) // those within first
		for _, group := range groups {
			if err := os.Remove(group); err != nil && !errors.Is(err, fs.ErrNotExist) {
				left = append(left, err)
			}
		}
	}
	return errors.Join(left...)
}
