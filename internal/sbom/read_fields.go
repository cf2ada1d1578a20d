package sbom

import (
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// component reads one CycloneDX component and those in it.
func (d *reader) component() error {
	var e entry
	err := d.object("a component", func(key string) error {
		switch key {
		case "type":
			return d.text(&e.typ)
		case "group":
			return d.text(&e.group)
		case "name":
			return d.text(&e.name)
		case "version":
			return d.text(&e.version)
		case "purl":
			return d.text(&e.purl)
		case "publisher":
			return d.text(&e.publisher)
		case "supplier":
			return d.object("a supplier", func(key string) error {
				if key == "name" {
					return d.text(&e.supplier)
				}
				return d.json.SkipValue()
			})
		case "hashes":
			return d.array(func() error { return d.checksum(&e, "alg", "content") })
		case "licenses":
			return d.array(func() error { return d.licence(&e) })
		case "properties":
			return d.array(func() error { return d.property(&e) })
		case "components":
			return d.array(d.component)
		}
		return d.json.SkipValue()
	})
	if err != nil {
		return err
	}
	return d.keep(e)
}

// checksum reads {alg, content} or {algorithm, checksumValue}.
func (d *reader) checksum(e *entry, algorithm, value string) error {
	var alg, hex string
	err := d.object("a hash", func(key string) error {
		switch key {
		case algorithm:
			return d.text(&alg)
		case value:
			return d.text(&hex)
		}
		return d.json.SkipValue()
	})
	alg = strings.ToLower(strings.ReplaceAll(alg, "-", ""))
	hex = strings.ToLower(strings.TrimSpace(hex))
	if err != nil || alg == "" || hex == "" || len(alg) > 16 || len(hex) > 128 || strings.Trim(hex, "0123456789abcdef") != "" {
		return err
	}
	e.digests = append(e.digests, alg+":"+hex)
	return nil
}

// licence reads one entry of licenses: a licence or an expression.
func (d *reader) licence(e *entry) error {
	return d.object("a licence", func(key string) error {
		switch key {
		case "license":
			var id, name string
			err := d.object("a licence", func(key string) error {
				switch key {
				case "id":
					return d.text(&id)
				case "name":
					return d.text(&name)
				}
				return d.json.SkipValue()
			})
			if id == "" {
				id = name
			}
			e.addLicence(id)
			return err
		case "expression":
			var text string
			err := d.text(&text)
			e.addLicence(text)
			return err
		}
		return d.json.SkipValue()
	})
}

func (e *entry) addLicence(text string) {
	text = strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r <= ' ' || r == 0x7f }), " ")
	if text == "" || text == "NOASSERTION" || text == "NONE" || len(text) > maxLicence {
		return
	}
	e.licences = append(e.licences, text)
}

// property reads trivy's properties that name the source package.
func (d *reader) property(e *entry) error {
	var name, value string
	err := d.object("a property", func(key string) error {
		switch key {
		case "name":
			return d.text(&name)
		case "value":
			return d.text(&value)
		}
		return d.json.SkipValue()
	})
	switch strings.TrimPrefix(name, "aquasecurity:trivy:") {
	case "SrcName":
		e.source.name = value
	case "SrcVersion":
		e.source.version = value
	case "SrcRelease":
		e.source.release = value
	case "SrcEpoch":
		e.source.epoch = value
	}
	return err
}

// spdxPackage reads one SPDX package.
func (d *reader) spdxPackage() error {
	e := entry{typ: "library"}
	err := d.object("a package", func(key string) error {
		switch key {
		case "SPDXID":
			return d.text(&e.id)
		case "name":
			return d.text(&e.name)
		case "versionInfo":
			return d.text(&e.version)
		case "primaryPackagePurpose":
			var purpose string
			err := d.text(&purpose)
			if purpose != "" {
				e.typ = strings.ReplaceAll(strings.ToLower(purpose), "_", "-")
			}
			return err
		case "supplier":
			err := d.text(&e.supplier)
			e.supplier = agent(e.supplier)
			return err
		case "originator":
			err := d.text(&e.publisher)
			e.publisher = agent(e.publisher)
			return err
		case "licenseDeclared", "licenseConcluded":
			var text string
			err := d.text(&text)
			e.addLicence(text)
			return err
		case "checksums":
			return d.array(func() error { return d.checksum(&e, "algorithm", "checksumValue") })
		case "externalRefs":
			return d.array(func() error { return d.reference(&e) })
		}
		return d.json.SkipValue()
	})
	if err != nil {
		return err
	}
	return d.keep(e)
}

// agent takes the kind from "Organization: Debian"; NOASSERTION says nothing.
func agent(text string) string {
	for _, kind := range []string{"Organization:", "Person:", "Tool:"} {
		text = strings.TrimPrefix(text, kind)
	}
	if text = strings.TrimSpace(text); text == "NOASSERTION" {
		return ""
	}
	return text
}

// reference reads an external reference, of which a package URL counts.
func (d *reader) reference(e *entry) error {
	var kind, locator string
	err := d.object("a reference", func(key string) error {
		switch key {
		case "referenceType":
			return d.text(&kind)
		case "referenceLocator":
			return d.text(&locator)
		}
		return d.json.SkipValue()
	})
	if e.purl == "" && (kind == "purl" || strings.HasSuffix(kind, "/purl")) {
		e.purl = locator
	}
	return err
}

func (d *reader) describes() error {
	var id string
	err := d.text(&id)
	d.describe(id)
	return err
}

func (d *reader) relationship() error {
	var from, kind, to string
	err := d.object("a relationship", func(key string) error {
		switch key {
		case "spdxElementId":
			return d.text(&from)
		case "relationshipType":
			return d.text(&kind)
		case "relatedSpdxElement":
			return d.text(&to)
		}
		return d.json.SkipValue()
	})
	if from == "SPDXRef-DOCUMENT" && strings.EqualFold(kind, "DESCRIBES") {
		d.describe(to)
	}
	return err
}

func (d *reader) describe(id string) {
	if id != "" && len(d.described) < 64 {
		d.described = append(d.described, id)
	}
}

// object calls field for each key of the next value; field must consume the
// value. What is no object is passed over: it is somebody's mistake in a field
// that may not matter. A key that field reads and that occurs twice is an
// error.
func (d *reader) object(what string, field func(key string) error) error {
	if d.json.PeekKind() != '{' {
		if d.json.PeekKind() != 'n' {
			d.odd("%s is no object, at byte %d", what, d.json.InputOffset())
		}
		return d.json.SkipValue()
	}
	if err := d.enter(); err != nil {
		return err
	}
	var seen [24]string
	n := 0
	for d.json.PeekKind() != '}' {
		tok, err := d.json.ReadToken()
		if err != nil {
			return err
		}
		key := tok.String()
		if used[key] {
			for _, other := range seen[:n] {
				if other == key {
					return fmt.Errorf("%w: %q occurs twice in %s, at byte %d", ErrDocument, key, what, d.json.InputOffset())
				}
			}
			if n < len(seen) {
				seen[n] = key
				n++
			}
		}
		if err := field(key); err != nil {
			return err
		}
	}
	d.depth--
	_, err := d.json.ReadToken()
	return err
}

// used are the keys that some reader here reads.
var used = func() map[string]bool {
	m := map[string]bool{}
	for _, key := range strings.Fields(`bomFormat specVersion spdxVersion serialNumber documentNamespace metadata components packages
		documentDescribes relationships component type group name version purl publisher supplier hashes licenses properties alg content
		license id expression value SPDXID versionInfo primaryPackagePurpose originator licenseDeclared licenseConcluded checksums
		externalRefs algorithm checksumValue referenceType referenceLocator spdxElementId relationshipType relatedSpdxElement`) {
		m[key] = true
	}
	return m
}()

// array calls element for each element of the next value; element must consume
// it. What is no array is passed over.
func (d *reader) array(element func() error) error {
	if d.json.PeekKind() != '[' {
		if d.json.PeekKind() != 'n' {
			d.odd("no list where one belongs, at byte %d", d.json.InputOffset())
		}
		return d.json.SkipValue()
	}
	if err := d.enter(); err != nil {
		return err
	}
	for d.json.PeekKind() != ']' {
		if err := element(); err != nil {
			return err
		}
	}
	d.depth--
	_, err := d.json.ReadToken()
	return err
}

func (d *reader) enter() error {
	if _, err := d.json.ReadToken(); err != nil {
		return err
	}
	if d.depth++; d.depth > maxDepth {
		return fmt.Errorf("%w: nested deeper than %d, at byte %d", ErrDocument, maxDepth, d.json.InputOffset())
	}
	return nil
}

// text reads a string, or a number as it is written. Anything else, and what
// is too long to be what it should be, counts as not there.
func (d *reader) text(into *string) error {
	switch d.json.PeekKind() {
	case '"', '0':
		tok, err := d.json.ReadToken()
		if err != nil {
			return err
		}
		text := tok.String()
		if len(text) > maxText {
			d.odd("a text of %d bytes was left out, at byte %d", len(text), d.json.InputOffset())
			return nil
		}
		*into = text
		return nil
	case 'n', 't', 'f', '{', '[':
		if d.json.PeekKind() != 'n' {
			d.odd("%v where a text belongs, at byte %d", kindName(d.json.PeekKind()), d.json.InputOffset())
		}
	}
	return d.json.SkipValue()
}

func kindName(k jsontext.Kind) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "a list"
	}
	return "a boolean"
}
