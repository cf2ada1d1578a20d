package localtrust

import (
	"bytes"
	"crypto"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"slices"
	"time"

	prototrustroot "github.com/sigstore/protobuf-specs/gen/pb-go/trustroot/v1"
	"github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// origin is the name of the log, which begins its checkpoints. Verifiers take
// it from the host of the log's URL in the trusted root, so it is the issuer's
// host wherever the log is served.
func (s *state) origin() string {
	u, err := url.Parse(s.issuer)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// logID names the log in its entries: the checkpoint key's id at full length.
func logID(origin string, key ed25519.PrivateKey) ([]byte, error) {
	_, id, err := note.KeyHash(origin, key.Public())
	return id, err
}

// trustedRoot makes the trusted_root.json of the state, the same bytes each
// time.
func (s *state) trustedRoot() ([]byte, error) {
	rekorID, err := logID(s.origin(), s.logKey)
	if err != nil {
		return nil, fmt.Errorf("making trusted root: %w", err)
	}
	rekor := &root.TransparencyLog{
		BaseURL: s.issuer, ID: rekorID, ValidityPeriodStart: s.created, HashFunc: crypto.SHA256, PublicKey: s.logKey.Public(),
	}
	var authorities []root.CertificateAuthority
	var stampers []root.TimestampingAuthority
	ctlogs := map[string]*root.TransparencyLog{}
	for _, r := range append(slices.Clone(s.retired), retired{s.caChain, s.tsaChain, &s.ctKey.PublicKey, time.Time{}}) {
		from := r.caChain[0].NotBefore
		id, err := keyID(r.ctKey)
		if err != nil {
			return nil, fmt.Errorf("making trusted root: %w", err)
		}
		ctlogs[hex.EncodeToString(id[:])] = &root.TransparencyLog{
			BaseURL: s.issuer, ID: id[:], ValidityPeriodStart: from, ValidityPeriodEnd: r.until, HashFunc: crypto.SHA256, PublicKey: r.ctKey,
		}
		authorities = append(authorities, &root.FulcioCertificateAuthority{
			Root: r.caChain[1], Intermediates: r.caChain[:1], ValidityPeriodStart: from, ValidityPeriodEnd: r.until, URI: s.issuer,
		})
		stampers = append(stampers, &root.SigstoreTimestampingAuthority{
			Root: r.tsaChain[1], Leaf: r.tsaChain[0], ValidityPeriodStart: from, ValidityPeriodEnd: r.until, URI: s.issuer + pathTimestamp,
		})
	}
	tr, err := root.NewTrustedRoot(root.TrustedRootMediaType01, authorities, ctlogs, stampers,
		map[string]*root.TransparencyLog{hex.EncodeToString(rekorID): rekor})
	if err != nil {
		return nil, fmt.Errorf("making trusted root: %w", err)
	}
	return indent(tr)
}

// SigningConfig makes the signing_config.json for a signer that reaches
// Handler at the URL base, such as http://127.0.0.1:8080.
func (l *Local) SigningConfig(base string) ([]byte, error) {
	from := l.state.caChain[0].NotBefore
	at := func(path string, version uint32) root.Service {
		return root.Service{URL: base + path, MajorAPIVersion: version, ValidityPeriodStart: from, Operator: organization}
	}
	any := root.ServiceConfiguration{Selector: prototrustroot.ServiceSelector_ANY}
	sc, err := root.NewSigningConfig(root.SigningConfigMediaType02,
		[]root.Service{at("", 1)}, []root.Service{at("", 1)},
		[]root.Service{at("", 2)}, any,
		[]root.Service{at(pathTimestamp, 1)}, any)
	if err != nil {
		return nil, fmt.Errorf("making signing config: %w", err)
	}
	return indent(sc)
}

// Serving writes SigningConfigFile for the URL base, at which Handler is about
// to be served.
func (l *Local) Serving(base string) error {
	sc, err := l.SigningConfig(base)
	if err != nil {
		return err
	}
	return ensureFile(filepath.Join(l.dir, SigningConfigFile), sc)
}

// publish writes what others read in the folder, where it is missing.
func (l *Local) publish() error {
	for name, data := range map[string][]byte{
		TrustedRootFile: l.root,
		TUFRootFile:     l.tuf.root(),
		MintSecretFile:  []byte(l.state.secret + "\n"),
		"README":        fmt.Appendf(nil, readme, l.state.issuer, l.state.created.Format(time.RFC3339)),
	} {
		if err := ensureFile(filepath.Join(l.dir, name), data); err != nil {
			return err
		}
	}
	return nil
}

// indent writes protocol buffers' JSON, whose spacing is random by design, the
// same each time.
func indent(m json.Marshaler) ([]byte, error) {
	data, err := m.MarshalJSON()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// readme is put in the folder, for whoever finds it.
const readme = `This folder is a local trust of hallmark: an OIDC issuer, a certificate
authority, a transparency log and a timestamp authority, for one machine.

  issuer   %s
  created  %s

  keys.json            the private keys; whoever reads this file can sign as
                       anybody, at any time, and rewrite the log
  mint-secret          what a request to the served issuer must show
  trusted-root.json    what verifiers need; give it to whom you like
  signing-config.json  what signers need while the services are served
  log/                 the transparency log (C2SP tlog-tiles)

It protects as the public Sigstore does against changes made by those who can
not read this folder. It does not protect against those who can, the log has no
witness, the certificate timestamps name a log that keeps nothing, and the
GitHub identities in its certificates were checked by nobody. Do not let
another machine trust it for more than you would trust this folder.

Removing the folder ends the trust: what was signed with it verifies only for
those who kept trusted-root.json, and nothing new can be signed under it.
`
