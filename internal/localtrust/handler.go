package localtrust

import (
	"crypto/subtle"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	fulciopb "github.com/sigstore/fulcio/pkg/generated/protobuf"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	"github.com/hallmark-sh/hallmark/internal/oidc"
)

// The paths of the four services. The first and the last two are hallmark's
// own choice or Sigstore's custom; the others are their APIs'.
const (
	pathToken     = "/token"
	pathKeys      = "/keys"
	pathTimestamp = "/api/v1/timestamp"
)

// maxRequest bounds a request's body, in bytes.
const maxRequest = 1 << 20

func (l *Local) routes() http.Handler {
	m := http.NewServeMux()
	m.HandleFunc("GET /.well-known/openid-configuration", l.serveDiscovery)
	m.HandleFunc("GET "+pathKeys, l.serveKeys)
	m.HandleFunc("POST "+pathToken, l.serveToken)
	m.HandleFunc("POST /api/v2/signingCert", l.serveCertificate)
	m.HandleFunc("GET /api/v2/trustBundle", l.serveTrustBundle)
	m.HandleFunc("GET /api/v1/rootCert", l.serveChain(l.state.caChain))
	m.HandleFunc("POST /api/v2/log/entries", l.serveEntry)
	m.HandleFunc("GET /api/v2/checkpoint", l.serveCheckpoint)
	m.HandleFunc("GET /api/v2/tile/", l.serveTile)
	m.HandleFunc("POST "+pathTimestamp, l.serveTimestamp)
	m.HandleFunc("GET "+PathTUF, l.serveTUF)
	m.HandleFunc("GET "+pathTimestamp+"/certchain", l.serveChain(l.state.tsaChain))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, maxRequest)
		m.ServeHTTP(w, r)
	})
}

// serveDiscovery answers OpenID Connect Discovery 1.0.
func (l *Local) serveDiscovery(w http.ResponseWriter, _ *http.Request) {
	base := l.state.issuer
	replyJSON(w, http.StatusOK, map[string]any{
		"issuer":                                base,
		"jwks_uri":                              base + pathKeys,
		"token_endpoint":                        base + pathToken,
		"authorization_endpoint":                base + "/none", // required by the standard; nobody can log in here
		"response_types_supported":              []string{"id_token"},
		"subject_types_supported":               []string{"public"},
		"id_token_signing_alg_values_supported": []string{"ES256"},
	})
}

func (l *Local) serveKeys(w http.ResponseWriter, _ *http.Request) {
	keys, err := l.keySet()
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	reply(w, http.StatusOK, "application/json", keys)
}

// mintRequest is the body of a request to mint a token, mintResponse its
// answer.
type (
	mintRequest struct {
		Audience string      `json:"audience"`
		Claims   oidc.Claims `json:"claims"`
	}
	mintResponse struct {
		Token string `json:"token"`
	}
)

// serveToken mints a token for those who can read the folder: the secret in
// MintSecretFile, as a bearer token, is the proof.
func (l *Local) serveToken(w http.ResponseWriter, r *http.Request) {
	secret, ok := bearer(r)
	if !ok || subtle.ConstantTimeCompare([]byte(secret), []byte(l.state.secret)) != 1 {
		refuse(w, http.StatusUnauthorized, fmt.Errorf("show the secret of %s as a bearer token", MintSecretFile))
		return
	}
	req := mintRequest{Audience: oidc.Audience}
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&req); err != nil && !errors.Is(err, io.EOF) {
		refuse(w, http.StatusBadRequest, fmt.Errorf("reading claims: %w", err))
		return
	}
	token, err := l.Mint(req.Claims, req.Audience)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	replyJSON(w, http.StatusOK, mintResponse{Token: token.Raw()})
}

// serveCertificate is Fulcio's CreateSigningCertificate.
func (l *Local) serveCertificate(w http.ResponseWriter, r *http.Request) {
	var req fulciopb.CreateSigningCertificateRequest
	if err := readProto(r, &req); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	raw := req.GetCredentials().GetOidcIdentityToken()
	if raw == "" {
		raw, _ = bearer(r)
	}
	token, err := l.verify(r.Context(), raw)
	if err != nil {
		refuse(w, http.StatusUnauthorized, fmt.Errorf("verifying identity token: %w", err))
		return
	}
	who, err := holder(r.Context(), token)
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("reading identity: %w", err))
		return
	}
	key, err := provenKey(&req, who.Name(r.Context()))
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	cert, err := l.issue(r.Context(), who, key)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	replyProto(w, http.StatusOK, &fulciopb.SigningCertificate{
		Certificate: &fulciopb.SigningCertificate_SignedCertificateEmbeddedSct{
			SignedCertificateEmbeddedSct: &fulciopb.SigningCertificateEmbeddedSCT{
				Chain: chainPEM(append([]*x509.Certificate{cert.FinalCertificate}, cert.FinalChain...)),
			},
		},
	})
}

func (l *Local) serveTrustBundle(w http.ResponseWriter, _ *http.Request) {
	replyProto(w, http.StatusOK, &fulciopb.TrustBundle{Chains: []*fulciopb.CertificateChain{chainPEM(l.state.caChain)}})
}

func (l *Local) serveChain(chain []*x509.Certificate) http.HandlerFunc {
	text := strings.Join(chainPEM(chain).GetCertificates(), "")
	return func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, "application/pem-certificate-chain", []byte(text))
	}
}

func (l *Local) serveCheckpoint(w http.ResponseWriter, _ *http.Request) {
	l.serveFile(w, checkpointFile)
}

func (l *Local) serveTile(w http.ResponseWriter, r *http.Request) {
	tile, err := parseTilePath(strings.TrimPrefix(r.URL.Path, "/api/v2/"))
	if err != nil {
		refuse(w, http.StatusNotFound, err)
		return
	}
	l.serveFile(w, tilePath(tile))
}

// serveFile serves a file of the log, whose name is not the asker's.
func (l *Local) serveFile(w http.ResponseWriter, name string) {
	data, err := os.ReadFile(filepath.Join(l.log.dir, name))
	if err != nil {
		refuse(w, http.StatusNotFound, fmt.Errorf("the log has no %s", name))
		return
	}
	reply(w, http.StatusOK, "application/octet-stream", data)
}

// serveTimestamp answers RFC 3161 over HTTP.
func (l *Local) serveTimestamp(w http.ResponseWriter, r *http.Request) {
	query, err := io.ReadAll(r.Body)
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("reading timestamp query: %w", err))
		return
	}
	response, err := l.timestamp(query)
	if err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	reply(w, http.StatusCreated, "application/timestamp-reply", response)
}

func bearer(r *http.Request) (string, bool) {
	return strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
}

func chainPEM(chain []*x509.Certificate) *fulciopb.CertificateChain {
	out := &fulciopb.CertificateChain{}
	for _, c := range chain {
		out.Certificates = append(out.Certificates, string(cryptoutils.PEMEncode(cryptoutils.CertificatePEMType, c.Raw)))
	}
	return out
}

func readProto(r *http.Request, m proto.Message) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return fmt.Errorf("reading request: %w", err)
	}
	if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, m); err != nil {
		return fmt.Errorf("reading request: it is not the JSON of a %s", m.ProtoReflect().Descriptor().Name())
	}
	return nil
}

func replyProto(w http.ResponseWriter, status int, m proto.Message) {
	data, err := protojson.Marshal(m)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	reply(w, status, "application/json", data)
}

func replyJSON(w http.ResponseWriter, status int, v any) {
	data, err := json.Marshal(v)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	reply(w, status, "application/json", data)
}

func reply(w http.ResponseWriter, status int, kind string, data []byte) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(data) // the client is gone otherwise
}

// refuse answers with an error in the form of the gRPC gateways that Sigstore's
// servers are.
func refuse(w http.ResponseWriter, status int, err error) {
	code := map[int]int{http.StatusBadRequest: 3, http.StatusNotFound: 5, http.StatusUnauthorized: 16}[status]
	if code == 0 {
		code = 13
	}
	replyJSON(w, status, map[string]any{"code": code, "message": err.Error(), "details": []any{}})
}
