package localtrust_test

import (
	"strings"
	"testing"

	"github.com/digitorus/timestamp"

	"github.com/hallmark-sh/hallmark/internal/localtrust"
)

func TestTimestampRefused(t *testing.T) {
	base := serve(t, open(t, localtrust.Options{}))
	sha1, err := timestamp.CreateRequest(strings.NewReader("x"), &timestamp.RequestOptions{Hash: 3})
	if err != nil {
		t.Fatal(err)
	}
	for name, body := range map[string][]byte{"empty": nil, "no DER": []byte("hello"), "SHA-1": sha1} {
		if status, answer := send(t, "POST", base+"/api/v1/timestamp", "", body); status != 400 {
			t.Errorf("%s: status %d: %s", name, status, answer)
		}
	}
	good, err := timestamp.CreateRequest(strings.NewReader("x"), &timestamp.RequestOptions{Hash: 5, Certificates: true})
	if err != nil {
		t.Fatal(err)
	}
	status, answer := send(t, "POST", base+"/api/v1/timestamp", "", good)
	if status != 201 {
		t.Fatalf("status %d: %s", status, answer)
	}
	ts, err := timestamp.ParseResponse([]byte(answer))
	if err != nil || len(ts.Certificates) != 1 {
		t.Errorf("a query for certificates got %d of them, error %v", len(ts.Certificates), err)
	}
}

func TestDiscovery(t *testing.T) {
	base := serve(t, open(t, localtrust.Options{Issuer: "https://id.acme.test"}))
	status, answer := send(t, "GET", base+"/.well-known/openid-configuration", "", nil)
	if status != 200 || !strings.Contains(answer, `"issuer":"https://id.acme.test"`) {
		t.Errorf("status %d: %s", status, answer)
	}
	for _, path := range []string{"/keys", "/api/v2/trustBundle", "/api/v1/rootCert", "/api/v1/timestamp/certchain"} {
		status, answer := send(t, "GET", base+path, "", nil)
		if status != 200 || strings.Contains(answer, `"d":`) || strings.Contains(answer, "PRIVATE") {
			t.Errorf("%s: status %d: %s", path, status, answer)
		}
	}
}
