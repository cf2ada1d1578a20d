// Package cluster reads what a Kubernetes cluster has and what runs in it: the
// workloads with the images their Pods really run, the admission policies, and
// the events of what was denied.
//
// It only reads, as whoever the kubeconfig says, page by page and with a bound
// on the number, and a list that could not be read whole is an error and never
// a shorter one. It is the only user of client-go, by its dynamic client alone:
// the typed ones would be half of the program. It judges nothing.
package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// Options say which cluster.
type Options struct {
	// Files are the kubeconfig files, merged as kubectl does; none of them
	// need be there. Inside a Pod its service account is used.
	Files []string
	// Context is one of the kubeconfig's; empty for its current one.
	Context string
	// UserAgent names the program to the API server.
	UserAgent string
}

// Cluster is a way to one API server.
type Cluster struct {
	// Context is the context's name, empty inside a Pod, and Server its URL.
	Context, Server string

	objects dynamic.Interface
	http    *http.Client
}

// patience bounds one request; a list takes several.
const patience = 30 * time.Second

// Open finds the way to a cluster. It sends no request.
func Open(o Options) (*Cluster, error) {
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: o.Files}
	loader := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, &clientcmd.ConfigOverrides{CurrentContext: o.Context})
	raw, err := loader.RawConfig()
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	if _, known := raw.Contexts[o.Context]; o.Context != "" && !known {
		var names []string
		for name := range raw.Contexts {
			names = append(names, name)
		}
		slices.Sort(names)
		err := fmt.Errorf("the kubeconfig (%s) has no context %q", strings.Join(o.Files, ", "), o.Context)
		if len(names) == 0 {
			return nil, hint.Add(err, "name the file with --kubeconfig or KUBECONFIG; it has no context at all")
		}
		return nil, hint.Add(err, "it has %s", strings.Join(names, ", "))
	}
	config, err := loader.ClientConfig()
	if err != nil {
		return nil, hint.Add(fmt.Errorf("finding the cluster in the kubeconfig (%s): %w", strings.Join(o.Files, ", "), err),
			"name a file with --kubeconfig or KUBECONFIG, and a context with --context")
	}
	config.UserAgent, config.Timeout = o.UserAgent, patience
	config.QPS, config.Burst = 50, 100
	config.WarningHandler = rest.NoWarnings{}
	c := &Cluster{Context: o.Context, Server: config.Host}
	if c.Context == "" {
		c.Context = raw.CurrentContext
	}
	if c.http, err = rest.HTTPClientFor(config); err == nil {
		c.objects, err = dynamic.NewForConfigAndClient(config, c.http)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the kubeconfig: %w", err)
	}
	return c, nil
}

// Version gives the API server's version, such as v1.37.2.
func (c *Cluster) Version(ctx context.Context) (string, error) {
	version, err := c.version(ctx)
	if err != nil {
		return "", c.explain(err, "asking for the version", "")
	}
	return version, nil
}

// version asks by hand: the library's client for it brings every kind of
// object there is, which is a sixth of the program.
func (c *Cluster) version(ctx context.Context) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.Server, "/")+"/version", nil)
	if err != nil {
		return "", err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	var about struct {
		GitVersion string `json:"gitVersion"`
	}
	if resp.StatusCode != http.StatusOK {
		return "", fmt.Errorf("it answered %s", resp.Status)
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<20)).Decode(&about); err != nil || about.GitVersion == "" {
		return "", errors.New("it answered without a version")
	}
	return about.GitVersion, nil
}

// explain says what could not be done and what to do about it.
func (c *Cluster) explain(err error, doing, resource string) error {
	err = fmt.Errorf("%s of %s: %w", doing, c.Server, err)
	var network net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case apierrors.IsUnauthorized(err):
		return hint.Add(err, "log in again: the API server does not know the credentials of context %q", c.Context)
	case apierrors.IsForbidden(err) && resource != "":
		return hint.Add(err, "ask for the verbs get and list on %s; docs/admission.md has the whole ClusterRole", resource)
	case errors.As(err, &network) || errors.Is(err, context.DeadlineExceeded):
		return hint.Add(err, "check that the API server can be reached from here, and that the context %q is the one that is meant", c.Context)
	}
	return err
}
