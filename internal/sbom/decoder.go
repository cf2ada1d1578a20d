package sbom

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strings"
)

// decoder walks a document token by token.
type decoder struct {
	json   *json.Decoder
	sum    Summary
	format string
	saw    map[string]bool
	depth  int
}

// decoded is what is read of one component.
type decoded struct {
	typ, name, version, purl string
	sha256                   string
}

func (d *decoder) document() error {
	d.saw = map[string]bool{}
	err := d.object(func(key string) (err error) {
		switch key {
		case "bomFormat":
			d.format, err = d.text(key)
		case "specVersion":
			d.sum.SpecVersion, err = d.text(key)
		case "serialNumber":
			d.sum.SerialNumber, err = d.text(key)
		case "metadata":
			err = d.metadata()
		case "components":
			err = d.components()
		default:
			// Only the keys check asks about are remembered, so that a
			// document of a million keys costs nothing.
			if len(key) < 16 && len(d.saw) < 64 {
				d.saw[key] = true
			}
			return d.skip()
		}
		if err == nil && d.saw[key] {
			return fmt.Errorf("%w: %q occurs twice", ErrFormat, key)
		}
		d.saw[key] = true
		return err
	})
	if err != nil {
		return err
	}
	if _, err := d.json.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: more follows the document", ErrFormat)
	}
	return d.check()
}

func (d *decoder) metadata() error {
	seen := false
	return d.object(func(key string) error {
		if key != "component" {
			return d.skip()
		}
		if seen {
			return fmt.Errorf("%w: %q occurs twice", ErrFormat, "metadata.component")
		}
		seen = true
		c, err := d.component()
		if err != nil {
			return err
		}
		d.sum.Subject = c.subject()
		return nil
	})
}

func (d *decoder) components() error {
	return d.array(func() error {
		c, err := d.component()
		if err != nil {
			return err
		}
		if c.typ == "operating-system" && d.sum.Distro == "" {
			d.sum.Distro = strings.TrimSpace(c.name + " " + c.version)
		}
		if isPackage(c.typ) {
			d.sum.Packages[typeOf(c.purl)]++
		}
		return nil
	})
}

// component reads one component; those nested in it are counted on the way.
func (d *decoder) component() (c decoded, err error) {
	seen := map[string]bool{}
	err = d.object(func(key string) (err error) {
		switch key {
		case "type":
			c.typ, err = d.text(key)
		case "name":
			c.name, err = d.text(key)
		case "version":
			c.version, err = d.text(key)
		case "purl":
			c.purl, err = d.text(key)
		case "hashes":
			c.sha256, err = d.hashes()
		case "components":
			err = d.components()
		default:
			return d.skip()
		}
		if err == nil && seen[key] {
			return fmt.Errorf("%w: %q occurs twice in a component", ErrFormat, key)
		}
		seen[key] = true
		return err
	})
	return c, err
}

// hashes gives the SHA-256 of a component, or empty. Two different ones are an
// error: either could be the one a reader believes.
func (d *decoder) hashes() (sha256 string, err error) {
	err = d.array(func() error {
		var alg, content string
		err := d.object(func(key string) (err error) {
			switch key {
			case "alg":
				alg, err = d.text(key)
			case "content":
				content, err = d.text(key)
			default:
				err = d.skip()
			}
			return err
		})
		if err != nil || alg != "SHA-256" {
			return err
		}
		if sha256 != "" && sha256 != content {
			return fmt.Errorf("%w: a component has two SHA-256 hashes", ErrFormat)
		}
		sha256 = content
		return nil
	})
	return sha256, err
}

func (c decoded) subject() Subject {
	s := Subject{Type: c.typ, Name: c.name, Version: c.version, PURL: c.purl}
	version := ""
	if rest, _, _ := strings.Cut(c.purl, "?"); rest != "" {
		_, version, _ = strings.Cut(rest, "@")
		version, _ = url.PathUnescape(version)
	}
	for _, text := range []string{"sha256:" + c.sha256, c.version, version} {
		if at := digest(text); at != "" && !slices.Contains(s.Digests, at) {
			s.Digests = append(s.Digests, at)
		}
	}
	return s
}

// object calls field for each key of the next value, which must be an object;
// field must consume the value. A null is an object without fields.
func (d *decoder) object(field func(key string) error) error {
	tok, err := d.json.Token()
	if err != nil || tok == nil {
		return err
	}
	if tok != json.Delim('{') {
		return fmt.Errorf("%w: %v where an object was expected", ErrFormat, describe(tok))
	}
	if err := d.enter(); err != nil {
		return err
	}
	for d.json.More() {
		key, err := d.json.Token()
		if err != nil {
			return err
		}
		if err := field(key.(string)); err != nil {
			return err
		}
	}
	return d.leave()
}

// array calls element for each element of the next value, which must be an
// array; element must consume it. A null is an empty array.
func (d *decoder) array(element func() error) error {
	tok, err := d.json.Token()
	if err != nil || tok == nil {
		return err
	}
	if tok != json.Delim('[') {
		return fmt.Errorf("%w: %v where an array was expected", ErrFormat, describe(tok))
	}
	if err := d.enter(); err != nil {
		return err
	}
	for d.json.More() {
		if err := element(); err != nil {
			return err
		}
	}
	return d.leave()
}

// text reads a string; a null is an empty one.
func (d *decoder) text(key string) (string, error) {
	tok, err := d.json.Token()
	if err != nil || tok == nil {
		return "", err
	}
	s, ok := tok.(string)
	if !ok {
		return "", fmt.Errorf("%w: %s is %v, not a string", ErrFormat, key, describe(tok))
	}
	if len(s) > maxText {
		return "", fmt.Errorf("%w: %s is longer than %d bytes", ErrFormat, key, maxText)
	}
	return s, nil
}

// skip passes over one value of any kind.
func (d *decoder) skip() error {
	start := d.depth
	for {
		tok, err := d.json.Token()
		if err != nil {
			return err
		}
		switch tok {
		case json.Delim('{'), json.Delim('['):
			if err := d.enter(); err != nil {
				return err
			}
		case json.Delim('}'), json.Delim(']'):
			d.depth--
		}
		if d.depth == start {
			return nil
		}
	}
}

func (d *decoder) enter() error {
	if d.depth++; d.depth > maxDepth {
		return fmt.Errorf("%w: nested deeper than %d", ErrFormat, maxDepth)
	}
	return nil
}

// leave consumes the end of an object or array.
func (d *decoder) leave() error {
	d.depth--
	_, err := d.json.Token()
	return err
}

func describe(tok json.Token) string {
	switch tok := tok.(type) {
	case json.Delim:
		return fmt.Sprintf("%q", tok.String())
	case string:
		return "a string"
	case bool:
		return "a boolean"
	}
	return "a number"
}
