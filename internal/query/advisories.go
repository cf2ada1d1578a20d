package query

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"reflect"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/hallmark-sh/hallmark/internal/store"
	"github.com/hallmark-sh/hallmark/internal/vulnerability"
)

type advisoriesRequest struct {
	Source   string    `query:"source" required:"true" minLength:"1" maxLength:"256" doc:"What the records are from, for people"`
	Digest   string    `query:"digest" maxLength:"128" doc:"The digest of the database or archive"`
	Built    time.Time `query:"built" doc:"When it was made"`
	Partial  bool      `query:"partial" doc:"Add and replace records, and end none"`
	Encoding string    `header:"Content-Encoding" enum:"zstd,identity" doc:"How the body is compressed"`
	body     io.Reader
}

// Resolve keeps the body as a stream.
func (a *advisoriesRequest) Resolve(ctx huma.Context) []error {
	a.body = ctx.BodyReader()
	return nil
}

type vexRequest struct {
	Key     string `query:"key" maxLength:"512" doc:"What tells the document apart: another of the same key takes its place. Default: its digest"`
	RawBody []byte
}

// recordType is the type of the lines of an import.
var recordType = reflect.TypeFor[vulnerability.Record]()

// VEXTaken is what became of a VEX document.
type VEXTaken struct {
	// New is false when the document was there already.
	New bool `json:"new"`
}

func (s *Service) advisories() {
	huma.Register(s.api, s.do("import-advisories", http.MethodPost, "/v1/advisories", "Import advisories, and tell what is newly affected", huma.Operation{}),
		func(ctx context.Context, in *advisoriesRequest) (*answer[store.Import], error) {
			records, done, err := readRecords(in.body, in.Encoding)
			if err != nil {
				return nil, huma.Error400BadRequest(err.Error())
			}
			defer done()
			broken := error(nil)
			imported, err := s.Memory.Advise(ctx, store.Dataset{Source: in.Source, Digest: in.Digest, Built: in.Built, Partial: in.Partial},
				func(yield func(vulnerability.Record, error) bool) {
					for r, err := range records {
						if err != nil {
							broken = err
						}
						if !yield(r, err) {
							return
						}
					}
				})
			switch {
			case broken != nil:
				err = huma.Error400BadRequest(broken.Error())
				s.Metrics.imports.WithLabelValues("refused").Inc()
			case errors.Is(err, store.ErrTooLarge):
				err = huma.Error400BadRequest(err.Error())
				s.Metrics.imports.WithLabelValues("refused").Inc()
			case err != nil:
				err = status(s.inside(err))
				s.Metrics.imports.WithLabelValues("error").Inc()
			default:
				s.Metrics.imports.WithLabelValues("done").Inc()
			}
			return &answer[store.Import]{imported}, err
		})
	// The body is described once the operation is there: huma would read a body
	// it knows of into memory, and this one is a stream.
	s.api.OpenAPI().Paths["/v1/advisories"].Post.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/x-ndjson": {Schema: s.api.OpenAPI().Components.Schemas.Schema(recordType, true, "Record")},
	}, Description: "One advisory record a line. The records of each provider in it replace those the memory has."}
	huma.Register(s.api, s.do("add-vex", http.MethodPost, "/v1/vex", "Take in an OpenVEX document", huma.Operation{}),
		func(ctx context.Context, in *vexRequest) (*answer[VEXTaken], error) {
			fresh, err := s.Memory.AddVEX(ctx, in.Key, in.RawBody, false)
			return &answer[VEXTaken]{VEXTaken{fresh}}, status(err)
		})
}

// readRecords reads records, one a line. A line's number is in every error.
func readRecords(body io.Reader, encoding string) (iter.Seq2[vulnerability.Record, error], func(), error) {
	done := func() {}
	if encoding == "zstd" {
		d, err := zstd.NewReader(body, zstd.WithDecoderMaxMemory(64<<20), zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, done, fmt.Errorf("reading the records: %w", err)
		}
		body, done = d, d.Close
	}
	lines := bufio.NewScanner(io.LimitReader(body, maxImportSize))
	lines.Buffer(make([]byte, 64<<10), store.MaxBody)
	return func(yield func(vulnerability.Record, error) bool) {
		n := 0
		for lines.Scan() {
			n++
			if len(bytes.TrimSpace(lines.Bytes())) == 0 {
				continue
			}
			var r vulnerability.Record
			if err := json.Unmarshal(lines.Bytes(), &r); err != nil {
				yield(r, fmt.Errorf("line %d is no advisory record: %w", n, err))
				return
			}
			if !yield(r, nil) {
				return
			}
		}
		err := lines.Err()
		if errors.Is(err, bufio.ErrTooLong) {
			err = fmt.Errorf("line %d has more than %d bytes", n+1, store.MaxBody)
		}
		if err != nil {
			yield(vulnerability.Record{}, fmt.Errorf("reading the records: %w", err))
		}
	}, done, nil
}
