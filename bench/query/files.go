package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/hallmark-sh/hallmark/bench/estate"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// askFiles writes the estate as CycloneDX files and asks grep, for one version
// of a package, and jq, for every version with the digest of the image. A few
// questions say enough.
func (b *bench) askFiles(ctx context.Context, f *figures) error {
	if b.images > b.files {
		f.notes = append(f.notes, fmt.Sprintf("grep and jq were not asked at %d images: their time grows with the files", b.images))
		return nil
	}
	dir := filepath.Join(b.dir, "files")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	progress("writing %d files", b.images)
	if err := b.grown.Each(func(i estate.Image) error { return b.writeFile(dir, i) }); err != nil {
		return err
	}
	for _, q := range b.draw()[:12] {
		if q.kind == affected {
			continue
		}
		began := time.Now()
		var cmd *exec.Cmd
		name := "grep"
		if q.kind == whoHasVersion {
			cmd = exec.CommandContext(ctx, "grep", "-rlF", `"`+q.name+`","version":"`+q.at+`"`, dir)
		} else {
			name = "jq"
			cmd = exec.CommandContext(ctx, "sh", "-c", `find "$1" -name '*.json' -print0 | xargs -0 jq -r --arg n "$2" 'select(any(.components[]; .name == $n)) | .metadata.component.version'`, "sh", dir, q.name)
		}
		out, err := cmd.Output()
		took := time.Since(began)
		var exit *exec.ExitError
		if errors.Is(err, exec.ErrNotFound) {
			f.notes = append(f.notes, name+" is not installed")
			continue
		}
		if err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 1) {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(out) == 0 {
			return fmt.Errorf("%s finds nothing for %s %s", name, q.name, q.at)
		}
		key := [2]string{q.kind, "files"}
		f.times[key] = append(f.times[key], took)
	}
	f.contenders = append(f.contenders, "files")
	return nil
}

// writeFile writes one image's document.
func (b *bench) writeFile(dir string, i estate.Image) error {
	raw, err := b.document(i)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, i.Digest.Hex[48:]+".json"), raw, 0o644)
}

// document is one image's SBOM, as small as it can be.
func (b *bench) document(i estate.Image) ([]byte, error) {
	type part struct {
		Type    string `json:"type"`
		Name    string `json:"name"`
		Version string `json:"version"`
		PURL    string `json:"purl,omitempty"`
	}
	doc := struct {
		Format   string `json:"bomFormat"`
		Spec     string `json:"specVersion"`
		Metadata struct {
			Component part `json:"component"`
		} `json:"metadata"`
		Components []part `json:"components"`
	}{Format: "CycloneDX", Spec: "1.6"}
	doc.Metadata.Component = part{Type: "container", Name: i.Repository, Version: i.Digest.String()}
	for _, place := range i.Packages {
		p := b.grown.Packages[place]
		doc.Components = append(doc.Components, part{"library", p.FullName(), p.Version, p.PURL()})
	}
	return json.Marshal(doc)
}

// freshness imports one advisory on the commonest package over HTTP, and says
// how long after sending it the answer has it.
func (b *bench) freshness(ctx context.Context, s, beside *server) (own, other time.Duration, err error) {
	var images []estate.Image
	b.grown.Each(func(i estate.Image) error { images = append(images, i); return errStop })
	p := b.grown.Packages[images[0].Packages[0]]
	record := vulnerability.Record{Provider: "fresh", ID: "FRESH-1", Affected: []vulnerability.Row{{
		Type: p.Type, Name: p.FullName(), Distro: strings.Replace(p.Distro, "-", ":", 1), Ranges: []vulnerability.Range{{Format: "unknown"}},
	}}}
	raw, err := json.Marshal(record)
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	if err := s.post(ctx, "/v1/advisories?source=bench&partial=true", "application/x-ndjson", append(raw, '\n')); err != nil {
		return 0, 0, err
	}
	if own, err = s.answers(ctx, began, "FRESH-1"); err == nil && beside != nil {
		other, err = beside.answers(ctx, began, "FRESH-1")
	}
	return own, other, err
}

// answers waits for an advisory to be in the answers, and gives the time since
// began.
func (s *server) answers(ctx context.Context, began time.Time, id string) (time.Duration, error) {
	for {
		total, err := s.ask(ctx, question{kind: affected, id: id})
		if err == nil && total > 0 {
			return time.Since(began), nil
		}
		if time.Since(began) > time.Minute {
			return 0, fmt.Errorf("no answer has it after a minute: %v", err)
		}
	}
}

func (s *server) post(ctx context.Context, path, kind string, body []byte) error {
	out, err := postRequest(ctx, s, path, kind, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
