package localtrust

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// PathTUF is where Handler serves a repository of The Update Framework whose
// one target is trusted_root.json: programs such as Kyverno take a private
// trust root in no other form. TUFRootFile is the root that clients start with.
const (
	PathTUF     = "/tuf/"
	TUFRootFile = "tuf-root.json"
)

// How long the metadata is good for. The root, which is published once, lasts
// as long as the certificates; the timestamp is made anew each day.
const (
	tufYears         = 10
	tufTimestampDays = 7
)

// tuf is the repository: all of it but the timestamp stays the same for as long
// as the local trust does, because its one key follows from the state and the
// signatures of that kind of key are the same each time.
type tuf struct {
	signer  signature.Signer
	created time.Time
	// version counts the trusted roots there have been.
	version int64
	files   map[string][]byte
}

func newTUF(s *state, trustedRoot []byte) (*tuf, error) {
	seed, err := hkdf.Key(sha256.New, s.logKey.Seed(), nil, "hallmark local trust, TUF repository", ed25519.SeedSize)
	if err != nil {
		return nil, err
	}
	key := ed25519.NewKeyFromSeed(seed)
	t := &tuf{created: s.created, version: 1 + int64(len(s.retired)), files: map[string][]byte{}}
	if t.signer, err = signature.LoadSigner(key, crypto.Hash(0)); err != nil {
		return nil, err
	}
	public, err := metadata.KeyFromPublicKey(key.Public())
	if err != nil {
		return nil, err
	}
	until := s.created.AddDate(tufYears, 0, 0)
	root := metadata.Root(until)
	for _, role := range []string{metadata.ROOT, metadata.TARGETS, metadata.SNAPSHOT, metadata.TIMESTAMP} {
		if err := root.Signed.AddKey(public, role); err != nil {
			return nil, err
		}
	}
	const name = "trusted_root.json"
	targets := metadata.Targets(until)
	if targets.Signed.Targets[name], err = metadata.TargetFile().FromBytes(name, trustedRoot, "sha256"); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(trustedRoot)
	t.files["targets/"+hex.EncodeToString(sum[:])+"."+name] = trustedRoot
	t.files["targets/"+name] = trustedRoot
	if t.files["1.root.json"], err = signTUF(t, root); err != nil {
		return nil, err
	}
	targets.Signed.Version = t.version
	snapshot := metadata.Snapshot(until)
	snapshot.Signed.Version = t.version
	snapshot.Signed.Meta["targets.json"] = metadata.MetaFile(t.version)
	if t.files["targets.json"], err = signTUF(t, targets); err != nil {
		return nil, err
	}
	if t.files["snapshot.json"], err = signTUF(t, snapshot); err != nil {
		return nil, err
	}
	// With a number for clients that know consistent snapshots.
	t.files["root.json"] = t.files["1.root.json"]
	for _, role := range []string{"targets", "snapshot"} {
		t.files[fmt.Sprintf("%d.%s.json", t.version, role)] = t.files[role+".json"]
	}
	return t, nil
}

func signTUF[T metadata.Roles](t *tuf, m *metadata.Metadata[T]) ([]byte, error) {
	if _, err := m.Sign(t.signer); err != nil {
		return nil, fmt.Errorf("signing TUF metadata: %w", err)
	}
	return m.ToBytes(false)
}

// root is what clients must have before they first ask.
func (t *tuf) root() []byte { return t.files["1.root.json"] }

// timestamp is today's: its version is the number of days that the local trust
// has existed and of its rotations, so that it only ever grows.
func (t *tuf) timestamp(now time.Time) ([]byte, error) {
	m := metadata.Timestamp(now.UTC().Truncate(24*time.Hour).AddDate(0, 0, tufTimestampDays))
	m.Signed.Version = t.version + max(0, int64(now.Sub(t.created)/(24*time.Hour)))
	m.Signed.Meta["snapshot.json"] = metadata.MetaFile(t.version)
	return signTUF(t, m)
}

func (l *Local) serveTUF(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, PathTUF)
	data, ok := l.tuf.files[name]
	if name == "timestamp.json" {
		var err error
		if data, err = l.tuf.timestamp(l.now()); err != nil {
			refuse(w, http.StatusInternalServerError, err)
			return
		}
		ok = true
	}
	if !ok {
		http.NotFound(w, r)
		return
	}
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
}
