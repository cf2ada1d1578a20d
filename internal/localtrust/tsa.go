package localtrust

import (
	"crypto"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"time"

	"github.com/digitorus/timestamp"
)

// oidPolicy is the policy under which timestamps are given: Sigstore's own.
var oidPolicy = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2}

// tsaTemplate is the timestamp authority's signer.
func tsaTemplate(created time.Time) *x509.Certificate {
	usage, err := asn1.Marshal([]asn1.ObjectIdentifier{oidTimestamping})
	if err != nil {
		panic(err) // of constants
	}
	return &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{organization}, CommonName: "timestamp authority"},
		NotBefore:             created.Add(-time.Minute),
		NotAfter:              created.AddDate(authorityYears, 0, 0),
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{2, 5, 29, 37}, Critical: true, Value: usage},
		},
	}
}

// timestamp answers a timestamp query (RFC 3161).
func (l *Local) timestamp(query []byte) ([]byte, error) {
	q, err := timestamp.ParseRequest(query)
	if err != nil {
		return nil, fmt.Errorf("reading timestamp query: %w", err)
	}
	switch q.HashAlgorithm {
	case crypto.SHA256, crypto.SHA384, crypto.SHA512:
	default:
		return nil, fmt.Errorf("reading timestamp query: hash %s is not taken", q.HashAlgorithm)
	}
	if len(q.HashedMessage) != q.HashAlgorithm.Size() {
		return nil, fmt.Errorf("reading timestamp query: %d bytes are not a %s digest", len(q.HashedMessage), q.HashAlgorithm)
	}
	t := timestamp.Timestamp{
		HashAlgorithm:     q.HashAlgorithm,
		HashedMessage:     q.HashedMessage,
		Nonce:             q.Nonce,
		Time:              l.now().UTC(),
		Accuracy:          time.Second,
		Policy:            oidPolicy,
		AddTSACertificate: q.Certificates,
	}
	response, err := t.CreateResponseWithOpts(l.state.tsaChain[0], l.state.tsaKey, crypto.SHA256)
	if err != nil {
		return nil, fmt.Errorf("making timestamp: %w", err)
	}
	return response, nil
}
