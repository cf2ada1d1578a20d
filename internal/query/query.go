// Package query is the memory over HTTP: questions, intake, health and metrics
// on one address, and the client that the command line uses.
//
// The operations are declared once, with their inputs and answers as Go types;
// the OpenAPI 3.1 document at /openapi.json is made from the same declarations,
// so the two cannot disagree. A question's parameters that it does not know are
// refused: a misspelt filter must not widen an answer.
//
// Reading and writing are apart: see package access for who may do what.
// Health and metrics are open to whoever reaches the address; they tell sizes
// and never a name. Every request is bounded in size, time and rate.
package query

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/hallmark-sh/hallmark/internal/access"
	"github.com/hallmark-sh/hallmark/internal/intake"
	"github.com/hallmark-sh/hallmark/internal/memory"
)

// Config says what a service is made of.
type Config struct {
	Memory *memory.Memory
	Intake *intake.Intake
	// Access says who may do what; nil lets everybody do everything, which is
	// for a loopback address only.
	Access *access.Rules
	// Hosts are the names the service answers to when Access is nil, besides
	// loopback's: a page in a browser must not reach it by another.
	Hosts []string
	// Version is the program's.
	Version string
	// Metrics are counted here; required.
	Metrics *Metrics
	// Log gets a line for each request; nil for silence.
	Log *slog.Logger
	// ReadRate and WriteRate are requests a second that one principal, or one
	// address without one, may make; zero for the defaults 2000 and 500.
	ReadRate, WriteRate float64
	// Intakes is how many images are taken in side by side; default 16. More
	// wait for their turn for a while, and are then told to come back.
	Intakes int
}

// Service is an http.Handler.
type Service struct {
	Config
	handler http.Handler
	api     huma.API
	turns   chan struct{}
	started time.Time
}

// Bounds of requests. Bodies that stream have bounds of their own.
const (
	maxBody       = 1 << 20
	maxURL        = 8 << 10
	questionTime  = 30 * time.Second
	intakeTime    = 2 * time.Minute
	importTime    = 30 * time.Minute
	maxImportSize = 16 << 30
)

// New makes a service.
func New(c Config) *Service {
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.ReadRate <= 0 {
		c.ReadRate = 2000
	}
	if c.WriteRate <= 0 {
		c.WriteRate = 500
	}
	if c.Intakes <= 0 {
		c.Intakes = 16
	}
	s := &Service{Config: c, turns: make(chan struct{}, c.Intakes), started: time.Now()}
	mux := http.NewServeMux()
	s.api = humago.New(mux, apiConfig(c.Version))
	s.questions()
	s.writing()
	s.releases()
	s.advisories()
	mux.Handle("GET /metrics", c.Metrics.handler())
	mux.HandleFunc("GET /healthz", s.healthz)
	mux.HandleFunc("GET /readyz", s.readyz)
	s.handler = s.guard(mux)
	c.Metrics.observe(c.Memory)
	return s
}

// ServeHTTP answers one request.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// OpenAPI is the document at /openapi.json.
func (s *Service) OpenAPI() *huma.OpenAPI { return s.api.OpenAPI() }

func apiConfig(version string) huma.Config {
	format := huma.Format{
		// HTML's characters are escaped, besides saying that it is no HTML.
		Marshal:   func(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) },
		Unmarshal: json.Unmarshal,
	}
	config := huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "hallmark", Version: version,
				Description: "The memory: which images hold a package, which are hit by an advisory, and how that is known.",
				License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas:         huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer),
				SecuritySchemes: map[string]*huma.SecurityScheme{"bearer": {Type: "http", Scheme: "bearer", Description: "A token that an operator gave out, or an OIDC token that a rule lets in."}},
			},
			Security: []map[string][]string{{"bearer": {}}},
		},
		OpenAPIPath:                  "/openapi",
		Formats:                      map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
	}
	return config
}

// healthz says that the process serves.
func (s *Service) healthz(w http.ResponseWriter, _ *http.Request) { plain(w, http.StatusOK, "ok\n") }

// readyz says that answers are those of the store.
func (s *Service) readyz(w http.ResponseWriter, r *http.Request) {
	if err := s.Memory.Ready(r.Context()); err != nil {
		s.Log.Error("not ready", "error", err)
		plain(w, http.StatusServiceUnavailable, "the store does not answer\n")
		return
	}
	plain(w, http.StatusOK, "ok\n")
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text)
}
