package cluster

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"
)

// API speaks to an API server as its administrator.
type API struct {
	URL       string
	authority []byte
	token     string
	client    *http.Client

	mu    sync.Mutex
	kinds map[string]resource
}

// resource is where objects of a kind live.
type resource struct {
	path       string // such as /api/v1 or /apis/apps/v1
	plural     string
	namespaced bool
}

// Object is any object of the API.
type Object map[string]any

// Answer is what the API server says to a request.
type Answer struct {
	Status int
	// Warnings are those of the Warning headers (RFC 9111, section 5.5).
	Warnings []string
	Body     []byte
}

// Allowed says that the request was carried out, or would have been.
func (a Answer) Allowed() bool { return a.Status/100 == 2 }

// Message is the reason of a refusal, as kubectl shows it.
func (a Answer) Message() string {
	var status struct{ Message string }
	if err := json.Unmarshal(a.Body, &status); err != nil || status.Message == "" {
		return string(a.Body)
	}
	return status.Message
}

// Objects reads the documents of a YAML stream.
func Objects(text []byte) ([]Object, error) {
	var all []Object
	for dec := yaml.NewDecoder(bytes.NewReader(text)); ; {
		var o Object
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if len(o) > 0 {
			all = append(all, o)
		}
	}
}

// Name is the object's kind and name.
func (o Object) Name() string { return o.text("kind") + " " + o.text("metadata", "name") }

func (o Object) text(path ...string) string {
	var at any = map[string]any(o)
	for _, key := range path {
		inner, ok := at.(map[string]any)
		if !ok {
			if typed, isObject := at.(Object); isObject {
				inner = typed
			} else {
				return ""
			}
		}
		at = inner[key]
	}
	s, _ := at.(string)
	return s
}

// Create sends the object; dry asks only what would happen.
func (a *API) Create(ctx context.Context, o Object, dry bool) (Answer, error) {
	path, err := a.path(ctx, o)
	if err != nil {
		return Answer{}, err
	}
	if dry {
		path += "?dryRun=All"
	}
	return a.send(ctx, http.MethodPost, path, "application/json", o)
}

// Apply makes the object be as it is given (server-side apply).
func (a *API) Apply(ctx context.Context, o Object, dry bool) (Answer, error) {
	return a.apply(ctx, o, dry, "")
}

// Strict is Apply where a field that the API server does not know is an error, and so is one that is given twice.
func (a *API) Strict(ctx context.Context, o Object, dry bool) (Answer, error) {
	return a.apply(ctx, o, dry, "&fieldValidation=Strict")
}

func (a *API) apply(ctx context.Context, o Object, dry bool, also string) (Answer, error) {
	path, err := a.path(ctx, o)
	if err != nil {
		return Answer{}, err
	}
	path += "/" + o.text("metadata", "name") + "?fieldManager=test&force=true" + also
	if dry {
		path += "&dryRun=All"
	}
	return a.send(ctx, http.MethodPatch, path, "application/apply-patch+yaml", o)
}

// Must applies every document of a YAML stream, and fails on the first that is refused or warned of.
func (a *API) Must(ctx context.Context, text []byte) error {
	objects, err := Objects(text)
	if err != nil {
		return err
	}
	for _, o := range objects {
		answer, err := a.Apply(ctx, o, false)
		if err != nil {
			return err
		}
		if !answer.Allowed() {
			return fmt.Errorf("applying %s %s: %d: %s", o.text("kind"), o.text("metadata", "name"), answer.Status, answer.Message())
		}
	}
	return nil
}

// Delete removes the object.
func (a *API) Delete(ctx context.Context, o Object) (Answer, error) {
	path, err := a.path(ctx, o)
	if err != nil {
		return Answer{}, err
	}
	return a.send(ctx, http.MethodDelete, path+"/"+o.text("metadata", "name"), "", nil)
}

// Replace puts the object at a path of the API, such as a Pod's subresource.
func (a *API) Replace(ctx context.Context, path string, o Object) (Answer, error) {
	return a.send(ctx, http.MethodPut, path, "application/json", o)
}

// Get reads what lies at a path of the API into v.
func (a *API) Get(ctx context.Context, path string, v any) error {
	answer, err := a.send(ctx, http.MethodGet, path, "", nil)
	if err != nil {
		return err
	}
	if !answer.Allowed() {
		return fmt.Errorf("reading %s: %d: %s", path, answer.Status, answer.Message())
	}
	return json.Unmarshal(answer.Body, v)
}

func (a *API) send(ctx context.Context, method, path, contentType string, o Object) (Answer, error) {
	var body io.Reader
	if o != nil {
		data, err := json.Marshal(o)
		if err != nil {
			return Answer{}, err
		}
		body = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(ctx, method, a.URL+path, body)
	if err != nil {
		return Answer{}, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	req.Header.Set("Authorization", "Bearer "+a.token)
	res, err := a.client.Do(req)
	if err != nil {
		return Answer{}, fmt.Errorf("asking the API server: %w", err)
	}
	defer res.Body.Close()
	answer := Answer{Status: res.StatusCode, Warnings: res.Header.Values("Warning")}
	answer.Body, err = io.ReadAll(res.Body)
	return answer, err
}

// path is where objects of o's kind are created.
func (a *API) path(ctx context.Context, o Object) (string, error) {
	r, err := a.resource(ctx, o.text("apiVersion"), o.text("kind"))
	if err != nil {
		return "", err
	}
	if !r.namespaced {
		return r.path + "/" + r.plural, nil
	}
	namespace := o.text("metadata", "namespace")
	if namespace == "" {
		namespace = "default"
	}
	return r.path + "/namespaces/" + namespace + "/" + r.plural, nil
}

func (a *API) resource(ctx context.Context, version, kind string) (resource, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if r, ok := a.kinds[version+" "+kind]; ok {
		return r, nil
	}
	path := "/api/" + version
	if strings.Contains(version, "/") {
		path = "/apis/" + version
	}
	var list struct {
		Resources []struct {
			Name, Kind string
			Namespaced bool
		}
	}
	if err := a.Get(ctx, path, &list); err != nil {
		return resource{}, err
	}
	for _, r := range list.Resources {
		if !strings.Contains(r.Name, "/") {
			a.kinds[version+" "+r.Kind] = resource{path, r.Name, r.Namespaced}
		}
	}
	r, ok := a.kinds[version+" "+kind]
	if !ok {
		return resource{}, fmt.Errorf("the API server knows no %s of %s", kind, version)
	}
	return r, nil
}

// awaitServer waits for an API server and speaks to it from then on by its own certificate.
func (p *process) awaitServer(ctx context.Context, url, certificate, token string) (*API, error) {
	if err := p.await(ctx, url+"/readyz", func(req *http.Request) { req.Header.Set("Authorization", "Bearer "+token) }); err != nil {
		return nil, err
	}
	authority, err := os.ReadFile(certificate)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(authority) {
		return nil, fmt.Errorf("%s holds no certificate", certificate)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, MaxIdleConnsPerHost: 16}}
	return &API{URL: url, authority: authority, token: token, client: client, kinds: map[string]resource{}}, nil
}
