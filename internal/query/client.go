package query

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/hallmark-sh/hallmark/internal/hint"
	"github.com/hallmark-sh/hallmark/internal/index"
	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

// Client asks a service. It may be used from many goroutines.
type Client struct {
	// Base is the service's address, such as https://hallmark.example.
	Base string
	// Token is the bearer token; empty for none. It is sent to Base only.
	Token string
	// Transport carries requests; nil for http.DefaultTransport.
	Transport http.RoundTripper
	// UserAgent is sent with every request.
	UserAgent string
}

// Error is a service's refusal of a request.
type Error struct {
	Status int
	// Detail is what the service said.
	Detail string
}

// Error is what the service said.
func (e *Error) Error() string { return fmt.Sprintf("%s (%d)", e.Detail, e.Status) }

// maxAnswer bounds an answer, in bytes.
const maxAnswer = 256 << 20

// Ask asks a question by the path of its endpoint and gives the answer's JSON.
func (c *Client) Ask(ctx context.Context, path string, query url.Values, into any) error {
	return c.send(ctx, http.MethodGet, path, query, nil, "", into)
}

func (c *Client) send(ctx context.Context, method, path string, query url.Values, body io.Reader, contentType string, into any) error {
	base, err := url.Parse(c.Base)
	if err != nil || base.Host == "" || base.Scheme != "http" && base.Scheme != "https" {
		return hint.Add(fmt.Errorf("%q is not the address of a service", c.Base), "write --server as https://hallmark.example")
	}
	if c.Token != "" && base.Scheme == "http" && !isLoopback(base.Hostname()) {
		return hint.Add(errors.New("a token is sent over https only, or to this machine"), "write --server as https://…")
	}
	address := base.JoinPath(path)
	address.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, address.String(), body)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.UserAgent)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if contentType == ndjson {
		req.Header.Set("Content-Encoding", "zstd")
	}
	if c.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.Token)
	}
	client := &http.Client{Transport: c.Transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err
		}
		if ctx.Err() == nil {
			err = hint.Add(err, "start one with hallmark serve, name another with --server, or answer from a store here with --db")
		}
		return fmt.Errorf("asking %s: %w", base.Redacted(), err)
	}
	defer resp.Body.Close()
	return c.read(resp, into)
}

func (c *Client) read(resp *http.Response, into any) error {
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return fmt.Errorf("reading the answer: %w", err)
	case len(raw) > maxAnswer:
		return fmt.Errorf("reading the answer: more than %d bytes", maxAnswer)
	case resp.StatusCode >= 300:
		return refusal(resp, raw)
	case into == nil:
		return nil
	}
	if keep, ok := into.(*json.RawMessage); ok {
		*keep = raw
		return nil
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return hint.Add(fmt.Errorf("reading the answer: %w", err), "is the address that of a hallmark service, and of this version?")
	}
	return nil
}

func refusal(resp *http.Response, raw []byte) error {
	var problem struct {
		Detail string `json:"detail"`
		Errors []struct {
			Message  string `json:"message"`
			Location string `json:"location"`
		} `json:"errors"`
	}
	e := &Error{Status: resp.StatusCode, Detail: http.StatusText(resp.StatusCode)}
	if json.Unmarshal(raw, &problem) == nil && problem.Detail != "" {
		e.Detail = problem.Detail
		for _, sub := range problem.Errors {
			e.Detail += strings.TrimSuffix("; "+sub.Location+": "+sub.Message, ": ")
		}
	}
	switch resp.StatusCode {
	case http.StatusUnauthorized:
		return hint.Add(e, "give a token with --token-file or HALLMARK_TOKEN")
	case http.StatusForbidden:
		return hint.Add(e, "ask the service's operator for a token of that role, or for a policy of that repository")
	}
	return e
}

func isLoopback(host string) bool {
	return host == "localhost" || strings.HasPrefix(host, "127.") || host == "::1"
}

// page puts options into a query.
func page(o index.Options) url.Values {
	q := url.Values{}
	if !o.AsOf.IsZero() {
		q.Set("as-of", o.AsOf.UTC().Format(time.RFC3339Nano))
	}
	if o.VEX {
		q.Set("vex", "true")
	}
	if o.Limit > 0 {
		q.Set("limit", strconv.Itoa(o.Limit))
	}
	if o.Cursor != "" {
		q.Set("cursor", o.Cursor)
	}
	return q
}

func set(q url.Values, pairs ...string) url.Values {
	for i := 0; i < len(pairs); i += 2 {
		if pairs[i+1] != "" && pairs[i+1] != "false" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// The questions as addresses: path and query.

// WhoHas asks which images hold a package.
func WhoHas(q index.PackageQuery, o index.Options) (string, url.Values) {
	return "/v1/who-has", set(page(o), "package", q.Text, "type", q.Type, "distro", q.Distro)
}

// Affected asks which images an advisory hits; severity is a word or empty.
func Affected(id, severity string, fixable, kev bool, o index.Options) (string, url.Values) {
	return "/v1/affected/" + url.PathEscape(id), set(page(o), "severity", severity, "fixable", strconv.FormatBool(fixable), "kev", strconv.FormatBool(kev))
}

// Image asks what an image holds.
func Image(ref string, o index.Options) (string, url.Values) {
	return "/v1/image", set(page(o), "ref", ref)
}

// Diff asks what changed between two images.
func Diff(a, b string, o index.Options) (string, url.Values) {
	return "/v1/diff", set(page(o), "a", a, "b", b)
}

// Licences asks which licences packages carry.
func Licences(licence string, o index.Options) (string, url.Values) {
	return "/v1/licences", set(page(o), "licence", licence)
}

// Top asks for a ranking.
func Top(kind string, o index.Options) (string, url.Values) {
	return "/v1/top", set(page(o), "kind", kind)
}

// Explain asks why an advisory does or does not hit a package.
func Explain(id, purl string, o index.Options) (string, url.Values) {
	return "/v1/explain", set(page(o), "id", id, "purl", purl)
}

// Ingest has an image taken in.
func (c *Client) Ingest(ctx context.Context, image string) (r intake.Result, err error) {
	err = c.post(ctx, "/v1/images", nil, map[string]string{"image": image}, &r)
	return r, err
}

// Sweep has all images of a repository taken in.
func (c *Client) Sweep(ctx context.Context, repository string) (s intake.Sweep, err error) {
	err = c.post(ctx, "/v1/sweeps", nil, map[string]string{"repository": repository}, &s)
	return s, err
}

// Document has a loose SBOM about an image taken in, unverified.
func (c *Client) Document(ctx context.Context, image string, document io.Reader) (r intake.Result, err error) {
	err = c.send(ctx, http.MethodPost, "/v1/sboms", url.Values{"image": {image}}, document, "application/json", &r)
	return r, err
}

// AddVEX has an OpenVEX document taken in.
func (c *Client) AddVEX(ctx context.Context, key string, document []byte) (v VEXTaken, err error) {
	err = c.send(ctx, http.MethodPost, "/v1/vex", set(url.Values{}, "key", key), bytes.NewReader(document), "application/json", &v)
	return v, err
}

// Report tells the outcome of a release.
func (c *Client) Report(ctx context.Context, r Release) error {
	return c.post(ctx, "/v1/releases", nil, r, nil)
}

// Retire ends the answers about an image.
func (c *Client) Retire(ctx context.Context, digest string) error {
	return c.send(ctx, http.MethodDelete, "/v1/images/"+url.PathEscape(digest), nil, nil, "", nil)
}

func (c *Client) post(ctx context.Context, path string, query url.Values, body, into any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	return c.send(ctx, http.MethodPost, path, query, bytes.NewReader(raw), "application/json", into)
}

const ndjson = "application/x-ndjson"

// Import has advisories imported. each gives the records, one call of its
// argument each; they are sent as they come.
func (c *Client) Import(ctx context.Context, d store.Dataset, each func(func(vulnerability.Record) error) error) (store.Import, error) {
	read, write := io.Pipe()
	defer read.Close()
	ended := make(chan error, 1)
	go func() {
		err := sendRecords(write, each)
		write.CloseWithError(err)
		ended <- err
	}()
	q := set(url.Values{}, "source", d.Source, "digest", d.Digest, "partial", strconv.FormatBool(d.Partial))
	if !d.Built.IsZero() {
		q.Set("built", d.Built.UTC().Format(time.RFC3339))
	}
	var done store.Import
	err := c.send(ctx, http.MethodPost, "/v1/advisories", q, read, ndjson, &done)
	read.Close()
	// What went wrong with the records says more than that the request broke.
	if ours := <-ended; ours != nil && !errors.Is(ours, io.ErrClosedPipe) {
		return done, ours
	}
	return done, err
}

func sendRecords(w io.Writer, each func(func(vulnerability.Record) error) error) error {
	packed, err := zstd.NewWriter(w, zstd.WithEncoderLevel(zstd.SpeedFastest))
	if err != nil {
		return err
	}
	lines := json.NewEncoder(packed)
	if err := each(func(r vulnerability.Record) error { return lines.Encode(r) }); err != nil {
		return err
	}
	return packed.Close()
}
