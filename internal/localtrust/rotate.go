package localtrust

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"errors"
	"fmt"
	"path/filepath"
	"time"
)

// retired is what others must know of keys that sign no more: what they signed
// until then stays good. The keys themselves are gone.
type retired struct {
	caChain, tsaChain []*x509.Certificate
	ctKey             *ecdsa.PublicKey
	until             time.Time
}

type retiredJSON struct {
	CAChain  [][]byte  `json:"caChain"`
	TSAChain [][]byte  `json:"tsaChain"`
	CTKey    []byte    `json:"ctKey"` // the public one, in PKIX
	Until    time.Time `json:"until"`
}

func (r retired) encode() (retiredJSON, error) {
	j := retiredJSON{Until: r.until}
	var err error
	if j.CTKey, err = x509.MarshalPKIXPublicKey(r.ctKey); err != nil {
		return j, err
	}
	for _, c := range r.caChain {
		j.CAChain = append(j.CAChain, c.Raw)
	}
	for _, c := range r.tsaChain {
		j.TSAChain = append(j.TSAChain, c.Raw)
	}
	return j, nil
}

func (j retiredJSON) decode() (retired, error) {
	r := retired{until: j.Until}
	key, err := x509.ParsePKIXPublicKey(j.CTKey)
	if err != nil {
		return r, fmt.Errorf("ctKey: %w", err)
	}
	var ok bool
	if r.ctKey, ok = key.(*ecdsa.PublicKey); !ok {
		return r, errors.New("ctKey is not a key of its kind")
	}
	if r.caChain, err = parseRetired(j.CAChain); err != nil {
		return r, fmt.Errorf("caChain: %w", err)
	}
	if r.tsaChain, err = parseRetired(j.TSAChain); err != nil {
		return r, fmt.Errorf("tsaChain: %w", err)
	}
	return r, nil
}

// parseRetired is parseChain without the key, which is gone.
func parseRetired(ders [][]byte) ([]*x509.Certificate, error) {
	if len(ders) == 0 {
		return nil, errors.New("it has no certificate")
	}
	leaf, err := x509.ParseCertificate(ders[0])
	if err != nil {
		return nil, err
	}
	key, ok := leaf.PublicKey.(*ecdsa.PublicKey)
	if !ok {
		return nil, errors.New("its key is not of its kind")
	}
	return parseChain("it", ders, key)
}

// Rotate gives the local trust in the folder dir a new certificate authority, a
// new log of certificates and a new timestamp authority. What was signed before
// stays good: the trusted root names the old ones too, until now. The issuer
// and the transparency log stay as they are. Whoever has the trust open must
// open it again; the trusted root reaches verifiers by the file, or by TUF as a
// newer version.
func Rotate(ctx context.Context, dir string, now time.Time) error {
	if err := rotate(ctx, dir, now); err != nil {
		return fmt.Errorf("rotating the keys of local trust %s: %w", dir, err)
	}
	return nil
}

func rotate(ctx context.Context, dir string, now time.Time) error {
	unlock, err := lockFile(ctx, filepath.Join(dir, "lock"))
	if err != nil {
		return err
	}
	defer unlock()
	s, err := readState(filepath.Join(dir, stateFile))
	if err != nil {
		return err
	}
	now = now.UTC().Truncate(time.Second)
	// The root has seconds; what was signed in this one was signed before.
	s.retired = append(s.retired, retired{s.caChain, s.tsaChain, &s.ctKey.PublicKey, now.Add(time.Second)})
	if err := s.certify(now); err != nil {
		return err
	}
	data, err := s.encode()
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(dir, stateFile), data); err != nil {
		return err
	}
	root, err := s.trustedRoot()
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, TrustedRootFile), root)
}
