// Package trust answers two questions about a Sigstore instance: whom a
// verifier believes (the trusted root), and where a signer goes (the services).
//
// The public instance is found through its TUF repository, from a first root
// that is part of this program; a private one through files or its own TUF
// repository; the local trust through the file in its folder. What TUF gives
// is kept in a cache and asked for again once a day. Without a network the
// cache is believed for as long as its signed metadata says, and not longer.
//
// The package verifies no evidence, and does not open the local trust.
package trust

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

// Options says where things are on this machine.
type Options struct {
	// PolicyDir is what relative paths of the policy are relative to.
	PolicyDir string
	// CacheDir is the folder of the TUF caches; needed unless all that the
	// policy names are files.
	CacheDir string
	// Transport reaches TUF repositories; nil for http.DefaultTransport.
	Transport http.RoundTripper
	// Offline leaves the network alone: only the cache and files are read.
	Offline bool
	// Now is the clock by which services are chosen; nil for the machine's.
	// TUF metadata expires by the machine's clock whatever is set here.
	Now func() time.Time
}

func (o Options) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

func (o Options) path(name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(o.PolicyDir, name)
}

// Anchor is a trusted root and where it came from.
type Anchor struct {
	// Material is what evidence is verified against.
	Material root.TrustedMaterial
	// JSON is the trusted root as it was read.
	JSON []byte
	// Source names the file or the TUF repository.
	Source string
	// Checked is when the TUF repository was last asked; zero for a file.
	Checked time.Time
	// Expires is when the TUF metadata stops being believed unless it is
	// fetched anew; zero for a file, which says nothing of the kind.
	Expires time.Time
}

// Age is how long ago the TUF repository was asked, and 0 for a file.
func (a Anchor) Age(now time.Time) time.Duration {
	if a.Checked.IsZero() {
		return 0
	}
	return now.Sub(a.Checked)
}

// Authorities gives the latest end of a certificate authority of the root, and
// whether one is valid at a time.
func (a Anchor) Authorities(at time.Time) (last time.Time, living bool) {
	for _, authority := range a.Material.FulcioCertificateAuthorities() {
		fulcio, known := authority.(*root.FulcioCertificateAuthority)
		if !known {
			continue
		}
		end := fulcio.Root.NotAfter
		if !fulcio.ValidityPeriodEnd.IsZero() && fulcio.ValidityPeriodEnd.Before(end) {
			end = fulcio.ValidityPeriodEnd
		}
		if end.After(last) {
			last = end
		}
		living = living || at.Before(end) && !at.Before(fulcio.ValidityPeriodStart)
	}
	return last, living
}

// ErrUnreachable says that a TUF repository is needed and was not reached.
var ErrUnreachable = errors.New("not reachable")

// ErrExpired says that what a TUF repository gave is too old to believe.
var ErrExpired = errors.New("expired")

// maxFile bounds a trusted root or signing config, in bytes. The public
// instance's are below 20 KiB.
const maxFile = 4 << 20

// localRoot is the file of the local trust that verifiers need.
const localRoot = "trusted-root.json"

// Load gives the trusted root that the policy names.
func Load(ctx context.Context, t policy.Trust, opts Options) (Anchor, error) {
	var a Anchor
	var err error
	switch {
	case t.Root == policy.RootPublic:
		a, err = fromTUF(ctx, publicRepository(), opts)
	case t.Root == policy.RootPrivate && t.TUFMirror != "":
		var r repository
		if r, err = privateRepository(t, opts); err == nil {
			a, err = fromTUF(ctx, r, opts)
		}
	case t.Root == policy.RootPrivate && t.TrustedRoot != "":
		a, err = fromFile(opts.path(t.TrustedRoot))
	case t.Root == policy.RootLocal:
		a, err = fromFile(filepath.Join(opts.path(t.State), localRoot))
		if errors.Is(err, fs.ErrNotExist) {
			err = hint.Add(err, "there is no local trust in %s yet; a release with local trust makes it", opts.path(t.State))
		}
	default:
		err = fmt.Errorf("the policy names no trusted root (trust.root is %q)", t.Root)
	}
	if err != nil {
		return Anchor{}, fmt.Errorf("loading trusted root: %w", err)
	}
	return a, nil
}

// fromFile reads a trusted root.
func fromFile(path string) (Anchor, error) {
	data, err := read(path)
	if err != nil {
		return Anchor{}, err
	}
	return parse(data, path)
}

// parse reads a trusted root, and refuses one with which nothing can verify.
func parse(data []byte, source string) (Anchor, error) {
	tr, err := root.NewTrustedRootFromJSON(data)
	if err != nil {
		return Anchor{}, hint.Add(fmt.Errorf("reading %s: %w", source, err), "it must be a Sigstore trusted_root.json; cosign trusted-root create makes one")
	}
	switch {
	case len(tr.FulcioCertificateAuthorities()) == 0:
		err = errors.New("certificateAuthorities is empty")
	case len(tr.RekorLogs()) == 0 && len(tr.TimestampingAuthorities()) == 0:
		err = errors.New("tlogs and timestampAuthorities are both empty, so no signature has a time")
	}
	if err != nil {
		return Anchor{}, fmt.Errorf("reading %s: %w", source, err)
	}
	return Anchor{Material: tr, JSON: data, Source: source}, nil
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("reading %s: longer than %d bytes", path, maxFile)
	}
	return data, nil
}
