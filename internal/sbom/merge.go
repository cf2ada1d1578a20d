package sbom

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// bom is as much of a CycloneDX document as Merge reads and writes. It is for
// hallmark's own documents; Decode reads anybody's.
type bom struct {
	Schema       string            `json:"$schema,omitempty"`
	Format       string            `json:"bomFormat"`
	SpecVersion  string            `json:"specVersion"`
	SerialNumber string            `json:"serialNumber"`
	Version      int               `json:"version"`
	Metadata     metadata          `json:"metadata"`
	Components   []json.RawMessage `json:"components"`
	Dependencies []dependency      `json:"dependencies,omitempty"`
}

type metadata struct {
	Timestamp  string            `json:"timestamp"`
	Tools      json.RawMessage   `json:"tools,omitempty"`
	Component  json.RawMessage   `json:"component"`
	Properties []json.RawMessage `json:"properties,omitempty"`
}

type dependency struct {
	Ref       string   `json:"ref"`
	DependsOn []string `json:"dependsOn,omitempty"`
}

type hash struct {
	Algorithm string `json:"alg"`
	Content   string `json:"content"`
}

// image is the component that stands for an image or an index.
type image struct {
	Ref     string `json:"bom-ref"`
	Type    string `json:"type"`
	Name    string `json:"name"`
	Version string `json:"version"`
	Hashes  []hash `json:"hashes"`
	PURL    string `json:"purl"`
}

// Merge joins the documents of an index's platforms into one about the index:
// each platform's image is a component, and depends on what is in it. What two
// platforms share to the last byte is listed once. The result does not depend
// on the order of docs.
func Merge(index v1.Hash, repository string, t time.Time, docs ...Document) (Document, error) {
	if len(docs) == 0 {
		return Document{}, fmt.Errorf("merging the SBOM of %s: %w", index, errors.New("no platform has one"))
	}
	docs = slices.Clone(docs)
	slices.SortFunc(docs, func(a, b Document) int {
		return strings.Compare(a.Platform+" "+a.Subject.String(), b.Platform+" "+b.Subject.String())
	})
	m := merger{refs: map[string][]byte{}, types: map[string]int{}, depends: map[string][]string{}}
	root := image{
		Ref: ImagePURL(repository, index, ""), Type: "container", Name: repository, Version: index.String(),
		PURL: ImagePURL(repository, index, ""), Hashes: []hash{{"SHA-256", index.Hex}},
	}
	distros := map[string]bool{}
	for _, doc := range docs {
		ref, err := m.add(doc)
		if err != nil {
			return Document{}, fmt.Errorf("merging the SBOM of %s %s: %w", doc.Platform, doc.Subject, err)
		}
		m.depends[root.Ref] = append(m.depends[root.Ref], ref)
		if doc.Distro != "" {
			distros[doc.Distro] = true
		}
	}
	out, err := m.write(root, t)
	if err != nil {
		return Document{}, fmt.Errorf("merging the SBOM of %s: %w", index, err)
	}
	return Document{
		Subject: index, JSON: out, Packages: m.types,
		Distro: strings.Join(slices.Sorted(maps.Keys(distros)), ", "),
	}, nil
}

// merger collects components by reference.
type merger struct {
	first      bom
	refs       map[string][]byte
	types      map[string]int
	depends    map[string][]string
	properties []json.RawMessage
}

// add takes one platform's document and gives its image's reference.
func (m *merger) add(doc Document) (string, error) {
	var b bom
	if err := json.Unmarshal(doc.JSON, &b); err != nil {
		return "", fmt.Errorf("%w: %w", ErrFormat, err)
	}
	if b.SpecVersion != SpecVersion {
		return "", fmt.Errorf("%w: specVersion is %q, not %s", ErrFormat, b.SpecVersion, SpecVersion)
	}
	if m.first.Format == "" {
		m.first = b
	}
	m.properties = append(m.properties, b.Metadata.Properties...)
	renamed := map[string]string{}
	root, _, err := m.component(b.Metadata.Component, doc.Platform, renamed)
	if err != nil {
		return "", err
	}
	for _, raw := range b.Components {
		ref, isNew, err := m.component(raw, doc.Platform, renamed)
		if err != nil {
			return "", err
		}
		m.depends[root] = append(m.depends[root], ref)
		if isNew {
			m.count(raw)
		}
	}
	for _, d := range b.Dependencies {
		from := name(renamed, d.Ref)
		for _, on := range d.DependsOn {
			m.depends[from] = append(m.depends[from], name(renamed, on))
		}
	}
	return root, nil
}

// component keeps a component under its own reference, or, when another
// platform has used that for something else, under one with the platform added.
func (m *merger) component(raw json.RawMessage, platform string, renamed map[string]string) (ref string, isNew bool, err error) {
	var c map[string]json.RawMessage
	if err := json.Unmarshal(raw, &c); err != nil {
		return "", false, fmt.Errorf("%w: a component: %w", ErrFormat, err)
	}
	var own string
	if err := json.Unmarshal(c["bom-ref"], &own); err != nil || own == "" {
		return "", false, fmt.Errorf("%w: a component has no bom-ref", ErrFormat)
	}
	if known, ok := m.refs[own]; !ok || bytes.Equal(known, raw) {
		m.refs[own] = raw
		return own, !ok, nil
	}
	ref = own + "#" + platform
	renamed[own] = ref
	quoted, err := marshal(ref)
	if err != nil {
		return "", false, err
	}
	c["bom-ref"] = quoted
	if m.refs[ref], err = marshal(c); err != nil {
		return "", false, err
	}
	return ref, true, nil
}

func name(renamed map[string]string, ref string) string {
	if other, ok := renamed[ref]; ok {
		return other
	}
	return ref
}

func (m *merger) count(raw json.RawMessage) {
	var c struct{ Type, PURL string }
	if json.Unmarshal(raw, &c) == nil && isPackage(c.Type) {
		m.types[typeOf(c.PURL)]++
	}
}

func (m *merger) write(root image, t time.Time) ([]byte, error) {
	self, err := marshal(root)
	if err != nil {
		return nil, err
	}
	b := m.first
	b.SerialNumber = NilSerial
	b.Metadata.Timestamp = t.UTC().Format(time.RFC3339)
	b.Metadata.Component = self
	b.Metadata.Properties = unique(m.properties)
	b.Components, b.Dependencies = nil, nil
	for _, ref := range slices.Sorted(maps.Keys(m.refs)) {
		b.Components = append(b.Components, m.refs[ref])
	}
	for _, ref := range slices.Sorted(maps.Keys(m.depends)) {
		on := m.depends[ref]
		slices.Sort(on)
		b.Dependencies = append(b.Dependencies, dependency{ref, slices.Compact(on)})
	}
	out, err := marshal(b)
	if err != nil {
		return nil, err
	}
	return Number(out), nil
}

// unique drops repeated values, keeping the order of the first of each.
func unique(raws []json.RawMessage) []json.RawMessage {
	seen := map[string]bool{}
	return slices.DeleteFunc(raws, func(raw json.RawMessage) bool {
		was := seen[string(raw)]
		seen[string(raw)] = true
		return was
	})
}

// marshal is json.Marshal with <, > and & as they are.
func marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSpace(out.Bytes()), nil
}
