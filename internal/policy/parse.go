package policy

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"reflect"
	"unicode/utf8"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// MaxSize is the size in bytes above which a policy file is not read.
const MaxSize = 1 << 20

// Read parses the policy file at path. The error of a file that exists but
// does not hold a policy is an *Error.
func Read(path string) (Policy, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Policy{}, hint.Add(fmt.Errorf("reading policy: %w", err),
			"write a hallmark.yaml there; docs/policy.md has a complete one to start from")
	}
	if err != nil {
		return Policy{}, fmt.Errorf("reading policy: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return Policy{}, fmt.Errorf("reading policy %s: %w", path, err)
	}
	return Parse(path, data)
}

// Parse reads a policy from the bytes of a YAML file; name is what errors and
// Policy.Path call it. Defaults are filled in, so that two policies that mean
// the same are equal. A file that cannot be read is reported with all of its
// problems at once, in an *Error; one that can be read, with everything in it
// that makes no sense.
//
// The YAML accepted is the plain part of YAML 1.2: one document, no anchors,
// aliases, tags or merge keys, and every key at most once.
func Parse(name string, data []byte) (Policy, error) {
	d := decoder{places: map[string]place{}}
	var p Policy
	d.read(data, reflect.ValueOf(&p).Elem())
	if !d.fatal {
		p.fillDefaults()
		c := checker{report: d.problemAt, given: d.given}
		c.policy(p)
	}
	if len(d.problems) > 0 {
		return Policy{}, hint.Add(newError(name, d.problems), "docs/policy.md explains every key, with a complete example")
	}
	sum := sha256.Sum256(data)
	p.Path, p.Digest = name, "sha256:"+hex.EncodeToString(sum[:])
	return p, nil
}

func (d *decoder) read(data []byte, v reflect.Value) {
	switch {
	case len(data) > MaxSize:
		d.stop(place{}, fmt.Sprintf("the file is larger than %d bytes", MaxSize))
	case !utf8.Valid(data):
		d.stop(place{}, "the file is not UTF-8 text")
	default:
		d.document(string(data), v)
	}
}
