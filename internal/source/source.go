// Package source names what an image is built from: one commit of one git
// repository, and whether the working tree is exactly that commit.
//
// It speaks to git through the git program, because only git itself agrees
// with git about ignored files, attributes, work trees and shallow clones.
// It knows nothing of images.
package source

import "time"

// Source is one commit of one repository, as found in a working tree.
type Source struct {
	// Dir is the absolute path of the working tree's top folder.
	Dir string
	// Subdir is the folder below Dir that was opened, slash-separated and
	// without leading or trailing slash; empty for the top folder.
	Subdir string
	// Commit is the full object name in lower-case hex, 40 digits for SHA-1
	// repositories and 64 for SHA-256 ones.
	Commit string
	// CommitTime is the committer time, in UTC. Everything a release writes
	// that must be reproducible carries this time, never the clock's.
	CommitTime time.Time
	// Remote is the origin's address as an https URL without credentials and
	// without the .git ending; empty when the repository has no origin.
	Remote string
	// Ref is the full ref HEAD points to, such as refs/heads/main; empty when
	// HEAD is detached and no single tag or CI variable names it.
	Ref string
	// Dirty says that the working tree differs from Commit: changed, staged
	// or untracked files that git does not ignore.
	Dirty bool
	// DirtyPaths lists at most ten of the differing paths, for the message.
	DirtyPaths []string
	// Shallow says that history below Commit is cut off.
	Shallow bool
}

// Tag is the image tag of a release of s: the full commit, and for a dirty
// tree the commit with the ending "-dirty", so that the two never meet.
func (s Source) Tag() string {
	if s.Dirty {
		return s.Commit + "-dirty"
	}
	return s.Commit
}
