package workload

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

const (
	// MaxSize bounds the manifests of one file or stream, in bytes.
	MaxSize = 128 << 20
	// maxDepth bounds Lists within Lists.
	maxDepth = 8
)

// Read takes the workloads from manifests in YAML or JSON, of any number of
// documents; name is what errors call the file. An object that names no
// namespace is in the given one. An error names the file and the line, and
// nothing is given then.
func Read(name string, r io.Reader, namespace string) (List, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return List{}, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(data) > MaxSize {
		return List{}, fmt.Errorf("reading %s: more than %d bytes", name, MaxSize)
	}
	rd := reader{name: name, namespace: namespace}
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return rd.list, nil
		}
		if err != nil {
			return List{}, fmt.Errorf("reading %s: not YAML: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
		}
		if len(doc.Content) == 0 || isNull(doc.Content[0]) {
			continue // a comment, as Helm leaves between documents
		}
		if err := rd.object(doc.Content[0], 0); err != nil {
			return List{}, err
		}
	}
}

type reader struct {
	name, namespace string
	list            List
}

func (r *reader) wrong(n *yaml.Node, format string, args ...any) error {
	return fmt.Errorf("%s:%d: %s", r.name, n.Line, fmt.Sprintf(format, args...))
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func (r *reader) object(n *yaml.Node, depth int) error {
	if n.Kind != yaml.MappingNode {
		return r.wrong(n, "this is no Kubernetes object: it must be keys with values")
	}
	if depth > maxDepth {
		return r.wrong(n, "lists are within lists more than %d deep", maxDepth)
	}
	kind, err := r.text(n, "kind")
	if err != nil {
		return err
	}
	version, err := r.text(n, "apiVersion")
	if err != nil {
		return err
	}
	if kind == "" || version == "" {
		return r.wrong(n, "this is no Kubernetes object: it has no apiVersion and kind")
	}
	items, err := r.at(n, "items")
	if err != nil {
		return err
	}
	if strings.HasSuffix(kind, "List") && items != nil && items.Kind == yaml.SequenceNode {
		for _, item := range items.Content {
			if err := r.object(resolve(item), depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	r.list.Objects++
	return r.workload(n, kind)
}

func (r *reader) workload(n *yaml.Node, kind string) error {
	spec, err := r.podSpec(n, kind)
	if err != nil || spec == nil {
		return err
	}
	w := Workload{Kind: kind, Namespace: r.namespace, File: r.name, Line: n.Line}
	meta, err := r.at(n, "metadata")
	if err != nil {
		return err
	}
	if meta != nil {
		if w.Name, err = r.text(meta, "name"); err != nil {
			return err
		}
		if w.Name == "" {
			if w.Name, err = r.text(meta, "generateName"); err != nil {
				return err
			}
		}
		namespace, err := r.text(meta, "namespace")
		if err != nil {
			return err
		}
		if namespace != "" {
			w.Namespace = namespace
		}
		if w.Labels, err = r.labels(meta); err != nil {
			return err
		}
	}
	for _, place := range []struct {
		key  string
		role Role
	}{{"containers", Main}, {"initContainers", Init}, {"ephemeralContainers", Ephemeral}} {
		if err := r.containers(&w, spec, place.key, place.role); err != nil {
			return err
		}
	}
	r.list.Workloads = append(r.list.Workloads, w)
	return nil
}

// podSpec gives the spec of the Pods that an object is or makes; nil for an
// object that makes none.
func (r *reader) podSpec(n *yaml.Node, kind string) (*yaml.Node, error) {
	switch kind {
	case "Pod":
		return r.must(n, "spec")
	case "CronJob":
		return r.must(n, "spec", "jobTemplate", "spec", "template", "spec")
	case "Deployment", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "ReplicationController":
		return r.must(n, "spec", "template", "spec")
	case "PodTemplate":
		return r.must(n, "template", "spec")
	}
	// A custom kind that has a Pod template where Kubernetes' own have theirs.
	for _, path := range [][]string{{"spec", "template", "spec"}, {"spec", "jobTemplate", "spec", "template", "spec"}} {
		spec, err := r.at(n, path...)
		if err != nil {
			return nil, err
		}
		if spec == nil || spec.Kind != yaml.MappingNode {
			continue
		}
		containers, err := r.at(spec, "containers")
		if err != nil {
			return nil, err
		}
		if containers != nil && containers.Kind == yaml.SequenceNode {
			return spec, nil
		}
	}
	return nil, nil
}

func (r *reader) must(n *yaml.Node, path ...string) (*yaml.Node, error) {
	spec, err := r.at(n, path...)
	if err == nil && (spec == nil || spec.Kind != yaml.MappingNode) {
		err = r.wrong(n, "it has no %s", strings.Join(path, "."))
	}
	return spec, err
}

func (r *reader) containers(w *Workload, spec *yaml.Node, key string, role Role) error {
	list, err := r.at(spec, key)
	if err != nil || list == nil || isNull(list) {
		return err
	}
	if list.Kind != yaml.SequenceNode {
		return r.wrong(list, "%s must be a list", key)
	}
	for _, item := range list.Content {
		item = resolve(item)
		if item.Kind != yaml.MappingNode {
			return r.wrong(item, "an item of %s must be keys with values", key)
		}
		c := Container{Role: role, Line: item.Line}
		if c.Name, err = r.text(item, "name"); err != nil {
			return err
		}
		if c.Image, err = r.text(item, "image"); err != nil {
			return err
		}
		if image, _ := r.at(item, "image"); image != nil {
			c.Line = image.Line
		}
		w.Containers = append(w.Containers, c)
	}
	return nil
}

func (r *reader) labels(meta *yaml.Node) (map[string]string, error) {
	n, err := r.at(meta, "labels")
	if err != nil || n == nil || n.Kind != yaml.MappingNode {
		return nil, err
	}
	out := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		out[n.Content[i].Value] = resolve(n.Content[i+1]).Value
	}
	return out, nil
}

// resolve follows an alias; one alias never leads to another.
func resolve(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode && n.Alias != nil {
		return n.Alias
	}
	return n
}

// at gives the value below the keys; nil when it isn't there. A key that is
// there twice is an error: readers differ about which one counts.
func (r *reader) at(n *yaml.Node, path ...string) (*yaml.Node, error) {
	for _, key := range path {
		if n = resolve(n); n.Kind != yaml.MappingNode {
			return nil, nil
		}
		var found *yaml.Node
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Tag == "!!merge" {
				return nil, r.wrong(n.Content[i], "merge keys are not read; write the values where they are used")
			}
			if n.Content[i].Value != key {
				continue
			}
			if found != nil {
				return nil, r.wrong(n.Content[i], "%s is there twice", key)
			}
			found = n.Content[i+1]
		}
		if found == nil {
			return nil, nil
		}
		n = found
	}
	return resolve(n), nil
}

// text gives the text below a key; empty when it isn't there.
func (r *reader) text(n *yaml.Node, key string) (string, error) {
	v, err := r.at(n, key)
	switch {
	case err != nil || v == nil || isNull(v):
		return "", err
	case v.Kind != yaml.ScalarNode:
		return "", r.wrong(v, "%s must be text", key)
	}
	return v.Value, nil
}
