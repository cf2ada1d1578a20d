package cli

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/pflag"

	"github.com/hallmark-sh/hallmark/internal/cluster"
	"github.com/hallmark-sh/hallmark/internal/manifest"
)

// clusterFlags say which cluster a verb reads.
type clusterFlags struct {
	kubeconfig, context string
}

func (f *clusterFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.context, "context", "", "`context` of the kubeconfig, the current one unless given")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file`, instead of KUBECONFIG or ~/.kube/config")
}

// openCluster finds the way to the cluster as kubectl does.
func (a *app) openCluster(f clusterFlags) (*cluster.Cluster, error) {
	o := cluster.Options{Context: f.context, UserAgent: "hallmark/" + version}
	switch {
	case f.kubeconfig != "":
		o.Files = []string{f.kubeconfig}
	case a.env.get("KUBECONFIG") != "":
		o.Files = filepath.SplitList(a.env.get("KUBECONFIG"))
	default:
		if home, err := os.UserHomeDir(); err == nil {
			o.Files = []string{filepath.Join(home, ".kube", "config")}
		}
	}
	return cluster.Open(o)
}

// clusterPolicies reads what a cluster admits and refuses by.
func (a *app) clusterPolicies(ctx context.Context, f clusterFlags) ([]manifest.Object, error) {
	c, err := a.openCluster(f)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	a.screen.progress("cluster", "reading the policies of "+c.Server, time.Since(began))
	found, err := c.Policies(ctx)
	if err != nil {
		return nil, err
	}
	for _, kind := range found.Absent {
		if kind == "imagevalidatingpolicies.policies.kyverno.io" {
			a.screen.note("hallmark: %s knows no %s: Kyverno 1.17 or later is not installed", c.Server, kind)
		}
	}
	return found.Objects, nil
}
