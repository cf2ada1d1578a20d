package trust

import "net/http"

// Service is one service of a Sigstore instance.
type Service struct {
	// URL is the base URL, except for a timestamp authority, where it is the
	// full URL of the endpoint.
	URL string
	// Version is the major version of the API that the service speaks.
	Version uint32
}

// Services are what a signature is made with: who certifies, who logs and who
// dates it.
type Services struct {
	// Fulcio is the certificate authority.
	Fulcio Service
	// Rekor are the transparency logs, TSA the timestamp authorities; a
	// signature goes to each of them.
	Rekor []Service
	TSA   []Service
	// Issuer is the OIDC issuer a person logs in with; it may be empty.
	Issuer string
	// Transport carries the requests; nil for http.DefaultTransport.
	Transport http.RoundTripper
}
