package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// saved is one entry of a docker archive's manifest.json.
type saved struct {
	Config   string
	RepoTags []string
	Layers   []string
}

// dockerArchive is a tar as docker save writes it: in the old form, a folder
// for each layer, or the new one, which is an OCI layout with a manifest.json.
type dockerArchive struct {
	tar   *archive
	store *store
	// rewrite, when set, changes the config before it is kept.
	rewrite func(config []byte) ([]byte, error)
	// annotations go into the manifest.
	annotations map[string]string
}

// read takes the one image with the stated config digest; without one, the
// archive must hold exactly one image.
func (a dockerArchive) read(ctx context.Context, stated string) (outcome, error) {
	entry, raw, err := a.choose(ctx, stated)
	if err != nil {
		return outcome{}, err
	}
	config, err := parseConfig(raw)
	if err != nil {
		return outcome{}, err
	}
	if len(config.RootFS.DiffIDs) != len(entry.Layers) {
		return outcome{}, fmt.Errorf("the archive lists %d layers, the image's config %d",
			len(entry.Layers), len(config.RootFS.DiffIDs))
	}
	layers := make([]v1.Descriptor, len(entry.Layers))
	seen := make(map[string]layer)
	for i, name := range entry.Layers {
		l, ok := seen[name]
		if !ok {
			if l, err = a.layer(ctx, name); err != nil {
				return outcome{}, err
			}
			seen[name] = l
		}
		if want := config.RootFS.DiffIDs[i]; l.diffID != want {
			return outcome{}, fmt.Errorf("layer %s has the diff ID %s, the image's config says %s", name, l.diffID, want)
		}
		layers[i] = l.desc
	}
	if a.rewrite != nil {
		if raw, err = a.rewrite(raw); err != nil {
			return outcome{}, err
		}
	}
	subject, err := a.store.putImage(raw, layers, a.annotations)
	if err != nil {
		return outcome{}, err
	}
	return outcome{
		subject:   subject,
		platforms: []Platform{{Name: platformName(config.OS, config.Architecture, config.Variant), Digest: subject.Digest}},
	}, nil
}

// choose finds the entry of manifest.json and reads its config.
func (a dockerArchive) choose(ctx context.Context, stated string) (saved, []byte, error) {
	raw, err := a.document(ctx, "manifest.json")
	if err != nil {
		return saved{}, nil, err
	}
	var entries []saved
	if err := parseJSON(raw, &entries); err != nil {
		return saved{}, nil, fmt.Errorf("parsing manifest.json: %w", err)
	}
	if stated == "" && len(entries) != 1 {
		return saved{}, nil, hint.Add(fmt.Errorf("the archive holds %d images%s", len(entries), a.list(ctx, entries)),
			"save one image alone, or set its config digest under build.layout")
	}
	for _, e := range entries {
		config, err := a.document(ctx, e.Config)
		if err != nil {
			return saved{}, nil, err
		}
		if stated == "" || digestOf(config).String() == stated {
			return e, config, nil
		}
	}
	return saved{}, nil, hint.Add(fmt.Errorf("the archive does not hold %s%s", stated, a.list(ctx, entries)),
		"the image is not the one that was stated: save it again, or state the digest that was meant")
}

// list names the images, for a message.
func (a dockerArchive) list(ctx context.Context, entries []saved) string {
	var names []string
	for _, e := range entries {
		name := e.Config
		if config, err := a.document(ctx, e.Config); err == nil {
			name = digestOf(config).String()
		}
		if len(e.RepoTags) > 0 {
			name += " (" + strings.Join(e.RepoTags, ", ") + ")"
		}
		names = append(names, name)
	}
	if len(names) == 0 {
		return ""
	}
	return ": " + strings.Join(names, ", ")
}

func (a dockerArchive) document(ctx context.Context, name string) ([]byte, error) {
	b, err := a.tar.open(ctx, path.Clean(name))
	if err != nil {
		return nil, fmt.Errorf("reading archive: %w", err)
	}
	defer b.Close()
	raw, err := readDocument(b)
	if err != nil {
		return nil, fmt.Errorf("reading archive: %s: %w", name, err)
	}
	return raw, nil
}

// layer takes one layer: a plain tar is compressed, a compressed one kept.
func (a dockerArchive) layer(ctx context.Context, name string) (layer, error) {
	b, err := a.tar.open(ctx, path.Clean(name))
	if err != nil {
		return layer{}, hint.Add(fmt.Errorf("reading archive: layer %w", err), "the archive is not whole; save the image again")
	}
	defer b.Close()
	head := make([]byte, sniffBytes)
	n, err := io.ReadFull(b, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return layer{}, fmt.Errorf("reading archive: layer %s: %w", name, err)
	}
	whole := withHead(head[:n], b)
	var l layer
	if c := sniff(head[:n]); c == plain {
		l, err = a.store.pack(ctx, whole)
	} else {
		l, err = a.store.keep(ctx, whole, c)
	}
	if err != nil {
		return layer{}, fmt.Errorf("taking layer %s: %w", name, err)
	}
	return l, nil
}
