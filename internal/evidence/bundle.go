package evidence

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

const bundleMediaTypePrefix = "application/vnd.dev.sigstore.bundle"

// IsBundleMediaType says that a media or artifact type is a Sigstore
// bundle's, of any version.
func IsBundleMediaType(mediaType string) bool {
	return strings.HasPrefix(mediaType, bundleMediaTypePrefix)
}

// ParseBundle looks into a Sigstore bundle (versions 0.1 to 0.3) as far as is
// needed to say what it holds. It verifies nothing: what it gives is a hint
// for ordering and display until package verify has judged the bundle.
//
// A bundle over a message, as a signed file has, gives no predicate type and
// the digest the bundle states.
func ParseBundle(raw []byte) (Signed, error) {
	signed, err := parseBundle(raw)
	if err != nil {
		return Signed{}, fmt.Errorf("reading Sigstore bundle: %w", err)
	}
	return signed, nil
}

func parseBundle(raw []byte) (Signed, error) {
	if len(raw) > MaxBundle {
		return Signed{}, fmt.Errorf("%d bytes are more than the %d allowed", len(raw), MaxBundle)
	}
	fields, err := Members(raw)
	if err != nil {
		return Signed{}, err
	}
	var mediaType string
	if err := field(fields, "mediaType", &mediaType); err != nil {
		return Signed{}, err
	}
	if !IsBundleMediaType(mediaType) {
		return Signed{}, fmt.Errorf("media type %.80q is not a bundle's", mediaType)
	}
	envelope, message := fields["dsseEnvelope"], fields["messageSignature"]
	switch {
	case envelope != nil && message != nil:
		return Signed{}, errors.New("both an envelope and a message signature")
	case message != nil:
		return ofMessage(raw, message)
	case envelope != nil:
		return ofEnvelope(raw, envelope)
	}
	return Signed{}, errors.New("neither an envelope nor a message signature")
}

// Statement decodes the statement in the bundle's envelope, without verifying
// its signature.
func (s Signed) Statement() (Statement, error) {
	fields, err := Members(s.Bundle)
	if err != nil {
		return Statement{}, fmt.Errorf("reading Sigstore bundle: %w", err)
	}
	if fields["dsseEnvelope"] == nil {
		return Statement{}, errors.New("reading Sigstore bundle: no envelope")
	}
	statement, err := inEnvelope(fields["dsseEnvelope"])
	if err != nil {
		return Statement{}, fmt.Errorf("reading Sigstore bundle: %w", err)
	}
	return statement, nil
}

func inEnvelope(envelope []byte) (Statement, error) {
	fields, err := Members(envelope)
	if err != nil {
		return Statement{}, err
	}
	var payloadType string
	if err := field(fields, "payloadType", &payloadType); err != nil {
		return Statement{}, err
	}
	if payloadType != PayloadType {
		return Statement{}, fmt.Errorf("payload type %.80q is not %s", payloadType, PayloadType)
	}
	payload, err := decodeBase64(fields["payload"])
	if err != nil {
		return Statement{}, fmt.Errorf("payload: %w", err)
	}
	return DecodeStatement(payload)
}

func ofEnvelope(raw, envelope []byte) (Signed, error) {
	statement, err := inEnvelope(envelope)
	if err != nil {
		return Signed{}, err
	}
	return Signed{PredicateType: statement.PredicateType, Subjects: statement.Digests(), Bundle: raw}, nil
}

// field reads one member into a value; an absent one leaves it as it is.
func field(fields map[string]json.RawMessage, key string, into any) error {
	if fields[key] == nil {
		return nil
	}
	if err := json.Unmarshal(fields[key], into); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// decodeBase64 reads a JSON string of base64. Only a payload written with
// escapes goes through the decoder; others are megabytes without any.
func decodeBase64(quoted []byte) ([]byte, error) {
	if len(quoted) < 2 || quoted[0] != '"' {
		return nil, errors.New("no text")
	}
	inner := quoted[1 : len(quoted)-1]
	if bytes.IndexByte(inner, '\\') >= 0 {
		inner = []byte(unquote(quoted))
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(inner)))
	n, err := base64.StdEncoding.Decode(out, inner)
	return out[:n], err
}

func ofMessage(raw, message []byte) (Signed, error) {
	var peek struct {
		Digest struct {
			Algorithm string `json:"algorithm"`
			Digest    []byte `json:"digest"`
		} `json:"messageDigest"`
	}
	if err := json.Unmarshal(message, &peek); err != nil {
		return Signed{}, err
	}
	if peek.Digest.Algorithm != "SHA2_256" || len(peek.Digest.Digest) != sha256.Size {
		return Signed{}, fmt.Errorf("message digest %.20q of %d bytes is not SHA-256", peek.Digest.Algorithm, len(peek.Digest.Digest))
	}
	digest := v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(peek.Digest.Digest)}
	return Signed{Subjects: []v1.Hash{digest}, Bundle: raw}, nil
}

// ReadLines reads bundles written one to a line (JSON lines), as
// gh attestation download and WriteLines write them. One bundle over several
// lines is read too. Empty lines are skipped; anything else that is not a
// bundle is an error that names the line.
func ReadLines(r io.Reader) ([]Signed, error) {
	all, err := io.ReadAll(io.LimitReader(r, MaxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading bundles: %w", err)
	}
	if len(all) > MaxFile {
		return nil, fmt.Errorf("reading bundles: more than the %d bytes allowed", MaxFile)
	}
	if whole, err := ParseBundle(all); err == nil {
		return []Signed{whole}, nil
	}
	var out []Signed
	number := 0
	for line := range bytes.Lines(all) {
		number++
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		signed, err := ParseBundle(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", number, err)
		}
		out = append(out, signed)
	}
	if len(out) == 0 {
		return nil, errors.New("reading bundles: no bundle in it")
	}
	return out, nil
}

// MaxFile is the size of a file of bundles, in bytes.
const MaxFile = 4 * MaxBundle

// WriteLines writes bundles one to a line, for ReadLines and for
// gh attestation verify.
func WriteLines(w io.Writer, signed []Signed) error {
	for _, s := range signed {
		var line bytes.Buffer
		if err := json.Compact(&line, s.Bundle); err != nil {
			return fmt.Errorf("writing bundle %s: %w", s.PredicateType, err)
		}
		line.WriteByte('\n')
		if _, err := w.Write(line.Bytes()); err != nil {
			return fmt.Errorf("writing bundle %s: %w", s.PredicateType, err)
		}
	}
	return nil
}
