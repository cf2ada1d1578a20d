package evidence

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// StatementTypeV01 is the type of an in-toto Statement, version 0.1. Hallmark
// never writes it; cosign attest does, so it is read.
const StatementTypeV01 = "https://in-toto.io/Statement/v0.1"

// Bounds of what is read. A statement or bundle beyond them is refused before
// it is parsed.
const (
	// MaxStatement is the size of a statement, in bytes. The largest
	// predicate is an SBOM with a component for every file.
	MaxStatement = 48 << 20
	// MaxBundle is the size of a bundle, in bytes: a statement in base64 and
	// what proves it.
	MaxBundle = MaxStatement/3*4 + 1<<20
	// MaxSubjects is how many subjects a statement may have; an index and
	// its platforms need a dozen.
	MaxSubjects = 1024
)

// Payload gives the bytes that are signed: the statement's JSON. It refuses
// what DecodeStatement would refuse to read.
func (s Statement) Payload() ([]byte, error) {
	payload, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("encoding statement %s: %w", s.PredicateType, err)
	}
	if _, err := DecodeStatement(payload); err != nil {
		return nil, err
	}
	return payload, nil
}

// DecodeStatement reads an in-toto statement of version 1 or 0.1 strictly: see
// Strict; besides, the keys must be spelt exactly, there must be a predicate
// type and a subject, and each subject must have a digest in lower-case hex.
// The predicate is kept as it came, unread; it is null when there is none.
func DecodeStatement(payload []byte) (Statement, error) {
	s, err := decodeStatement(payload)
	if err != nil {
		return Statement{}, fmt.Errorf("reading in-toto statement: %w", err)
	}
	return s, nil
}

func decodeStatement(payload []byte) (Statement, error) {
	if len(payload) > MaxStatement {
		return Statement{}, fmt.Errorf("%d bytes are more than the %d allowed", len(payload), MaxStatement)
	}
	fields, err := Members(payload)
	if err != nil {
		return Statement{}, err
	}
	for key := range fields {
		if !statementKey(key) {
			return Statement{}, fmt.Errorf("unknown key %.40q", key)
		}
	}
	s := Statement{Predicate: fields["predicate"]}
	for key, into := range map[string]any{
		"_type": &s.Type, "predicateType": &s.PredicateType, "subject": &s.Subject,
	} {
		if len(fields[key]) == 0 {
			return Statement{}, fmt.Errorf("no %s", key)
		}
		if err := json.Unmarshal(fields[key], into); err != nil {
			return Statement{}, fmt.Errorf("%s: %w", key, err)
		}
	}
	if s.Predicate == nil {
		s.Predicate = json.RawMessage("null")
	}
	return s, s.check()
}

func statementKey(key string) bool {
	switch key {
	case "_type", "subject", "predicateType", "predicate":
		return true
	}
	return false
}

// isDigest says that text is lower-case hex of the length of some hash: MD5's
// at least, SHA-512's at most.
func isDigest(text string) bool {
	return len(text) >= 32 && len(text) <= 128 && strings.Trim(text, "0123456789abcdef") == ""
}

func (s Statement) check() error {
	switch {
	case s.Type != StatementType && s.Type != StatementTypeV01:
		return fmt.Errorf("type %.80q is not a statement's", s.Type)
	case s.PredicateType == "" || strings.ContainsAny(s.PredicateType, " \t\r\n"):
		return fmt.Errorf("predicate type %.80q is not a URI", s.PredicateType)
	case len(s.Subject) == 0:
		return errors.New("no subject")
	case len(s.Subject) > MaxSubjects:
		return fmt.Errorf("%d subjects are more than the %d allowed", len(s.Subject), MaxSubjects)
	}
	for _, sub := range s.Subject {
		if len(sub.Digest) == 0 {
			return fmt.Errorf("subject %.80q has no digest", sub.Name)
		}
		for algorithm, digest := range sub.Digest {
			if !isDigest(digest) {
				return fmt.Errorf("subject %.80q has a %.20s digest that is not lower-case hex", sub.Name, algorithm)
			}
		}
	}
	return nil
}

// Digests lists the SHA-256 digests of the statement's subjects, in order.
func (s Statement) Digests() []v1.Hash {
	var out []v1.Hash
	for _, sub := range s.Subject {
		if digest := sub.Digest["sha256"]; digest != "" {
			out = append(out, v1.Hash{Algorithm: "sha256", Hex: digest})
		}
	}
	return out
}
