// Package workload carries the Kubernetes objects that run images, as far as
// admission cares: who they are and which images they name.
//
// Read takes them from manifests. It knows Pods, everything of Kubernetes that
// makes Pods, Lists of these, and any other object that has a Pod template
// where a Deployment or a CronJob has it. Other objects are counted and left
// alone. It judges nothing.
package workload

import (
	"slices"
	"strings"
)

// Workload is one object that runs images.
type Workload struct {
	Kind      string            `json:"kind"`
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	Labels    map[string]string `json:"-"`
	// File and Line are where it was read, lines counted from 1; empty for an
	// object of a cluster.
	File       string      `json:"file,omitempty"`
	Line       int         `json:"line,omitempty"`
	Containers []Container `json:"-"`
}

// Role is how a container runs.
type Role string

// The roles of containers.
const (
	Main      Role = "container"
	Init      Role = "init"
	Ephemeral Role = "ephemeral"
)

// Container is one image that an object runs.
type Container struct {
	Name  string
	Role  Role
	Image string
	// Line is where the image is named; zero for an object of a cluster.
	Line int
	// Digests are what a cluster says that it runs under that name, each once;
	// empty for a manifest, and for what has not started.
	Digests []string
}

// Names says that every image of another workload is one of this one's, in a
// container of the same name; an admission policy may have added the digest.
func (w *Workload) Names(other Workload) bool {
	for _, c := range other.Containers {
		if !slices.ContainsFunc(w.Containers, func(own Container) bool {
			return own.Name == c.Name && (own.Image == c.Image || strings.HasPrefix(c.Image, own.Image+"@"))
		}) {
			return false
		}
	}
	return true
}

// Running notes a digest that the container of that name runs.
func (w *Workload) Running(container, digest string) {
	for i := range w.Containers {
		if c := &w.Containers[i]; c.Name == container && !slices.Contains(c.Digests, digest) {
			c.Digests = append(c.Digests, digest)
		}
	}
}

// Ran takes over what another workload, which this one made, runs.
func (w *Workload) Ran(other Workload) {
	for _, c := range other.Containers {
		for _, digest := range c.Digests {
			w.Running(c.Name, digest)
		}
	}
}

// List is what was read.
type List struct {
	Workloads []Workload
	// Objects counts all objects, those without images too.
	Objects int
}
