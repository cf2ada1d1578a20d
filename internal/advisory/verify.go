package advisory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/policy"
)

// artifact is a file that is or holds a database, as it was given.
type artifact struct {
	file   string
	source string // what it is called, without credentials
	digest string // "sha256:hex"
	bundle []byte
}

// Verify checks the signature bundle beside an archive, FILE.sigstore.json,
// and returns the archive's digest.
func Verify(ctx context.Context, file string, signer policy.Identity, verify VerifyFunc) (v1.Hash, error) {
	o := Options{Signer: &signer, Verify: verify}
	a := artifact{file: file, source: file}
	if err := o.checkFile(ctx, &a); err != nil {
		return v1.Hash{}, err
	}
	return v1.NewHash(a.digest)
}

// checkFile hashes the artifact and, when a signer is named, checks the bundle
// beside it.
func (o *Options) checkFile(ctx context.Context, a *artifact) error {
	bundle, err := readSmall(a.file + bundleSuffix)
	switch {
	case err == nil:
		a.bundle = bundle
	case !errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("reading signature: %w", err)
	}
	if o.Signer != nil && a.bundle == nil {
		return unsigned(a.source)
	}
	sums, err := hashFile(ctx, a.file)
	if errors.Is(err, os.ErrNotExist) {
		return hint.Add(&Error{Code: Missing, Path: a.source}, "check the path")
	}
	if err != nil {
		return fmt.Errorf("reading %s: %w", a.source, err)
	}
	a.digest = sums.sha256
	return o.checkBundle(ctx, *a)
}

// checkBundle checks an artifact's bundle against its digest; without a signer
// it asks nothing.
func (o *Options) checkBundle(ctx context.Context, a artifact) error {
	if o.Signer == nil {
		return nil
	}
	if a.bundle == nil {
		return unsigned(a.source)
	}
	digest, err := v1.NewHash(a.digest)
	if err != nil {
		return fmt.Errorf("verifying %s: %w", a.source, err)
	}
	if err := o.Verify(ctx, a.bundle, digest, *o.Signer); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return hint.Add(&Error{Code: BadSignature, Path: a.source, Err: err}, "compare advisories.signer in hallmark.yaml with who built the database")
	}
	return nil
}

func unsigned(source string) error {
	err := &Error{Code: Unsigned, Path: source}
	return hint.Add(err, "put its signature beside it as %s, or remove advisories.signer from hallmark.yaml", "FILE"+bundleSuffix)
}

// readSmall reads a file that must not be large.
func readSmall(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxSmall+1))
	if err == nil && len(data) > maxSmall {
		err = fmt.Errorf("%s is larger than %d bytes", file, maxSmall)
	}
	return data, err
}
