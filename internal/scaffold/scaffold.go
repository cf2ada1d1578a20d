// Package scaffold makes the files that a repository needs to be released with hallmark: the policy, the workflows, the
// Helm values and, for an image in Amazon ECR, the Terraform root of its repository and role. Files makes them from
// answers; Compare and Write bring them into a folder, and nothing there is overwritten unseen.
//
// Limits: it knows GitHub Actions and no other CI. It asks nobody: GitHub's numbers and hallmark's commit are given.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"text/template"

	"github.com/hallmark-sh/hallmark/internal/policy"
)

// Answers say what to write files for.
type Answers struct {
	Image      string // with its registry, without tag or digest
	Repository string // on github.com, owner/name
	Ref        string // what is released, refs/heads/NAME
	Build      string // docker or go
	Package    string // the main package, for go
	Hallmark   string // the commit of hallmark to pin, 40 hex digits

	// OwnerID and RepositoryID are GitHub's numbers, for an image in ECR.
	OwnerID, RepositoryID int64
}

// File is one file to write: its slash-separated path below the repository's top, and its text.
type File struct {
	Path string
	Text []byte
}

// ErrAnswer marks an answer that cannot be used.
var ErrAnswer = errors.New("not usable")

//go:embed templates
var templates embed.FS

var (
	repositoryForm = regexp.MustCompile(`^([A-Za-z0-9][A-Za-z0-9-]{0,38})/([A-Za-z0-9._-]{1,100})$`)
	refForm        = regexp.MustCompile(`^refs/heads/([A-Za-z0-9][A-Za-z0-9._/-]{0,199})$`)
	packageForm    = regexp.MustCompile(`^\.(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$`)
	commitForm     = regexp.MustCompile(`^[0-9a-f]{40}$`)
	ecrForm        = regexp.MustCompile(`^([0-9]{12})\.dkr\.ecr\.([a-z]{2}(?:-[a-z]+)+-[0-9])\.(amazonaws\.com|amazonaws\.com\.cn)/([a-z0-9][a-z0-9._/-]*)$`)
	notInKey       = regexp.MustCompile(`[^a-z0-9]+`)
)

// InECR says whether an image lives in Amazon ECR, and so whether Files needs GitHub's numbers.
func InECR(image string) bool { return ecrForm.MatchString(image) }

// known is what the templates know.
type known struct {
	Answers
	Owner, Name, Branch string
	ECR                 *ecr
}

// ecr is where in AWS an image lives, and how its role is called.
type ecr struct{ Account, Region, Partition, Name, Key, Role string }

// Files makes the files, after checking every answer. The hallmark.yaml among them is one that policy.Parse accepts. An
// error is ErrAnswer when an answer is to blame.
func Files(a Answers) ([]File, error) {
	k, err := check(a)
	if err != nil {
		return nil, err
	}
	wanted := []struct{ path, template string }{
		{"hallmark.yaml", "hallmark.yaml"},
		{".github/workflows/hallmark-release.yml", "release.yml"},
		{".github/workflows/hallmark-check.yml", "check.yml"},
		{"deploy/values.yaml", "values.yaml"},
	}
	if k.ECR != nil {
		wanted = append(wanted, struct{ path, template string }{"deploy/terraform/main.tf", "main.tf"})
	}
	var files []File
	for _, w := range wanted {
		text, err := render(w.template, k)
		if err != nil {
			return nil, err
		}
		files = append(files, File{w.path, text})
	}
	if _, err := policy.Parse(files[0].Path, files[0].Text); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrAnswer, err)
	}
	return files, nil
}

func render(name string, k known) ([]byte, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFS(templates, "templates/"+name)
	if err != nil {
		return nil, fmt.Errorf("reading the template of %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.Execute(&b, k); err != nil {
		return nil, fmt.Errorf("filling the template of %s: %w", name, err)
	}
	return b.Bytes(), nil
}

func check(a Answers) (known, error) {
	k := known{Answers: a}
	repository := repositoryForm.FindStringSubmatch(a.Repository)
	ref := refForm.FindStringSubmatch(a.Ref)
	switch {
	case repository == nil || strings.Trim(repository[2], ".") == "":
		return k, fmt.Errorf("repository %q is %w: write owner/name, as on github.com", a.Repository, ErrAnswer)
	case ref == nil || strings.Contains(a.Ref, "..") || strings.HasSuffix(a.Ref, "/"):
		return k, fmt.Errorf("ref %q is %w: write refs/heads/ and the branch that is released", a.Ref, ErrAnswer)
	case a.Build != "docker" && a.Build != "go":
		return k, fmt.Errorf("build %q is %w: docker or go", a.Build, ErrAnswer)
	case a.Build == "go" && !packageForm.MatchString(a.Package):
		return k, fmt.Errorf("package %q is %w: a folder below this one, such as ./cmd/app", a.Package, ErrAnswer)
	case !commitForm.MatchString(a.Hallmark):
		return k, fmt.Errorf("hallmark %q is %w: the whole commit of a release, 40 hexadecimal digits", a.Hallmark, ErrAnswer)
	case strings.ContainsAny(a.Image, " \t\r\n\"'#{}$\\"):
		return k, fmt.Errorf("image %q is %w: a registry and a name", a.Image, ErrAnswer)
	}
	k.Owner, k.Name, k.Branch = repository[1], repository[2], ref[1]
	m := ecrForm.FindStringSubmatch(a.Image)
	if m == nil {
		return k, nil
	}
	if a.OwnerID <= 0 || a.RepositoryID <= 0 {
		return k, fmt.Errorf("the numbers %d and %d of owner and repository are %w: GitHub's own are trusted by AWS, since a name can change hands", a.OwnerID, a.RepositoryID, ErrAnswer)
	}
	partition := "aws"
	switch {
	case m[3] == "amazonaws.com.cn":
		partition = "aws-cn"
	case strings.HasPrefix(m[2], "us-gov-"):
		partition = "aws-us-gov"
	}
	name := notInKey.ReplaceAllString(strings.ToLower(k.Name), "-")
	key := strings.Trim(name[:min(len(name), 30)], "-")
	if key == "" {
		return k, fmt.Errorf("repository %q is %w: no role can be named after it", a.Repository, ErrAnswer)
	}
	k.ECR = &ecr{Account: m[1], Region: m[2], Partition: partition, Name: m[4], Key: key,
		Role: fmt.Sprintf("arn:%s:iam::%s:role/hallmark-release-%s", partition, m[1], key)}
	return k, nil
}
