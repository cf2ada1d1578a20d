package sign_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	"github.com/go-openapi/runtime"
	"github.com/sigstore/rekor/pkg/generated/models"
	"github.com/sigstore/rekor/pkg/types"
	"github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/hallmark-sh/hallmark/internal/localtrust"
	"github.com/hallmark-sh/hallmark/internal/sign"
	"github.com/hallmark-sh/hallmark/internal/trust"
)

// rekorV1 is a log that speaks Rekor's version 1, made of Rekor's own types,
// with a new tree for each entry. No Rekor server of that version can be run
// without a database.
type rekorV1 struct {
	t        *testing.T
	key      *ecdsa.PrivateKey
	id       string
	conflict bool           // says that each entry is known
	spoil    map[string]any // put into each entry

	mu      sync.Mutex
	entries map[string]any
}

func (l *rekorV1) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	l.mu.Lock()
	defer l.mu.Unlock()
	if uuid, ok := strings.CutPrefix(r.URL.Path, "/api/v1/log/entries/"); ok {
		_ = json.NewEncoder(w).Encode(map[string]any{uuid: l.entries[uuid]})
		return
	}
	uuid, entry := l.entry(r)
	l.entries[uuid] = entry
	w.Header().Set("Location", "/api/v1/log/entries/"+uuid)
	if l.conflict {
		w.WriteHeader(http.StatusConflict)
		_ = json.NewEncoder(w).Encode(map[string]any{"code": 409, "message": "it exists"})
		return
	}
	w.Header().Set("ETag", uuid)
	w.WriteHeader(http.StatusCreated)
	_ = json.NewEncoder(w).Encode(map[string]any{uuid: entry})
}

func (l *rekorV1) entry(r *http.Request) (string, map[string]any) {
	l.t.Helper()
	must := func(err error) {
		if err != nil {
			l.t.Error(err)
		}
	}
	proposed, err := models.UnmarshalProposedEntry(r.Body, runtime.JSONConsumer())
	must(err)
	impl, err := types.UnmarshalEntry(proposed)
	must(err)
	body, err := impl.Canonicalize(r.Context())
	must(err)
	leaf := sha256.Sum256(append([]byte{0}, body...))
	sv, err := signature.LoadECDSASignerVerifier(l.key, crypto.SHA256)
	must(err)
	checkpoint, err := util.CreateAndSignCheckpoint(context.Background(), "rekor.test", 1, 1, leaf[:], sv)
	must(err)
	entry := map[string]any{"body": base64.StdEncoding.EncodeToString(body), "integratedTime": time.Now().Unix(), "logID": l.id, "logIndex": 7}
	plain, err := json.Marshal(entry)
	must(err)
	canonical, err := jsoncanonicalizer.Transform(plain)
	must(err)
	promise, err := sv.SignMessage(bytes.NewReader(canonical))
	must(err)
	entry["verification"] = map[string]any{
		"signedEntryTimestamp": promise,
		"inclusionProof": map[string]any{
			"checkpoint": string(checkpoint), "hashes": []string{}, "logIndex": 0, "rootHash": hex.EncodeToString(leaf[:]), "treeSize": 1,
		},
	}
	maps.Copy(entry, l.spoil)
	return hex.EncodeToString(leaf[:]), entry
}

// TestRekorV1 signs with a log of version 1 instead of, and beside, one of
// version 2.
func TestRekorV1(t *testing.T) {
	for _, tt := range []struct {
		name     string
		beside   bool // the local trust's own log
		noTSA    bool // the log's time alone
		conflict bool
		spoil    map[string]any
		fails    bool
	}{
		{name: "alone"},
		{name: "beside version 2", beside: true},
		{name: "without a timestamp authority", noTSA: true},
		{name: "knows the entry", conflict: true},
		{name: "no verification", spoil: map[string]any{"verification": nil}, fails: true},
		{name: "no proof", spoil: map[string]any{"verification": map[string]any{"signedEntryTimestamp": []byte("x")}}, fails: true},
		{name: "no log", spoil: map[string]any{"logID": nil}, fails: true},
		{name: "known and no proof", conflict: true, spoil: map[string]any{"verification": nil}, fails: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			der, err := x509.MarshalPKIXPublicKey(key.Public())
			if err != nil {
				t.Fatal(err)
			}
			id := sha256.Sum256(der)
			log := &rekorV1{t: t, key: key, id: hex.EncodeToString(id[:]), conflict: tt.conflict, spoil: tt.spoil, entries: map[string]any{}}
			srv := httptest.NewServer(log)
			defer srv.Close()

			l := local(t, localtrust.Options{})
			front := httptest.NewServer(l.Handler())
			defer front.Close()
			s := trust.Services{
				Fulcio: trust.Service{URL: front.URL, Version: 1},
				Rekor:  []trust.Service{{URL: srv.URL, Version: 1}},
				TSA:    []trust.Service{{URL: front.URL + "/api/v1/timestamp", Version: 1}},
			}
			if tt.beside {
				s.Rekor = append(s.Rekor, trust.Service{URL: front.URL, Version: 2})
			}
			if tt.noTSA {
				s.TSA = nil
			}
			signed, err := sign.New(sign.Config{Services: s, Tokens: l}).Sign(t.Context(), statements(t, 2))
			if tt.fails {
				if err == nil || !strings.Contains(err.Error(), srv.URL) {
					t.Errorf("error %v, want one that names the log", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}

			tr, err := root.NewTrustedRootFromJSON(l.TrustedRoot())
			if err != nil {
				t.Fatal(err)
			}
			logs := maps.Clone(tr.RekorLogs())
			logs[log.id] = &root.TransparencyLog{
				BaseURL: srv.URL, ID: id[:], ValidityPeriodStart: time.Now().Add(-time.Hour), HashFunc: crypto.SHA256, PublicKey: key.Public(), SignatureHashFunc: crypto.SHA256,
			}
			both, err := root.NewTrustedRoot(root.TrustedRootMediaType01, tr.FulcioCertificateAuthorities(), tr.CTLogs(), tr.TimestampingAuthorities(), logs)
			if err != nil {
				t.Fatal(err)
			}
			when := verify.WithSignedTimestamps(1)
			if tt.noTSA {
				when = verify.WithIntegratedTimestamps(1)
			}
			v, err := verify.NewVerifier(both, verify.WithSignedCertificateTimestamps(1), verify.WithTransparencyLog(len(s.Rekor)), when)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range signed {
				var b bundle.Bundle
				if err := b.UnmarshalJSON(e.Bundle); err != nil {
					t.Fatal(err)
				}
				if _, err := v.Verify(&b, verify.NewPolicy(imageDigest(t), verify.WithoutIdentitiesUnsafe())); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
