package verify

import (
	"fmt"
	"net/url"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/policy"
	"github.com/hallmark-sh/hallmark/internal/provenance"
	"github.com/hallmark-sh/hallmark/internal/verdict"
)

// account is one provenance by the policy's identity: what it claims, what is
// wrong with it, and where it contradicts the certificate it was signed under.
type account struct {
	witness witness
	claim   provenance.Claim
	// fault is what is wrong with the provenance by itself, lie where the
	// certificate says otherwise; either is nil.
	fault, lie *refusal
}

func (a account) good() bool { return a.fault == nil && a.lie == nil }

func (p *opinion) account(w witness) account {
	a := account{witness: w}
	claim, err := provenance.Read(w.predicateType, w.statement.Predicate)
	if err != nil {
		a.fault = refuse(codeProvUnreadable, "%v", err)
		return a
	}
	a.claim = claim
	if !knownBuildType(claim) {
		// Without knowing what its fields mean there is nothing to compare.
		a.fault = refuse(codeBuildType, "it is of build type %s (SLSA %s), which says nothing here", claim.BuildType, claim.Version)
		return a
	}
	switch {
	case len(claim.Unknown) > 0:
		a.fault = refuse(codeParameters, "the build had external parameters nobody here knows: %q", claim.Unknown)
	case claim.Dirty && !p.AllowDirty:
		a.fault = refuse(codeDirty, "the working tree was not exactly commit %s", claim.Commit)
	}
	if a.lie = contradictedBuilder(claim, w.certificate); a.lie == nil {
		a.lie = contradicted(claim, w.certificate)
	}
	return a
}

func knownBuildType(c provenance.Claim) bool {
	switch c.BuildType {
	case provenance.GitHubWorkflow, provenance.FirstWorkflow, provenance.Local:
		return c.Version == "v1"
	case provenance.GeneratorContainer, provenance.GeneratorGeneric:
		return c.Version == "v0.2"
	}
	return false
}

// contradictedBuilder compares the builder with the certificate. A CI's
// certificate names the workflow that signed as its subject, and as build
// signer. GitHub's first attestations named the kind of runner instead.
func contradictedBuilder(c provenance.Claim, cert certificate.Summary) *refusal {
	signer := cert.SubjectAlternativeName
	switch {
	case c.BuildType == provenance.Local && cert.BuildSignerURI != "":
		return refuse(codeBuilder, "the provenance is of a local build, the certificate names the builder %s", cert.BuildSignerURI)
	case c.BuildType == provenance.Local && c.BuilderID != provenance.LocalBuilder:
		return refuse(codeBuilder, "the provenance names the builder %s, a local build has %s", c.BuilderID, provenance.LocalBuilder)
	case c.BuildType == provenance.Local:
		return nil
	case cert.BuildSignerURI == "":
		return refuse(codeBuilderUnproven, "the provenance names the builder %s, the certificate of %s names none", c.BuilderID, signer)
	case sameURI(c.BuilderID, signer) && signer == cert.BuildSignerURI:
		return nil
	case cert.RunnerEnvironment != "" && c.BuilderID == "https://github.com/actions/runner/"+cert.RunnerEnvironment:
		return nil
	}
	return refuse(codeBuilder, "the provenance names the builder %s, the certificate %s", c.BuilderID, signer)
}

// contradicted compares what provenance and certificate both know. What the
// certificate says and the provenance leaves out is a contradiction too, except
// for facts that not every version of provenance has.
func contradicted(c provenance.Claim, cert certificate.Summary) *refusal {
	workflow := ""
	if c.WorkflowPath != "" {
		workflow = c.Repository + "/" + c.WorkflowPath + "@" + c.WorkflowRef
	}
	for _, fact := range []struct {
		code, name    string
		claimed, sure string
		optional      bool
	}{
		{codeRepository, "repository", c.Repository, cert.SourceRepositoryURI, false},
		{codeCommit, "commit", c.Commit, cert.SourceRepositoryDigest, false},
		{codeRef, "ref", c.Ref, cert.SourceRepositoryRef, false},
		{codeWorkflow, "workflow", workflow, cert.BuildConfigURI, false},
		{codeRun, "run", c.RunURI, cert.RunInvocationURI, false},
		{codeEvent, "event", c.Event, cert.BuildTrigger, true},
		{codeRunner, "runner environment", c.Runner, cert.RunnerEnvironment, true},
		{codeID, "repository id", c.RepositoryID, cert.SourceRepositoryIdentifier, true},
		{codeID, "owner id", c.OwnerID, cert.SourceRepositoryOwnerIdentifier, true},
	} {
		switch {
		case fact.sure == "" || fact.claimed == fact.sure:
		case fact.code == codeWorkflow && sameURI(fact.claimed, fact.sure):
		case fact.claimed == "" && fact.optional:
		case fact.claimed == "":
			return refuse(fact.code, "the provenance names no %s, the certificate %s", fact.name, fact.sure)
		default:
			return refuse(fact.code, "the provenance says the %s is %s, the certificate says %s", fact.name, fact.claimed, fact.sure)
		}
	}
	return nil
}

// sameURI says that a provenance and a certificate name the same workflow. The
// certificate authority writes a URL, in which some characters that a branch
// may have are escaped; GitHub's provenance has the branch as it is.
func sameURI(claimed, certified string) bool {
	if claimed == certified {
		return true
	}
	plain, err := url.PathUnescape(certified)
	return err == nil && claimed == plain
}

// chosen gives the provenance that speaks for the image. One that contradicts
// its certificate speaks first: when the policy's own identity has attested
// something untrue, no other word of it is a comfort. Then come the good ones.
// Several good ones may name different commits and all be true, where two
// commits build the same bytes.
func (p *opinion) chosen() (account, bool) {
	for _, a := range p.accounts {
		if a.lie != nil {
			return a, true
		}
	}
	for _, a := range p.accounts {
		if a.good() {
			return a, true
		}
	}
	if len(p.accounts) > 0 {
		return p.accounts[0], true
	}
	return account{}, false
}

func (p *opinion) checkProvenance() []verdict.Check {
	const name, source = policy.Provenance, "source"
	kinds := []string{evidence.Provenance, evidence.ProvenanceV02}
	a, ok := p.chosen()
	if !ok {
		return []verdict.Check{
			p.missing(name, codeNoProvenance, "no provenance is attested", kinds...),
			unknown(source, codeNoProvenance, "there is no provenance to compare with the certificate"),
		}
	}
	details := append(p.otherAccounts(a), p.ignored(kinds...)...)
	var checks []verdict.Check
	if a.fault != nil {
		checks = append(checks, fail(name, a.fault.code, a.fault.reason, details...))
	} else {
		checks = append(checks, pass(name, fmt.Sprintf("SLSA %s, %s build by %s", a.claim.Version, buildName(a.claim), shown(a.claim.BuilderID)),
			append([]verdict.Detail{detail("build type", "%s", a.claim.BuildType)}, details...)...))
	}
	return append(checks, checkSource(source, a))
}

func buildName(c provenance.Claim) string {
	switch c.BuildType {
	case provenance.GitHubWorkflow, provenance.FirstWorkflow:
		return "GitHub workflow"
	case provenance.Local:
		return "local"
	}
	return "slsa-github-generator"
}

func checkSource(name string, a account) verdict.Check {
	c, cert := a.claim, a.witness.certificate
	switch {
	case a.lie != nil:
		return fail(name, a.lie.code, a.lie.reason, facts(c)...)
	case a.fault != nil && (a.fault.code == codeProvUnreadable || a.fault.code == codeBuildType):
		return unknown(name, a.fault.code, "the provenance cannot be compared with the certificate", facts(c)...)
	case cert.SourceRepositoryDigest == "":
		return pass(name, fmt.Sprintf("commit %s by the word of the signer: the certificate names no source", orNone(c.Commit)), facts(c)...)
	}
	return pass(name, fmt.Sprintf("commit %s of %s at %s, in provenance and certificate alike", c.Commit, c.Repository, c.Ref), facts(c)...)
}

func facts(c provenance.Claim) []verdict.Detail {
	var out []verdict.Detail
	for _, f := range []struct{ name, value string }{
		{"repository", c.Repository}, {"commit", c.Commit}, {"ref", c.Ref}, {"builder", c.BuilderID}, {"run", c.RunURI},
	} {
		if f.value != "" {
			out = append(out, detail(f.name, "%s", f.value))
		}
	}
	return out
}

func orNone(commit string) string {
	if commit == "" {
		return "(none)"
	}
	return commit
}

// otherAccounts names the provenances by the policy's identity beside a.
func (p *opinion) otherAccounts(a account) []verdict.Detail {
	others := map[string]int{}
	for _, other := range p.accounts {
		switch {
		case other.fault != nil:
			others["by the policy's identity, refused: "+other.fault.reason]++
		case other.claim.Commit != a.claim.Commit:
			others["by the policy's identity, of commit "+other.claim.Commit]++
		}
	}
	if a.fault != nil {
		delete(others, "by the policy's identity, refused: "+a.fault.reason)
	}
	return counted("beside it", "%s %s", others)
}
