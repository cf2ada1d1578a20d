// Package manifest reads Kubernetes objects from YAML and JSON, with the places
// where they stand: every kind, of any number of documents, Lists taken apart.
//
// It reads strictly where readers differ, since what one reader sees and
// another does not is how a check is passed by: a key that is there twice and
// a merge key are errors where they matter. It knows nothing of what kinds
// mean.
package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// MaxSize bounds the objects of one file or stream, in bytes.
	MaxSize = 128 << 20
	// maxDepth bounds Lists within Lists.
	maxDepth = 8
)

// Object is one Kubernetes object.
type Object struct {
	// File is what errors call the stream it was read from.
	File             string
	APIVersion, Kind string
	// Node is its mapping; Node.Line is where it begins, counted from 1.
	Node *yaml.Node
}

// Read takes the objects from a stream; name is what errors call it. An error
// names the stream and the line, and nothing is given then.
func Read(name string, r io.Reader) ([]Object, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(data) > MaxSize {
		return nil, fmt.Errorf("reading %s: more than %d bytes", name, MaxSize)
	}
	var all []Object
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: not YAML: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		if len(doc.Content) == 0 || IsNull(doc.Content[0]) {
			continue // a comment, as Helm leaves between documents
		}
		if all, err = gather(all, Object{File: name, Node: doc.Content[0]}, 0); err != nil {
			return nil, err
		}
	}
}

// gather adds an object, or those of a List.
func gather(all []Object, o Object, depth int) ([]Object, error) {
	if o.Node.Kind != yaml.MappingNode {
		return nil, o.Wrong(o.Node, "this is no Kubernetes object: it must be keys with values")
	}
	if depth > maxDepth {
		return nil, o.Wrong(o.Node, "lists are within lists more than %d deep", maxDepth)
	}
	var err error
	if o.Kind, err = o.Text(o.Node, "kind"); err != nil {
		return nil, err
	}
	if o.APIVersion, err = o.Text(o.Node, "apiVersion"); err != nil {
		return nil, err
	}
	if o.Kind == "" || o.APIVersion == "" {
		return nil, o.Wrong(o.Node, "this is no Kubernetes object: it has no apiVersion and kind")
	}
	items, err := o.At(o.Node, "items")
	if err != nil {
		return nil, err
	}
	if !strings.HasSuffix(o.Kind, "List") || items == nil || items.Kind != yaml.SequenceNode {
		return append(all, o), nil
	}
	for _, item := range items.Content {
		if all, err = gather(all, Object{File: o.File, Node: Resolve(item)}, depth+1); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// Wrong is an error about a place in the object's file.
func (o Object) Wrong(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", o.File, n.Line, fmt.Sprintf(format, args...))
}

// At gives the value below the keys; nil when it isn't there. A key that is
// there twice is an error: readers differ about which one counts.
func (o Object) At(n *yaml.Node, path ...string) (*yaml.Node, error) {
	for _, key := range path {
		if n = Resolve(n); n.Kind != yaml.MappingNode {
			return nil, nil
		}
		var found *yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Tag == "!!merge" {
				return nil, o.Wrong(n.Content[i], "merge keys are not read; write the values where they are used")
			}
			if n.Content[i].Value != key {
				continue
			}
			if found != nil {
				return nil, o.Wrong(n.Content[i], "%s is there twice", key)
			}
			found = n.Content[i+1]
		}
		if found == nil {
			return nil, nil
		}
		n = found
	}
	return Resolve(n), nil
}

// Text gives the text below a key; empty when it isn't there.
func (o Object) Text(n *yaml.Node, key string) (string, error) {
	v, err := o.At(n, key)
	switch {
	case err != nil || v == nil || IsNull(v):
		return "", err
	case v.Kind != yaml.ScalarNode:
		return "", o.Wrong(v, "%s must be text", key)
	}
	return v.Value, nil
}

// Resolve follows an alias; one alias never leads to another.
func Resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// IsNull says that a value is there and empty.
func IsNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }
