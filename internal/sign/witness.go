package sign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/go-openapi/runtime"
	openapi "github.com/go-openapi/runtime/client"
	"github.com/go-openapi/strfmt"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	rekorpb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	rekorv1 "github.com/sigstore/rekor/pkg/generated/client"
	"github.com/sigstore/rekor/pkg/generated/client/entries"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/hallmark-sh/hallmark/internal/trust"
)

// The names of the services in errors.
const (
	nameTSA = "timestamp authority"
	nameLog = "transparency log"
)

// errConflict says that a log has the entry already.
var errConflict = errors.New("the log has this entry already")

// timestamps has each authority date the signature (RFC 3161).
func (s *Signer) timestamps(ctx context.Context, sig []byte) ([]*protocommon.RFC3161SignedTimestamp, error) {
	var stamps []*protocommon.RFC3161SignedTimestamp
	for _, tsa := range s.cfg.Services.TSA {
		stamp, err := s.timestamp(ctx, tsa, sig)
		if err != nil {
			return nil, fmt.Errorf("getting timestamp: %w", explain(err, nameTSA, tsa.URL))
		}
		stamps = append(stamps, &protocommon.RFC3161SignedTimestamp{SignedTimestamp: stamp})
	}
	return stamps, nil
}

func (s *Signer) timestamp(ctx context.Context, tsa trust.Service, sig []byte) ([]byte, error) {
	ctx, done := context.WithTimeout(ctx, s.cfg.Patience)
	defer done()
	return sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{
		URL:       tsa.URL,
		Timeout:   -1, // the courier's
		Transport: s.courier(ctx, nameTSA, ""),
	}).GetTimestamp(ctx, sig)
}

// logEntries has each log take the bundle's signature, and adds the entries to
// the bundle.
func (s *Signer) logEntries(ctx context.Context, cred *credential, b *protobundle.Bundle) error {
	for _, log := range s.cfg.Services.Rekor {
		if err := s.logEntry(ctx, log, cred, b); err != nil {
			return fmt.Errorf("logging signature: %w", explain(err, nameLog, log.URL))
		}
	}
	return nil
}

func (s *Signer) logEntry(ctx context.Context, log trust.Service, cred *credential, b *protobundle.Bundle) error {
	ctx, done := context.WithTimeout(ctx, s.cfg.Patience)
	defer done()
	client := &http.Client{Transport: s.courier(ctx, nameLog, "")}
	opts := &sign.RekorOptions{BaseURL: log.URL, Version: log.Version, Timeout: s.cfg.Patience}
	switch log.Version {
	case 1:
		u, err := url.Parse(log.URL)
		if err != nil {
			return err
		}
		path := u.Path
		if path == "" {
			path = rekorv1.DefaultBasePath
		}
		rt := openapi.NewWithClient(u.Host, path, []string{u.Scheme}, client)
		rt.Consumers["application/json"] = runtime.JSONConsumer()
		rt.Producers["application/json"] = runtime.JSONProducer()
		opts.Client = logV1{rekorv1.New(rt, strfmt.Default).Entries}
	case 2:
		opts.ClientV2 = logV2{log.URL, client}
	default:
		return fmt.Errorf("version %d of the log's API is not known", log.Version)
	}
	return sign.NewRekor(opts).GetTransparencyLogEntry(ctx, cred.pem(), b)
}

// logV1 is the library's client of a Rekor version 1, which checks that an
// answer is whole before the library reads it.
type logV1 struct{ sign.RekorClient }

// CreateLogEntry is sign.RekorClient's.
func (l logV1) CreateLogEntry(p *entries.CreateLogEntryParams, opts ...entries.ClientOption) (*entries.CreateLogEntryCreated, error) {
	created, err := l.RekorClient.CreateLogEntry(p, opts...)
	if err == nil && !whole(created.Payload[created.ETag]) {
		return nil, errPart
	}
	return created, err
}

// GetLogEntryByUUID is sign.RekorClient's.
func (l logV1) GetLogEntryByUUID(p *entries.GetLogEntryByUUIDParams, opts ...entries.ClientOption) (*entries.GetLogEntryByUUIDOK, error) {
	got, err := l.RekorClient.GetLogEntryByUUID(p, opts...)
	if err != nil {
		return nil, err
	}
	for _, e := range got.Payload {
		if !whole(e) {
			return nil, errPart
		}
	}
	if len(got.Payload) != 1 {
		return nil, errPart
	}
	return got, nil
}

// errPart says that a log's answer lacks what it must have.
var errPart = errors.New("its answer is not a whole log entry")

// whole says that an entry has all that goes into a bundle.
func whole(e models.LogEntryAnon) bool {
	if e.Body == nil || e.LogID == nil || e.LogIndex == nil || e.IntegratedTime == nil || e.Verification == nil || e.Verification.InclusionProof == nil {
		return false
	}
	p := e.Verification.InclusionProof
	return p.RootHash != nil && p.LogIndex != nil && p.TreeSize != nil && p.Checkpoint != nil && len(e.Verification.SignedEntryTimestamp) > 0
}

// logV2 adds entries to a Rekor version 2. The library's own client takes no
// transport.
type logV2 struct {
	base   string
	client *http.Client
}

// maxEntry bounds a log's answer, in bytes.
const maxEntry = 1 << 20

// Add is sign.RekorV2Client's.
func (l logV2) Add(ctx context.Context, entry any) (*protorekor.TransparencyLogEntry, error) {
	hashed, ok := entry.(*rekorpb.HashedRekordRequestV002)
	if !ok {
		return nil, fmt.Errorf("an entry of kind %T is not known", entry)
	}
	body, err := protojson.Marshal(&rekorpb.CreateEntryRequest{
		Spec: &rekorpb.CreateEntryRequest_HashedRekordRequestV002{HashedRekordRequestV002: hashed},
	})
	if err != nil {
		return nil, err
	}
	address, err := url.JoinPath(l.base, "api/v2/log/entries")
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := l.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusConflict {
		return nil, errConflict
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxEntry))
	if err != nil {
		return nil, err
	}
	at := &protorekor.TransparencyLogEntry{}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(data, at); err != nil {
		return nil, fmt.Errorf("its answer is not the JSON of a log entry")
	}
	if at.GetInclusionProof().GetCheckpoint().GetEnvelope() == "" {
		return nil, errors.New("its answer has no proof of inclusion")
	}
	return at, nil
}
