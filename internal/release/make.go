package release

import (
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/sync/errgroup"

	"github.com/hallmark-sh/hallmark/internal/advisory"
	"github.com/hallmark-sh/hallmark/internal/catalog"
	"github.com/hallmark-sh/hallmark/internal/finding"
	"github.com/hallmark-sh/hallmark/internal/gate"
	"github.com/hallmark-sh/hallmark/internal/image"
	"github.com/hallmark-sh/hallmark/internal/sbom"
	"github.com/hallmark-sh/hallmark/internal/scan"
)

// make is everything before the first effect: build, catalogue, scan, decide.
func (r *run) make(ctx context.Context) error {
	catalog.Warm()
	var db *scan.DB
	var inventories []*catalog.Inventory
	// The database is opened beside the build, and one that cannot be used
	// ends the build.
	group, beside := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		db, err = r.openAdvisories(beside)
		return err
	})
	group.Go(func() (err error) {
		if err = r.build(beside); err == nil {
			inventories, err = r.catalogue(beside)
		}
		return err
	})
	err := group.Wait()
	if db != nil {
		defer db.Close()
	}
	if err != nil {
		return err
	}
	if err := r.scan(ctx, db, inventories); err != nil {
		return err
	}
	return r.decide()
}

func (r *run) build(ctx context.Context) error {
	defer r.clock.start("build")()
	r.step("build", "%.12s", r.Source.Commit)
	built, err := image.Build(ctx, r.Source, r.Policy.Build, image.Options{
		Dir:        filepath.Join(r.Work, "layout"),
		PolicyDir:  filepath.Dir(r.Policy.Path),
		Repository: r.Policy.Image,
		Env:        r.Env,
		Keychain:   r.Registry.Keychain(),
		Transport:  r.Registry.Transport(),
		Progress:   func(line string) { r.step("build", "%s", line) },
	})
	if err != nil {
		return err
	}
	r.result.Built = built
	return nil
}

func (r *run) openAdvisories(ctx context.Context) (*scan.DB, error) {
	defer r.clock.start("advisories")()
	dir, about, err := advisory.Open(ctx, r.Advisories)
	if err != nil {
		return nil, fmt.Errorf("opening advisories: %w", err)
	}
	return scan.Open(ctx, dir, about)
}

// catalogue makes one inventory per platform, and the documents.
func (r *run) catalogue(ctx context.Context) ([]*catalog.Inventory, error) {
	defer r.clock.start("sbom")()
	built := r.result.Built
	inventories := make([]*catalog.Inventory, len(built.Platforms))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(2)
	for i, platform := range built.Platforms {
		group.Go(func() error {
			r.step("sbom", "reading packages of %s", platform.Name)
			img, err := built.Image(platform)
			if err != nil {
				return fmt.Errorf("reading image %s: %w", platform.Digest, err)
			}
			inventory, err := catalog.Run(ctx, img, catalog.Options{
				Subject:    platform.Digest,
				Platform:   platform.Name,
				Repository: r.Policy.Image,
				Time:       r.Source.CommitTime,
				Files:      r.Policy.SBOM.Files,
				Scratch:    r.Work,
				Version:    r.Version,
			})
			if err != nil {
				return fmt.Errorf("cataloguing %s: %w", platform.Name, err)
			}
			if err := sbom.Check(inventory.Document); err != nil {
				return fmt.Errorf("checking the SBOM of %s: %w", platform.Name, err)
			}
			inventories[i] = inventory
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	for _, inventory := range inventories {
		r.result.Documents = append(r.result.Documents, inventory.Document)
	}
	if built.IsIndex() {
		whole, err := sbom.Merge(built.Digest, r.Policy.Image, r.Source.CommitTime, r.result.Documents...)
		if err != nil {
			return nil, err
		}
		r.result.Documents = append(r.result.Documents, whole)
	}
	return inventories, nil
}

func (r *run) scan(ctx context.Context, db *scan.DB, inventories []*catalog.Inventory) error {
	defer r.clock.start("scan")()
	reports := make([]finding.Report, 0, len(inventories))
	for _, inventory := range inventories {
		r.step("scan", "matching %d packages of %s", inventory.Document.Total(), inventory.Document.Platform)
		report, err := db.Match(ctx, inventory)
		if err != nil {
			return fmt.Errorf("scanning %s: %w", inventory.Document.Platform, err)
		}
		report.Image = r.Policy.Image
		reports = append(reports, report)
	}
	r.reports = reports
	if !r.result.Built.IsIndex() {
		r.result.Report = reports[0]
		return nil
	}
	r.result.Report = finding.MergePlatforms(r.result.Built.Digest, reports...)
	return nil
}

// decide asks the gate, about the image as a whole.
func (r *run) decide() error {
	defer r.clock.start("gate")()
	vex, err := r.readVEX()
	if err != nil {
		return err
	}
	r.result.Decision = gate.Decide(r.Policy.Gate, r.Policy.Image, r.result.Report, vex, r.Now())
	return nil
}

// readVEX reads the policy's OpenVEX files, which lie beside the policy file.
func (r *run) readVEX() ([]finding.VEX, error) {
	var all []finding.VEX
	for _, file := range r.Policy.Gate.VEX {
		if !filepath.IsAbs(file) {
			file = filepath.Join(filepath.Dir(r.Policy.Path), file)
		}
		statements, err := finding.ReadVEX(file)
		if err != nil {
			return nil, err
		}
		all = append(all, statements)
	}
	return all, nil
}
