package advisory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

// place on the network, and the same without what must not be shown.
type remote struct {
	url  *url.URL
	name string
}

// parseRemote reads a URL. Plain http is for loopback, or for a database whose
// signature is checked: anyone on the way could hand out another otherwise.
func parseRemote(raw string, signed bool) (remote, error) {
	u, err := url.Parse(raw)
	if err != nil {
		// The error of url.Parse would show the URL with its password.
		return remote{}, errors.New("opening advisories: the URL cannot be read")
	}
	r := remote{url: u, name: cleanURL(u)}
	switch {
	case u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return r, hint.Add(fmt.Errorf("opening advisories: %s is no http or https URL", r.name), "name a file, a folder or an https URL")
	case u.Scheme == "http" && !signed && !loopback(u.Hostname()):
		return r, hint.Add(fmt.Errorf("opening advisories: %s is plain http, and no signer is named", r.name),
			"use https, or name who must have signed the database as advisories.signer in hallmark.yaml")
	}
	return r, nil
}

// cleanURL is a URL without user, password, query and fragment: a signed
// query is a credential too.
func cleanURL(u *url.URL) string {
	return (&url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}).String()
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// beside is the remote file of the given name next to r, keeping a query that
// may hold credentials.
func (r remote) beside(name string) remote {
	u := *r.url
	u.Path = path.Join(path.Dir(u.Path), name)
	u.RawPath = ""
	return remote{&u, cleanURL(&u)}
}

// isArchive says that the URL names an archive or a database file, not a base.
func (r remote) isArchive() bool {
	base := path.Base(r.url.Path)
	return strings.HasSuffix(base, ".db") || strings.HasSuffix(plainName(base), ".tar")
}

// fetch opens a database from a URL: of an archive, of a latest.json, or of a
// base as grype takes it in GRYPE_DB_UPDATE_URL. What was fetched before is
// used again while it is the newest, and also when the place cannot be
// reached; how old that may be is the gate's question.
func (o *Options) fetch(ctx context.Context) (entry, error) {
	at, err := parseRemote(o.From, o.Signer != nil)
	if err != nil {
		return entry{}, err
	}
	d := o.downloader(at)
	unlock, err := d.lock(ctx)
	if err != nil {
		return entry{}, err
	}
	defer unlock()
	a, err := o.download(ctx, d, at)
	if a.file != "" {
		defer os.Remove(a.file)
	}
	if err == nil {
		return o.take(ctx, a)
	}
	if e, ok := o.fallback(ctx, d, err); ok {
		return e, nil
	}
	return entry{}, err
}

// fallback is the database that the URL gave last, when the place does not
// answer or fails; not when it answers that there is nothing. The signature is
// checked again.
func (o *Options) fallback(ctx context.Context, d downloader, cause error) (entry, bool) {
	var e *Error
	if !errors.As(cause, &e) || e.Code != Unreachable || ctx.Err() != nil {
		return entry{}, false
	}
	var status *statusError
	digest := d.state().Digest
	if digest == "" || errors.As(cause, &status) && !status.passing() {
		return entry{}, false
	}
	got, err := o.cached(ctx, digest)
	if err != nil {
		return entry{}, false
	}
	o.Progress(fmt.Sprintf("%s is out of reach; using the database of %s from it", e.Path, got.db.Built.Format("2006-01-02 15:04 UTC")))
	return got, true
}

// download finds the archive a URL stands for and fetches it, unless the cache
// has it, after its signature bundle when a signer is named.
func (o *Options) download(ctx context.Context, d downloader, at remote) (artifact, error) {
	if at.isArchive() {
		return o.archiveAt(ctx, d, at, "")
	}
	if path.Ext(at.url.Path) != ".json" {
		u := *at.url
		u.Path = strings.TrimRight(u.Path, "/") + "/v6/" + latestName
		u.RawPath = ""
		at = remote{&u, cleanURL(&u)}
	}
	data, err := d.small(ctx, at)
	if err != nil {
		return artifact{}, err
	}
	var doc latest
	refuse := func(code Code, err error) (artifact, error) {
		err = fmt.Errorf("reading %s: %w", latestName, err)
		return artifact{}, hint.Add(&Error{Code: code, Path: at.name, Err: err}, "name the base of a mirror of grype's version 6 databases, or an archive")
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		return refuse(Unreachable, err)
	}
	if !strings.HasPrefix(strings.TrimPrefix(doc.Schema, "v"), "6.") {
		return refuse(OtherSchema, fmt.Errorf("it tells schema %q", doc.Schema))
	}
	if _, err := (cache{o.CacheDir}).path(doc.Digest); err != nil {
		return refuse(Unreachable, fmt.Errorf("it tells no checksum: %w", err))
	}
	if doc.Path == "" || !filepath.IsLocal(doc.Path) {
		return refuse(Unreachable, fmt.Errorf("it tells the path %q", doc.Path))
	}
	return o.archiveAt(ctx, d, at.beside(doc.Path), doc.Digest)
}

// archiveAt fetches one archive; want is its digest when that is known.
func (o *Options) archiveAt(ctx context.Context, d downloader, at remote, want string) (artifact, error) {
	a := artifact{source: at.name, digest: want}
	if o.Signer != nil {
		bundle, err := d.small(ctx, at.beside(path.Base(at.url.Path)+bundleSuffix))
		var status *statusError
		if errors.As(err, &status) && status.code == 404 {
			return a, unsigned(at.name)
		}
		if err != nil {
			return a, err
		}
		a.bundle = bundle
	}
	if last := d.state(); want == "" {
		if _, err := (cache{o.CacheDir}).find(ctx, last.Digest); err == nil {
			d.known = last
		}
	}
	if want != "" {
		if _, err := (cache{o.CacheDir}).find(ctx, want); err == nil {
			return a, errors.Join(o.checkBundle(ctx, a), d.remember(state{Archive: at.name, Digest: want}))
		}
	}
	got, err := d.large(ctx, at, want)
	if err != nil {
		return a, err
	}
	a.file, a.digest = got.file, got.state.Digest
	if err := o.checkBundle(ctx, a); err != nil {
		return a, err
	}
	return a, d.remember(got.state)
}
