package verify

import (
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/verdict"
)

// Digest is Blob for a file whose SHA-256 the caller has computed itself. It
// judges identities only, since some keys sign files and not digests.
func Digest(name string, digest v1.Hash, raw []byte, o BlobOptions) verdict.Verdict {
	o.Key = nil
	b := blob{BlobOptions: o, digest: digest}
	return verdict.Verdict{Subject: shown(name), Digest: digest.String(), At: o.Now.UTC(), Checks: b.judge(raw)}
}
