package localtrust

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// state is all that must not be lost. It is kept in one file, which is written
// under another name and then renamed: a folder has either a whole state or
// none, whenever its creation was stopped. All else in the folder is the log
// or made from the state again.
type state struct {
	issuer    string
	created   time.Time
	secret    string
	issuerKey *ecdsa.PrivateKey
	caKey     *ecdsa.PrivateKey
	ctKey     *ecdsa.PrivateKey
	tsaKey    *ecdsa.PrivateKey
	logKey    ed25519.PrivateKey
	caChain   []*x509.Certificate // the issuing authority, then its root
	tsaChain  []*x509.Certificate // the signer, then its root
	retired   []retired           // the oldest first
}

// stateFile is the state's file; its presence makes a folder a local trust.
const stateFile = "keys.json"

// stateVersion is the format of the state file; rotatedVersion that of one
// whose keys were rotated, which older programs must not take for whole.
const (
	stateVersion   = 1
	rotatedVersion = 2
)

// maxState bounds the state file, in bytes.
const maxState = 1 << 20

// stateJSON is the state as written: keys in PKCS #8, certificates in DER.
type stateJSON struct {
	Version   int       `json:"version"`
	Issuer    string    `json:"issuer"`
	Created   time.Time `json:"created"`
	Secret    string    `json:"mintSecret"`
	IssuerKey []byte    `json:"issuerKey"`
	CAKey     []byte    `json:"caKey"`
	CTKey     []byte    `json:"ctKey"`
	TSAKey    []byte    `json:"tsaKey"`
	LogKey    []byte    `json:"logKey"`
	CAChain   [][]byte  `json:"caChain"`
	TSAChain  [][]byte  `json:"tsaChain"`

	Retired []retiredJSON `json:"retired,omitempty"`
}

// openState reads the state of dir, or makes one when dir is missing or empty.
// One process at a time does so.
func openState(ctx context.Context, dir, issuer string, now time.Time) (*state, error) {
	if err := ensureDir(dir); err != nil {
		return nil, err
	}
	if _, err := os.Lstat(filepath.Join(dir, stateFile)); errors.Is(err, fs.ErrNotExist) {
		unlock, err := lockFile(ctx, filepath.Join(dir, "lock"))
		if err != nil {
			return nil, err
		}
		defer unlock()
		if err := createState(dir, issuer, now); err != nil {
			return nil, err
		}
	}
	s, err := readState(filepath.Join(dir, stateFile))
	if err != nil {
		return nil, hint.Add(err, "restore %s from a copy, or remove the folder %s to start anew: what it signed will then verify no more", stateFile, dir)
	}
	if issuer != "" && issuer != s.issuer {
		return nil, hint.Add(fmt.Errorf("its issuer is %s, not %s", s.issuer, issuer), "an issuer is for the life of a folder; open it without naming one, or use another folder")
	}
	return s, nil
}

// createState makes the state unless another process just did. The caller
// holds the folder's lock.
func createState(dir, issuer string, now time.Time) error {
	path := filepath.Join(dir, stateFile)
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == "lock":
		case strings.HasPrefix(name, tempPrefix): // of a creation that was stopped
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				return err
			}
		case slices.Contains([]string{"log", "README", TrustedRootFile, TUFRootFile, MintSecretFile, SigningConfigFile}, name):
			return hint.Add(fmt.Errorf("it has %s but no %s", name, stateFile), "restore %s from a copy, or remove the folder %s to start anew", stateFile, dir)
		default:
			return hint.Add(fmt.Errorf("it is not empty and holds no local trust (it has %s)", name), "name a new folder")
		}
	}
	if issuer == "" {
		issuer = Issuer
	}
	s, err := newState(issuer, now)
	if err != nil {
		return err
	}
	data, err := s.encode()
	if err != nil {
		return err
	}
	return writeFile(path, data)
}

// newState makes fresh keys. The two roots' keys are not kept: nothing more is
// to be certified by them.
func newState(issuer string, now time.Time) (*state, error) {
	u, err := url.Parse(issuer)
	if err != nil || u.Hostname() == "" || issuer != u.Scheme+"://"+u.Host || !slices.Contains([]string{"https", "http"}, u.Scheme) {
		return nil, fmt.Errorf("issuer %q is not of the form https://host or http://host:port", issuer)
	}
	s := &state{issuer: issuer, created: now.UTC().Truncate(time.Second), secret: rand.Text()}
	if s.issuerKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return nil, err
	}
	if _, s.logKey, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, err
	}
	return s, s.certify(s.created)
}

// certify makes the authorities, as of now, and the keys they and the log of
// certificates sign with.
func (s *state) certify(now time.Time) (err error) {
	for _, k := range []**ecdsa.PrivateKey{&s.caKey, &s.ctKey, &s.tsaKey} {
		if *k, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
			return err
		}
	}
	if s.caChain, err = newChain(caTemplate(now), &s.caKey.PublicKey, now); err != nil {
		return fmt.Errorf("making the certificate authority: %w", err)
	}
	if s.tsaChain, err = newChain(tsaTemplate(now), &s.tsaKey.PublicKey, now); err != nil {
		return fmt.Errorf("making the timestamp authority: %w", err)
	}
	return nil
}

func (s *state) encode() ([]byte, error) {
	j := stateJSON{Version: stateVersion, Issuer: s.issuer, Created: s.created, Secret: s.secret}
	for _, k := range []struct {
		key crypto.Signer
		to  *[]byte
	}{{s.issuerKey, &j.IssuerKey}, {s.caKey, &j.CAKey}, {s.ctKey, &j.CTKey}, {s.tsaKey, &j.TSAKey}, {s.logKey, &j.LogKey}} {
		der, err := x509.MarshalPKCS8PrivateKey(k.key)
		if err != nil {
			return nil, err
		}
		*k.to = der
	}
	for _, c := range s.caChain {
		j.CAChain = append(j.CAChain, c.Raw)
	}
	for _, c := range s.tsaChain {
		j.TSAChain = append(j.TSAChain, c.Raw)
	}
	for _, r := range s.retired {
		one, err := r.encode()
		if err != nil {
			return nil, err
		}
		j.Version, j.Retired = rotatedVersion, append(j.Retired, one)
	}
	return json.MarshalIndent(j, "", "  ")
}

// readState reads and checks a state. Its errors name the field and never hold
// a key.
func readState(path string) (*state, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxState))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", stateFile, err)
	}
	var j stateJSON
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(&j); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("reading %s: it is not whole JSON", stateFile)
		}
		return nil, fmt.Errorf("reading %s: %w", stateFile, err)
	}
	if j.Version != stateVersion && j.Version != rotatedVersion {
		return nil, fmt.Errorf("reading %s: version %d, this program knows %d and %d", stateFile, j.Version, stateVersion, rotatedVersion)
	}
	if j.Issuer == "" || len(j.Secret) < 26 {
		return nil, fmt.Errorf("reading %s: issuer or mintSecret is missing", stateFile)
	}
	return j.decode()
}

func (j stateJSON) decode() (*state, error) {
	s := &state{issuer: j.Issuer, created: j.Created, secret: j.Secret}
	var err error
	for _, k := range []struct {
		name string
		der  []byte
		to   **ecdsa.PrivateKey
	}{{"issuerKey", j.IssuerKey, &s.issuerKey}, {"caKey", j.CAKey, &s.caKey}, {"ctKey", j.CTKey, &s.ctKey}, {"tsaKey", j.TSAKey, &s.tsaKey}} {
		if *k.to, err = parseKey[*ecdsa.PrivateKey](k.name, k.der); err != nil {
			return nil, err
		}
	}
	if s.logKey, err = parseKey[ed25519.PrivateKey]("logKey", j.LogKey); err != nil {
		return nil, err
	}
	if s.caChain, err = parseChain("caChain", j.CAChain, &s.caKey.PublicKey); err != nil {
		return nil, err
	}
	if s.tsaChain, err = parseChain("tsaChain", j.TSAChain, &s.tsaKey.PublicKey); err != nil {
		return nil, err
	}
	for i, r := range j.Retired {
		one, err := r.decode()
		if err != nil {
			return nil, fmt.Errorf("reading %s: retired %d: %w", stateFile, i, err)
		}
		s.retired = append(s.retired, one)
	}
	return s, nil
}

func parseKey[K crypto.Signer](name string, der []byte) (K, error) {
	key, err := x509.ParsePKCS8PrivateKey(der)
	k, ok := key.(K)
	if err != nil || !ok {
		return k, fmt.Errorf("reading %s: %s is not a key of its kind", stateFile, name)
	}
	return k, nil
}

// parseChain reads a certificate and its root, and checks that they belong to
// each other and to the key.
func parseChain(name string, ders [][]byte, key *ecdsa.PublicKey) ([]*x509.Certificate, error) {
	if len(ders) != 2 {
		return nil, fmt.Errorf("reading %s: %s has %d certificates, not 2", stateFile, name, len(ders))
	}
	var chain []*x509.Certificate
	for _, der := range ders {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %s: %w", stateFile, name, err)
		}
		chain = append(chain, c)
	}
	if err := chain[0].CheckSignatureFrom(chain[1]); err != nil {
		return nil, fmt.Errorf("reading %s: %s: %w", stateFile, name, err)
	}
	if !key.Equal(chain[0].PublicKey) {
		return nil, fmt.Errorf("reading %s: %s is not of its key", stateFile, name)
	}
	return chain, nil
}

// fingerprint names a key in eight characters, for certificates' names.
func fingerprint(key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return ""
	}
	h := crypto.SHA256.New()
	h.Write(der)
	return strings.ToLower(base64.RawURLEncoding.EncodeToString(h.Sum(nil))[:8])
}
