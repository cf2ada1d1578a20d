package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/scaffold"
	"github.com/hallmark-sh/hallmark/internal/source"
)

// initAnswer is the stable JSON answer of hallmark init; its schema is
// docs/schemas/init-v1.schema.json.
type initAnswer struct {
	Schema string       `json:"schema"`
	Dir    string       `json:"dir"`
	Wrote  bool         `json:"wrote"`
	Files  []initedFile `json:"files"`
}

type initedFile struct {
	Path string `json:"path"`
	// State is new, changed, or same.
	State string `json:"state"`
	Diff  string `json:"diff,omitempty"`
}

type initFlags struct {
	scaffold.Answers
	overwrite, dryRun bool
}

func (a *app) initCommand() *cobra.Command {
	var f initFlags
	cmd := &cobra.Command{
		Use:   "init [DIR]",
		Short: "Write what a repository needs to be released: policy, workflows, Helm values, Terraform",
		Long: `init writes hallmark.yaml, two workflows that call hallmark's reusable ones (a
release of each commit of a branch, a check of each pull request), the Helm
values of the image and, for an image in Amazon ECR, the Terraform root of its
repository and of the role that may push to it.

What is not given by a flag is taken from the repository or, on a terminal,
asked. A file that is there with another text is shown as a difference and left
alone, unless you agree on the terminal or give --overwrite; then too it is
shown. Either every file can be written or none is.`,
		Example: `  hallmark init
  hallmark init --image ghcr.io/acme/app --hallmark COMMIT
  hallmark init --image 111122223333.dkr.ecr.eu-central-1.amazonaws.com/acme/app \
    --owner-id 1001 --repository-id 2002 --hallmark COMMIT --dry-run`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			return a.initialise(cmd.Context(), dir, f)
		},
	}
	fl := cmd.Flags()
	fl.StringVar(&f.Image, "image", "", "`repository` of the image with its registry (default ghcr.io/OWNER/NAME)")
	fl.StringVar(&f.Repository, "repository", "", "the repository on github.com, `OWNER/NAME` (default the origin's)")
	fl.StringVar(&f.Ref, "ref", "", "what is released, `refs/heads/BRANCH` (default the branch that is checked out)")
	fl.StringVar(&f.Build, "build", "", "how the image is made, `docker or go` (default by Dockerfile or go.mod)")
	fl.StringVar(&f.Package, "package", "", "the main package `folder`, for go (default .)")
	fl.StringVar(&f.Hallmark, "hallmark", "", "the `commit` of the hallmark release to pin, 40 hexadecimal digits")
	fl.Int64Var(&f.OwnerID, "owner-id", 0, "GitHub's `number` of the owner, for an image in Amazon ECR")
	fl.Int64Var(&f.RepositoryID, "repository-id", 0, "GitHub's `number` of the repository, for an image in Amazon ECR")
	fl.BoolVar(&f.overwrite, "overwrite", false, "write over files that have another text, after showing what changes")
	fl.BoolVar(&f.dryRun, "dry-run", false, "show what would be written and write nothing")
	return cmd
}

func (a *app) initialise(ctx context.Context, dir string, f initFlags) error {
	dir, err := a.guess(ctx, dir, &f.Answers)
	if err != nil {
		return err
	}
	asked := bufio.NewReader(io.LimitReader(a.screen.In, 1<<16))
	if err := a.complete(ctx, asked, &f.Answers); err != nil {
		return err
	}
	files, err := scaffold.Files(f.Answers)
	if errors.Is(err, scaffold.ErrAnswer) {
		return misuse{err}
	} else if err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fmt.Errorf("opening %s: %w", dir, err)
	}
	defer root.Close()
	changes, err := scaffold.Compare(root, files)
	if err != nil {
		return err
	}
	agreed, err := a.agree(ctx, asked, changes, f)
	if err != nil {
		return err
	}
	if agreed {
		if err := scaffold.Write(root, changes); err != nil {
			return err
		}
	}
	return a.printInit(dir, changes, agreed, f)
}

// guess fills in what the repository says of itself, and returns the folder
// whose files are written: the repository's top, where GitHub looks for workflows.
func (a *app) guess(ctx context.Context, dir string, answers *scaffold.Answers) (string, error) {
	s, err := source.Open(ctx, dir)
	if err != nil {
		if ctx.Err() != nil {
			return "", err
		}
		return "", hint.Add(err, "hallmark init needs a git repository with a commit: git init, then git commit")
	}
	if name, ok := strings.CutPrefix(s.Remote, "https://github.com/"); ok && answers.Repository == "" {
		answers.Repository = name
	}
	if strings.HasPrefix(s.Ref, "refs/heads/") && answers.Ref == "" {
		answers.Ref = s.Ref
	}
	for _, made := range []struct{ file, build string }{{"Dockerfile", "docker"}, {"go.mod", "go"}} {
		if _, err := os.Stat(filepath.Join(s.Dir, made.file)); err == nil && answers.Build == "" {
			answers.Build = made.build
		}
	}
	if answers.Build == "go" && answers.Package == "" {
		answers.Package = "."
	}
	return s.Dir, nil
}

// complete asks for what is missing, on a terminal; elsewhere it names the flags. What only was guessed is asked too, with
// the guess as the answer to an empty line.
func (a *app) complete(ctx context.Context, in *bufio.Reader, answers *scaffold.Answers) error {
	var missing []string
	text := func(flag, question string, answer *string) error {
		if !a.screen.InTTY || a.flags.json {
			if *answer == "" {
				missing = append(missing, "--"+flag)
			}
			return nil
		}
		got, err := a.ask(ctx, in, question, *answer)
		if got != "" {
			*answer = got
		}
		return err
	}
	number := func(flag, question string, answer *int64) error {
		words := ""
		if *answer != 0 {
			words = strconv.FormatInt(*answer, 10)
		}
		if err := text(flag, question, &words); err != nil || words == "" {
			return err
		}
		n, err := strconv.ParseInt(words, 10, 64)
		if err != nil {
			return misuse{fmt.Errorf("%q is not a number", words)}
		}
		*answer = n
		return nil
	}
	for _, q := range []struct {
		flag, question string
		answer         *string
	}{
		{"repository", "Repository on github.com, OWNER/NAME", &answers.Repository},
		{"image", "Repository of the image, with its registry", &answers.Image},
		{"ref", "What is released, refs/heads/BRANCH", &answers.Ref},
		{"build", "How the image is made, docker or go", &answers.Build},
		{"hallmark", "Commit of the hallmark release to pin", &answers.Hallmark},
	} {
		if q.flag == "image" && answers.Image == "" && answers.Repository != "" {
			answers.Image = "ghcr.io/" + strings.ToLower(answers.Repository)
		}
		if err := text(q.flag, q.question, q.answer); err != nil {
			return err
		}
	}
	if answers.Build == "go" && answers.Package == "" {
		answers.Package = "."
	}
	if scaffold.InECR(answers.Image) {
		if err := number("owner-id", "GitHub's number of the owner", &answers.OwnerID); err != nil {
			return err
		}
		if err := number("repository-id", "GitHub's number of the repository", &answers.RepositoryID); err != nil {
			return err
		}
	}
	if len(missing) == 0 {
		return nil
	}
	err := misuse{fmt.Errorf("missing: %s", strings.Join(missing, ", "))}
	switch missing[0] {
	case "--owner-id", "--repository-id":
		return hint.Add(err, "gh api repos/%s --jq '.owner.id, .id' prints the two numbers", answers.Repository)
	case "--hallmark":
		return hint.Add(err, "git ls-remote https://github.com/hallmark-sh/hallmark 'refs/tags/v*' lists the releases with their commits")
	}
	return hint.Add(err, "give the flags, or run hallmark init on a terminal to be asked")
}

// ask puts a question to the terminal and returns the line, or the proposal for an empty one.
func (a *app) ask(ctx context.Context, in *bufio.Reader, question, proposal string) (string, error) {
	a.screen.endProgress()
	if proposal != "" {
		question += " [" + clean(proposal) + "]"
	}
	fmt.Fprintf(a.screen.Err, "%s: ", question)
	type answer struct {
		line string
		err  error
	}
	// Reading a terminal cannot be cancelled, so the read is left behind when the run is interrupted.
	got := make(chan answer, 1)
	go func() {
		line, err := in.ReadString('\n')
		got <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case g := <-got:
		if g.err != nil && (g.line == "" || !errors.Is(g.err, io.EOF)) {
			return "", fmt.Errorf("reading an answer: %w", g.err)
		}
		if line := strings.TrimSpace(g.line); line != "" {
			return line, nil
		}
		return proposal, nil
	}
}

// agree shows what would change in files that are there, and says whether to write. It is all files or none.
func (a *app) agree(ctx context.Context, in *bufio.Reader, changes []scaffold.Change, f initFlags) (bool, error) {
	inTheWay, changed := []string{}, false
	for _, c := range changes {
		changed = changed || c.Diff != ""
		if c.Diff == "" || !c.Exists && !f.dryRun {
			continue
		}
		if c.Exists {
			inTheWay = append(inTheWay, c.Path)
		}
		if !a.flags.json {
			a.printLines(c.Diff)
		}
	}
	switch {
	case f.dryRun || !changed:
		return false, nil
	case len(inTheWay) == 0 || f.overwrite:
		return true, nil
	case a.screen.InTTY && !a.flags.json:
		answer, err := a.ask(ctx, in, "Write over "+strings.Join(inTheWay, ", ")+" as shown? yes or no", "no")
		if err != nil {
			return false, err
		}
		if answer == "yes" || answer == "y" {
			return true, nil
		}
	}
	err := fmt.Errorf("nothing was written: %s there with another text: %s", plural(len(inTheWay), "file is", "files are"), strings.Join(inTheWay, ", "))
	return false, hint.Add(err, "look at the difference with hallmark init --dry-run, then give --overwrite, or move what you want to keep")
}

// printLines shows a difference line for line, without what a file may hold to move the terminal's cursor.
func (a *app) printLines(text string) {
	for line := range strings.Lines(text) {
		line = clean(strings.ReplaceAll(strings.TrimRight(line, "\n"), "\t", "  "))
		p := paint("")
		switch {
		case strings.HasPrefix(line, "+"):
			p = green
		case strings.HasPrefix(line, "-"):
			p = red
		}
		a.screen.printf("%s\n", a.screen.out(p, line))
	}
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func (a *app) printInit(dir string, changes []scaffold.Change, wrote bool, f initFlags) error {
	answer := initAnswer{Schema: "hallmark.init/v1", Dir: dir, Wrote: wrote}
	for _, c := range changes {
		state := "new"
		switch {
		case c.Diff == "":
			state = "same"
		case c.Exists:
			state = "changed"
		}
		answer.Files = append(answer.Files, initedFile{c.Path, state, c.Diff})
	}
	if a.flags.json {
		return a.screen.json(answer)
	}
	for _, file := range answer.Files {
		a.screen.printf("  %-8s %s\n", file.State, file.Path)
	}
	switch {
	case f.dryRun:
		a.screen.printf("Nothing was written.\n")
		return nil
	case !wrote:
		a.screen.printf("Everything is as it should be.\n")
		return nil
	}
	a.screen.printf("\nNext: hallmark policy check, then commit these files.\n")
	if scaffold.InECR(f.Image) {
		a.screen.printf("Before the first release: terraform init and apply in deploy/terraform, as somebody who may make IAM roles.\n")
	}
	return nil
}
