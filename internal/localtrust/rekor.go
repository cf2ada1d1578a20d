package localtrust

import (
	"bytes"
	"crypto"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	fulciopb "github.com/sigstore/fulcio/pkg/generated/protobuf"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	rekorpb "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"github.com/sigstore/rekor-tiles/v2/pkg/types/hashedrekord"
	"github.com/sigstore/sigstore/pkg/cryptoutils"
	"github.com/sigstore/sigstore/pkg/signature"
	"google.golang.org/protobuf/encoding/protojson"
)

// serveEntry is Rekor version 2's CreateEntry: it takes hashedrekord 0.0.2 and
// nothing else, and only with a signature that verifies.
func (l *Local) serveEntry(w http.ResponseWriter, r *http.Request) {
	var req rekorpb.CreateEntryRequest
	if err := readProto(r, &req); err != nil {
		refuse(w, http.StatusBadRequest, err)
		return
	}
	body, kind, err := canonicalEntry(req.GetHashedRekordRequestV002())
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Errorf("reading log entry: %w", err))
		return
	}
	at, err := l.log.Add(r.Context(), body)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err)
		return
	}
	proof := &protorekor.InclusionProof{
		LogIndex:   at.index,
		RootHash:   at.root[:],
		TreeSize:   at.size,
		Checkpoint: &protorekor.Checkpoint{Envelope: string(at.checkpoint)},
	}
	for _, h := range at.proof {
		proof.Hashes = append(proof.Hashes, h[:])
	}
	replyProto(w, http.StatusCreated, &protorekor.TransparencyLogEntry{
		LogIndex:          at.index,
		LogId:             &protocommon.LogId{KeyId: l.log.id},
		KindVersion:       kind,
		InclusionProof:    proof,
		CanonicalizedBody: body,
	})
}

// canonicalEntry checks a request and makes the log entry of it.
func canonicalEntry(req *rekorpb.HashedRekordRequestV002) ([]byte, *protorekor.KindVersion, error) {
	if req == nil {
		return nil, nil, errors.New("it is not a hashedrekord 0.0.2")
	}
	algorithms, err := signature.NewAlgorithmRegistryConfig([]protocommon.PublicKeyDetails{
		protocommon.PublicKeyDetails_PKIX_ECDSA_P256_SHA_256,
		protocommon.PublicKeyDetails_PKIX_ECDSA_P384_SHA_384,
		protocommon.PublicKeyDetails_PKIX_ECDSA_P521_SHA_512,
		protocommon.PublicKeyDetails_PKIX_ED25519_PH,
		protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_2048_SHA256,
		protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_3072_SHA256,
		protocommon.PublicKeyDetails_PKIX_RSA_PKCS1V15_4096_SHA256,
	})
	if err != nil {
		return nil, nil, err
	}
	entry, err := hashedrekord.ToLogEntry(req, algorithms)
	if err != nil {
		return nil, nil, err
	}
	plain, err := protojson.Marshal(entry)
	if err != nil {
		return nil, nil, err
	}
	body, err := jsoncanonicalizer.Transform(plain)
	if err != nil {
		return nil, nil, err
	}
	return body, &protorekor.KindVersion{Kind: entry.Kind, Version: entry.ApiVersion}, nil
}

// provenKey gives the key to certify, once the request has proved to hold its
// private half: by a signature over the identity's name, or by a signed
// certificate request.
func provenKey(req *fulciopb.CreateSigningCertificateRequest, name string) (crypto.PublicKey, error) {
	if der := req.GetCertificateSigningRequest(); len(der) > 0 {
		csr, err := cryptoutils.ParseCSR(der)
		if err != nil {
			return nil, fmt.Errorf("reading certificate request: %w", err)
		}
		if err := csr.CheckSignature(); err != nil {
			return nil, fmt.Errorf("checking possession of the key: %w", err)
		}
		return csr.PublicKey, fit(csr.PublicKey)
	}
	key, err := cryptoutils.UnmarshalPEMToPublicKey([]byte(req.GetPublicKeyRequest().GetPublicKey().GetContent()))
	if err != nil {
		return nil, fmt.Errorf("reading public key: %w", err)
	}
	if err := fit(key); err != nil {
		return nil, err
	}
	verifier, err := signature.LoadDefaultVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("reading public key: %w", err)
	}
	proof := bytes.NewReader(req.GetPublicKeyRequest().GetProofOfPossession())
	if err := verifier.VerifySignature(proof, strings.NewReader(name)); err != nil {
		return nil, fmt.Errorf("checking possession of the key: %w", err)
	}
	return key, nil
}

// fit refuses a key that no signature of Sigstore's may be made with, such as
// a short one.
func fit(key crypto.PublicKey) error {
	if _, err := signature.GetDefaultAlgorithmDetails(key); err != nil {
		return fmt.Errorf("reading public key: %w", err)
	}
	return nil
}
