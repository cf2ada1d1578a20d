package evidence

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// MaxDepth is how many objects and arrays may lie inside each other in
// anything read as evidence.
const MaxDepth = 128

// Strict refuses JSON that two readers could read differently: text that is
// not exactly one value (RFC 8259), an object that has a key twice (keys that
// differ only in case count as the same, since Go's decoder takes one for the
// other), and nesting deeper than MaxDepth.
//
// A verifier and an admission controller that disagree about which of two
// "subject" keys counts can be played against each other; after Strict there
// is only one reading.
//
// It is here, and not encoding/json, because that neither sees repeated keys
// nor is quick enough for megabytes of SBOM read in the course of one verify.
// A fuzz test holds the two to the same opinion of what JSON is.
func Strict(raw []byte) error {
	_, err := Members(raw)
	return err
}

// Members is Strict that also gives the values of the outermost object by
// key, as slices of raw; nil when the value is no object.
func Members(raw []byte) (map[string]json.RawMessage, error) {
	s := scanner{raw: raw}
	if s.space(); s.at == len(raw) {
		return nil, errors.New("no JSON: the text is empty")
	}
	if err := s.value(); err != nil {
		return nil, err
	}
	if s.space(); s.at != len(raw) {
		return nil, s.malformed("something after the value")
	}
	return s.members, nil
}

// scanner reads JSON once, from left to right.
type scanner struct {
	raw   []byte
	at    int
	depth int
	// keys holds the folded keys of all open objects, innermost last.
	keys    [][]byte
	members map[string]json.RawMessage
}

func (s *scanner) malformed(what string) error {
	return fmt.Errorf("malformed JSON at byte %d: %s", s.at, what)
}

func (s *scanner) peek() byte {
	if s.at < len(s.raw) {
		return s.raw[s.at]
	}
	return 0
}

func (s *scanner) space() {
	for s.at < len(s.raw) {
		switch s.raw[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

func (s *scanner) value() error {
	switch c := s.peek(); {
	case c == '{':
		return s.nested(s.object)
	case c == '[':
		return s.nested(s.array)
	case c == '"':
		_, err := s.text()
		return err
	case c == '-' || isDigit(c):
		return s.number()
	}
	for _, word := range []string{"true", "false", "null"} {
		if bytes.HasPrefix(s.raw[s.at:], []byte(word)) {
			s.at += len(word)
			return nil
		}
	}
	return s.malformed("no value")
}

func (s *scanner) nested(read func() error) error {
	if s.depth == MaxDepth {
		return fmt.Errorf("JSON nested deeper than %d", MaxDepth)
	}
	s.depth++
	defer func() { s.depth-- }()
	return read()
}

func (s *scanner) array() error {
	s.at++
	if s.space(); s.peek() == ']' {
		s.at++
		return nil
	}
	for {
		if err := s.value(); err != nil {
			return err
		}
		if more, err := s.more(']'); !more {
			return err
		}
	}
}

func (s *scanner) object() error {
	s.at++
	outermost := s.depth == 1
	if outermost {
		s.members = map[string]json.RawMessage{}
	}
	known := keyset{from: len(s.keys)}
	defer func() { s.keys = s.keys[:known.from] }()
	if s.space(); s.peek() == '}' {
		s.at++
		return nil
	}
	for {
		key, err := s.key(&known)
		if err != nil {
			return err
		}
		start := s.at
		if err := s.value(); err != nil {
			return err
		}
		if outermost {
			s.members[unquote(key)] = s.raw[start:s.at]
		}
		if more, err := s.more('}'); !more {
			return err
		}
	}
}

// key reads a key and the colon behind it, and refuses one that is known.
func (s *scanner) key(known *keyset) (quoted []byte, err error) {
	if s.peek() != '"' {
		return nil, s.malformed("no key")
	}
	if quoted, err = s.text(); err != nil {
		return nil, err
	}
	if !known.add(s, fold(quoted)) {
		return nil, fmt.Errorf("JSON object has the key %.60q twice", fold(quoted))
	}
	if s.space(); s.peek() != ':' {
		return nil, s.malformed("no colon after a key")
	}
	s.at++
	s.space()
	return quoted, nil
}

// more reads what follows a member: a comma, then there is more, or the end.
func (s *scanner) more(end byte) (bool, error) {
	s.space()
	switch s.peek() {
	case ',':
		s.at++
		s.space()
		return true, nil
	case end:
		s.at++
		return false, nil
	}
	return false, s.malformed("neither a comma nor the end")
}

// text reads a string and gives it with its quotes.
func (s *scanner) text() ([]byte, error) {
	start := s.at
	for s.at++; s.at < len(s.raw); s.at++ {
		switch c := s.raw[s.at]; {
		case c == '"':
			s.at++
			return s.raw[start:s.at], nil
		case c < ' ':
			return nil, s.malformed("control character in a string")
		case c == '\\':
			if err := s.escape(); err != nil {
				return nil, err
			}
		}
	}
	return nil, s.malformed("string without end")
}

// escape reads one escape and stays on its last byte.
func (s *scanner) escape() error {
	s.at++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return nil
	case 'u':
		for range 4 {
			s.at++
			if c := s.peek(); !isDigit(c) && (c|0x20 < 'a' || c|0x20 > 'f') {
				return s.malformed("bad \\u escape")
			}
		}
		return nil
	}
	return s.malformed("bad escape")
}

func (s *scanner) number() error {
	if s.peek() == '-' {
		s.at++
	}
	if s.peek() == '0' {
		s.at++
	} else if !s.digits() {
		return s.malformed("bad number")
	}
	if s.peek() == '.' {
		s.at++
		if !s.digits() {
			return s.malformed("bad number")
		}
	}
	if s.peek()|0x20 == 'e' {
		s.at++
		if c := s.peek(); c == '+' || c == '-' {
			s.at++
		}
		if !s.digits() {
			return s.malformed("bad number")
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.at
	for isDigit(s.peek()) {
		s.at++
	}
	return s.at > start
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// keyset knows the keys of one open object.
type keyset struct {
	// from is where its keys begin in scanner.keys.
	from int
	// many replaces comparing one by one when there are many keys, so that an
	// object of a million keys costs a million steps and not their square.
	many map[string]bool
}

// fewKeys is how many keys are compared one by one.
const fewKeys = 16

func (k *keyset) add(s *scanner, key []byte) bool {
	if k.many == nil {
		for _, other := range s.keys[k.from:] {
			if bytes.Equal(other, key) {
				return false
			}
		}
		if s.keys = append(s.keys, key); len(s.keys)-k.from == fewKeys {
			k.many = make(map[string]bool, 4*fewKeys)
			for _, other := range s.keys[k.from:] {
				k.many[string(other)] = true
			}
		}
		return true
	}
	if k.many[string(key)] {
		return false
	}
	k.many[string(key)] = true
	return true
}

// fold gives the key that stands for all keys Go's decoder takes for the same
// field: unquoted and without case.
func fold(quoted []byte) []byte {
	inner := quoted[1 : len(quoted)-1]
	for _, c := range inner {
		if c == '\\' || c >= 0x80 || 'A' <= c && c <= 'Z' {
			return []byte(strings.ToLower(strings.ToUpper(unquote(quoted))))
		}
	}
	return inner
}

func unquote(quoted []byte) string {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1 : len(quoted)-1])
	}
	var key string
	// The scanner has read the string, so that the decoder can.
	_ = json.Unmarshal(quoted, &key)
	return key
}
