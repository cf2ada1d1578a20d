package cluster

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
)

// Container is one container of a Pod: what was asked for, and what the node says of it.
type Container struct {
	Pod, Name string
	// Address is the Pod's. Containers of one Pod share it.
	Address string
	// Image is the reference in the Pod, which is what was admitted.
	Image string
	// ID names this start of it, containerd://HEX; a restart has another. Empty until it was made.
	ID string
	// ImageID is the node's word for what it runs, REPOSITORY@DIGEST: the digest it pulled by, so that of the index when
	// Image names an index. Two images with the same configuration are one to containerd, which then gives the first of
	// their names: to compare it, give every image a configuration of its own.
	ImageID string
	Running bool
	// Why it does not run yet, or no more.
	Why string
}

type containerStatus struct {
	Name, ContainerID, ImageID string
	State                      struct {
		Running             *struct{}
		Waiting, Terminated *struct{ Reason, Message string }
	}
}

type pod struct {
	Metadata struct{ Name string }
	Spec     struct {
		InitContainers, Containers, EphemeralContainers []struct{ Name, Image string }
	}
	Status struct {
		PodIP                                                                string
		InitContainerStatuses, ContainerStatuses, EphemeralContainerStatuses []containerStatus
	}
}

// Containers gives every container of a namespace's Pods.
func (c *Cluster) Containers(ctx context.Context, namespace string) ([]Container, error) {
	var pods struct{ Items []pod }
	if err := c.Get(ctx, "/api/v1/namespaces/"+namespace+"/pods", &pods); err != nil {
		return nil, err
	}
	var all []Container
	for _, p := range pods.Items {
		said := map[string]containerStatus{}
		for _, list := range [][]containerStatus{p.Status.InitContainerStatuses, p.Status.ContainerStatuses, p.Status.EphemeralContainerStatuses} {
			for _, s := range list {
				said[s.Name] = s
			}
		}
		for _, list := range [][]struct{ Name, Image string }{p.Spec.InitContainers, p.Spec.Containers, p.Spec.EphemeralContainers} {
			for _, want := range list {
				s := said[want.Name]
				all = append(all, Container{Pod: p.Metadata.Name, Name: want.Name, Address: p.Status.PodIP, Image: want.Image,
					ID: s.ContainerID, ImageID: s.ImageID, Running: s.State.Running != nil, Why: s.why()})
			}
		}
	}
	return all, nil
}

func (s containerStatus) why() string {
	for _, at := range []*struct{ Reason, Message string }{s.State.Waiting, s.State.Terminated} {
		if at != nil {
			return at.Reason + " " + at.Message
		}
	}
	return ""
}

// AwaitRunning waits until the named container of a Pod runs.
func (c *Cluster) AwaitRunning(ctx context.Context, namespace, pod, name string) (running Container, err error) {
	err = c.node.until(ctx, "container "+name+" of Pod "+pod, func() error {
		all, err := c.Containers(ctx, namespace)
		if err != nil {
			return err
		}
		for _, running = range all {
			if running.Pod == pod && running.Name == name && running.Running {
				return nil
			}
		}
		return fmt.Errorf("what is there: %+v", all)
	})
	return running, err
}

// Log is what a container has said.
func (c *Cluster) Log(ctx context.Context, namespace string, of Container) (string, error) {
	path := "/api/v1/namespaces/" + namespace + "/pods/" + of.Pod + "/log?container=" + url.QueryEscape(of.Name)
	answer, err := c.send(ctx, http.MethodGet, path, "", nil)
	if err == nil && !answer.Allowed() {
		err = fmt.Errorf("reading the log of %s: %d: %s", of.Pod, answer.Status, answer.Message())
	}
	return string(answer.Body), err
}
