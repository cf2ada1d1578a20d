package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/verdict"
	"github.com/hallmark-sh/hallmark/internal/verify"
)

// maxKey is the most a public key file may hold, in bytes.
const maxKey = 64 << 10

// judgeFile judges a file by the one bundle that signs it.
func (a *app) judgeFile(ctx context.Context, path string, f verifyFlags, o verify.Options) (verdict.Verdict, error) {
	if len(f.bundles) != 1 {
		err := fmt.Errorf("%s is a file, and a file is verified by one bundle", path)
		return verdict.Verdict{}, misuse{hint.Add(err, "name it with --bundle %s.sigstore.json", path)}
	}
	bundle, err := readBounded(f.bundles[0], evidence.MaxBundle)
	if err != nil {
		return verdict.Verdict{}, err
	}
	by := verify.BlobOptions{Identity: o.Policy.Identity, Anchor: o.Anchor, Now: o.Now}
	if f.key != "" {
		text, err := readBounded(f.key, maxKey)
		if err != nil {
			return verdict.Verdict{}, err
		}
		if by.Key, err = verify.ParseKey(text); err != nil {
			return verdict.Verdict{}, err
		}
	}
	file, err := os.Open(path)
	if err != nil {
		return verdict.Verdict{}, err
	}
	defer file.Close()
	return verify.Blob(ctx, path, file, bundle, by)
}

var errTooLarge = errors.New("larger than it may be")

// readBounded reads a whole file that must not be larger than limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%w: more than %d bytes", errTooLarge, limit)
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	return data, nil
}
