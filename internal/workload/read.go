package workload

import (
	"io"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/hallmark-sh/hallmark/internal/manifest"
)

// Read takes the workloads from manifests in YAML or JSON, of any number of
// documents; name is what errors call the file. An object that names no
// namespace is in the given one. An error names the file and the line, and
// nothing is given then.
func Read(name string, r io.Reader, namespace string) (List, error) {
	objects, err := manifest.Read(name, r)
	if err != nil {
		return List{}, err
	}
	return Of(objects, namespace)
}

// Of takes the workloads from objects that were read before; see Read.
func Of(objects []manifest.Object, namespace string) (List, error) {
	list := List{Objects: len(objects)}
	for _, o := range objects {
		rd := reader{o, namespace}
		w, err := rd.workload()
		if err != nil {
			return List{}, err
		}
		if w != nil {
			list.Workloads = append(list.Workloads, *w)
		}
	}
	return list, nil
}

// reader reads one object.
type reader struct {
	manifest.Object
	namespace string
}

// workload gives nil for an object that runs no images.
func (r *reader) workload() (*Workload, error) {
	spec, err := r.podSpec(r.Node, r.Kind)
	if err != nil || spec == nil {
		return nil, err
	}
	w := Workload{Kind: r.Kind, Namespace: r.namespace, File: r.File, Line: r.Node.Line}
	if err := r.identify(&w); err != nil {
		return nil, err
	}
	for _, place := range []struct {
		key  string
		role Role
	}{{"containers", Main}, {"initContainers", Init}, {"ephemeralContainers", Ephemeral}} {
		if err := r.containers(&w, spec, place.key, place.role); err != nil {
			return nil, err
		}
	}
	return &w, nil
}

// identify reads who the object is.
func (r *reader) identify(w *Workload) error {
	meta, err := r.At(r.Node, "metadata")
	if err != nil || meta == nil {
		return err
	}
	if w.Name, err = r.Text(meta, "name"); err != nil {
		return err
	}
	if w.Name == "" {
		if w.Name, err = r.Text(meta, "generateName"); err != nil {
			return err
		}
	}
	namespace, err := r.Text(meta, "namespace")
	if err != nil {
		return err
	}
	if namespace != "" {
		w.Namespace = namespace
	}
	w.Labels, err = r.labels(meta)
	return err
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
		spec, err := r.At(n, path...)
		if err != nil {
			return nil, err
		}
		if spec == nil || spec.Kind != yaml.MappingNode {
			continue
		}
		containers, err := r.At(spec, "containers")
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
	spec, err := r.At(n, path...)
	if err == nil && (spec == nil || spec.Kind != yaml.MappingNode) {
		err = r.Wrong(n, "it has no %s", strings.Join(path, "."))
	}
	return spec, err
}

func (r *reader) containers(w *Workload, spec *yaml.Node, key string, role Role) error {
	list, err := r.At(spec, key)
	if err != nil || list == nil || manifest.IsNull(list) {
		return err
	}
	if list.Kind != yaml.SequenceNode {
		return r.Wrong(list, "%s must be a list", key)
	}
	for _, item := range list.Content {
		item = manifest.Resolve(item)
		if item.Kind != yaml.MappingNode {
			return r.Wrong(item, "an item of %s must be keys with values", key)
		}
		c := Container{Role: role, Line: item.Line}
		if c.Name, err = r.Text(item, "name"); err != nil {
			return err
		}
		if c.Image, err = r.Text(item, "image"); err != nil {
			return err
		}
		if image, _ := r.At(item, "image"); image != nil {
			c.Line = image.Line
		}
		w.Containers = append(w.Containers, c)
	}
	return nil
}

func (r *reader) labels(meta *yaml.Node) (map[string]string, error) {
	n, err := r.At(meta, "labels")
	if err != nil || n == nil || n.Kind != yaml.MappingNode {
		return nil, err
	}
	out := map[string]string{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		out[n.Content[i].Value] = manifest.Resolve(n.Content[i+1]).Value
	}
	return out, nil
}
