package policy

import (
	"github.com/google/go-containerregistry/pkg/name"
)

// Where trust comes from.
const (
	// RootPublic is Sigstore's public instance, by TUF.
	RootPublic = "public"
	// RootPrivate is a Sigstore that an organisation runs for itself.
	RootPrivate = "private"
	// RootLocal is the trust that hallmark keeps in a folder of one machine.
	RootLocal = "local"
)

// Whose certificates they are.
const (
	// GitHubIssuer is the OIDC issuer of GitHub Actions on github.com.
	GitHubIssuer = "https://token.actions.githubusercontent.com"
	// LocalIssuer is the OIDC issuer of the local trust. It is a name, not an
	// address: nothing answers there.
	LocalIssuer = "https://hallmark.localhost"
	// LocalSubject is whom the local trust signs for when nobody is named.
	LocalSubject = "local@hallmark.localhost"
)

// The evidence a policy can want.
const (
	Signature  = "signature"
	SBOMLink   = "sbom"
	Scan       = "scan"
	Provenance = "provenance"
)

// AllEvidence lists the evidence that is wanted when a policy does not say.
func AllEvidence() []string { return []string{Signature, SBOMLink, Scan, Provenance} }

// fillDefaults sets what the file leaves out.
func (p *Policy) fillDefaults() {
	if p.Trust.Root == "" {
		p.Trust.Root = RootPublic
	}
	if p.Trust.Root == RootLocal && p.Trust.State == "" {
		p.Trust.State = ".hallmark/local"
	}
	if p.Trust.Root == RootLocal && p.Identity == (Identity{}) {
		p.Identity.Subject = LocalSubject
	}
	p.Identity.fillIssuer(p.Trust.Root)
	if p.Advisories.Signer != nil {
		p.Advisories.Signer.fillIssuer(p.Trust.Root)
	}
	if p.Evidence == nil {
		p.Evidence = AllEvidence()
	}
	p.Gate.fillDefaults()
	p.Admission.fillDefaults()
}

// fillIssuer sets the issuer where only one can be meant: the local trust has
// only its own, and a repository without a host is on github.com.
func (i *Identity) fillIssuer(root string) {
	switch {
	case i.Issuer != "":
	case root == RootLocal:
		i.Issuer = LocalIssuer
	case i.Repository != "" && i.host() == "github.com":
		i.Issuer = GitHubIssuer
	}
}

func (g *Gate) fillDefaults() {
	threshold, kev, age := g.Threshold(), g.RefusesKEV(), Duration(g.DatabaseAge())
	if g.Severity == nil {
		g.Severity = &threshold
	}
	if g.KEV == nil {
		g.KEV = &kev
	}
	if g.MaxDatabaseAge == nil {
		g.MaxDatabaseAge = &age
	}
	for _, m := range []struct {
		word *string
		is   string
	}{
		{&g.UnknownSeverity, g.OnUnknownSeverity()},
		{&g.Uncovered, g.OnUncovered()},
		{&g.Uncomparable, g.OnUncomparable()},
	} {
		if *m.word == "" {
			*m.word = m.is
		}
	}
}

// Wants says that the policy demands one link of evidence, by its name.
func (p Policy) Wants(evidence string) bool {
	for _, e := range p.Evidence {
		if e == evidence {
			return true
		}
	}
	return false
}

// Repository is where the image lives. It is the zero value for a policy that
// Parse did not make and whose image is no repository.
func (p Policy) Repository() name.Repository {
	repo, err := name.NewRepository(p.Image, name.StrictValidation)
	if err != nil {
		return name.Repository{}
	}
	return repo
}
