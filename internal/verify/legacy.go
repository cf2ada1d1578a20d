package verify

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protodsse "github.com/sigstore/protobuf-specs/gen/pb-go/dsse"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/sigstore-go/pkg/bundle"

	"github.com/hallmark-sh/hallmark/internal/evidence"
	"github.com/hallmark-sh/hallmark/internal/registry"
)

// What cosign 2 and slsa-github-generator store is not a bundle but has all
// that one needs, in annotations. It is put together into a bundle of version
// 0.1 and then judged like any other, by the same rules.

// simpleSigning is the payload of a signature of cosign 2
// (https://github.com/containers/image/blob/main/docs/containers-signature.5.md).
type simpleSigning struct {
	Critical struct {
		Type  string `json:"type"`
		Image struct {
			Digest string `json:"docker-manifest-digest"`
		} `json:"image"`
	} `json:"critical"`
}

// simpleSigningType is what cosign writes as critical.type.
const simpleSigningType = "cosign container image signature"

func openLegacySignature(l registry.Legacy) (exhibit, *refusal) {
	signature, err := base64.StdEncoding.DecodeString(l.Signature)
	if err != nil || len(signature) == 0 {
		return exhibit{}, refuse(codeUnreadable, "the layer under %s has no signature", l.Tag)
	}
	if err := evidence.Strict(l.Payload); err != nil {
		return exhibit{}, refuse(codeUnreadable, "the payload under %s: %v", l.Tag, err)
	}
	var payload simpleSigning
	if err := json.Unmarshal(l.Payload, &payload); err != nil {
		return exhibit{}, refuse(codeUnreadable, "the payload under %s: %v", l.Tag, err)
	}
	about, err := v1.NewHash(payload.Critical.Image.Digest)
	if err != nil || payload.Critical.Type != simpleSigningType {
		return exhibit{}, refuse(codeUnreadable, "the payload under %s is no signature of an image", l.Tag)
	}
	sum := sha256.Sum256(l.Payload)
	entity, err := assemble(l, &protobundle.Bundle{Content: &protobundle.Bundle_MessageSignature{
		MessageSignature: &protocommon.MessageSignature{
			MessageDigest: &protocommon.HashOutput{Algorithm: protocommon.HashAlgorithm_SHA2_256, Digest: sum[:]},
			Signature:     signature,
		},
	}})
	if err != nil {
		return exhibit{}, refuse(codeUnreadable, "what is under %s: %v", l.Tag, err)
	}
	return exhibit{
		entity: entity,
		statement: evidence.Statement{
			PredicateType: evidence.Signature,
			Subject:       []evidence.Subject{{Digest: map[string]string{about.Algorithm: about.Hex}}},
		},
		artifact: v1.Hash{Algorithm: "sha256", Hex: hex.EncodeToString(sum[:])},
		legacy:   true,
	}, nil
}

func openLegacyAttestation(l registry.Legacy, subject v1.Hash) (exhibit, *refusal) {
	if len(l.Payload) > evidence.MaxBundle {
		return exhibit{}, refuse(codeUnreadable, "%d bytes are more than the %d allowed", len(l.Payload), evidence.MaxBundle)
	}
	var envelope struct {
		PayloadType string `json:"payloadType"`
		Payload     []byte `json:"payload"`
		Signatures  []struct {
			Sig []byte `json:"sig"`
		} `json:"signatures"`
	}
	err := evidence.Strict(l.Payload)
	if err == nil {
		err = json.Unmarshal(l.Payload, &envelope)
	}
	if err != nil {
		return exhibit{}, refuse(codeUnreadable, "the envelope under %s: %v", l.Tag, err)
	}
	made := &protodsse.Envelope{PayloadType: envelope.PayloadType, Payload: envelope.Payload}
	for _, s := range envelope.Signatures {
		made.Signatures = append(made.Signatures, &protodsse.Signature{Sig: s.Sig})
	}
	entity, err := assemble(l, &protobundle.Bundle{Content: &protobundle.Bundle_DsseEnvelope{DsseEnvelope: made}})
	if err != nil {
		return exhibit{}, refuse(codeUnreadable, "what is under %s: %v", l.Tag, err)
	}
	x, no := stated(entity, subject)
	x.legacy = true
	return x, no
}

// assemble adds to a bundle's content what the annotations prove it with.
func assemble(l registry.Legacy, b *protobundle.Bundle) (*bundle.Bundle, error) {
	b.MediaType = "application/vnd.dev.sigstore.bundle+json;version=0.1"
	b.VerificationMaterial = &protobundle.VerificationMaterial{
		Content: &protobundle.VerificationMaterial_PublicKey{PublicKey: &protocommon.PublicKeyIdentifier{}},
	}
	if l.Certificate != "" {
		block, _ := pem.Decode([]byte(l.Certificate))
		if block == nil {
			return nil, errors.New("its certificate is not PEM")
		}
		b.VerificationMaterial.Content = &protobundle.VerificationMaterial_X509CertificateChain{
			X509CertificateChain: &protocommon.X509CertificateChain{Certificates: []*protocommon.X509Certificate{{RawBytes: block.Bytes}}},
		}
	}
	if l.Bundle != "" {
		entry, err := legacyEntry(l.Bundle)
		if err != nil {
			return nil, fmt.Errorf("its log entry: %w", err)
		}
		b.VerificationMaterial.TlogEntries = []*protorekor.TransparencyLogEntry{entry}
	}
	if l.Timestamp != "" {
		var stamp struct{ SignedRFC3161Timestamp []byte }
		if err := json.Unmarshal([]byte(l.Timestamp), &stamp); err != nil {
			return nil, fmt.Errorf("its timestamp: %w", err)
		}
		b.VerificationMaterial.TimestampVerificationData = &protobundle.TimestampVerificationData{
			Rfc3161Timestamps: []*protocommon.RFC3161SignedTimestamp{{SignedTimestamp: stamp.SignedRFC3161Timestamp}},
		}
	}
	return bundle.NewBundle(b)
}

// legacyEntry reads a log's promise as cosign 2 keeps it.
func legacyEntry(text string) (*protorekor.TransparencyLogEntry, error) {
	var promise struct {
		SignedEntryTimestamp []byte
		Payload              struct {
			Body           []byte `json:"body"`
			IntegratedTime int64  `json:"integratedTime"`
			LogIndex       int64  `json:"logIndex"`
			LogID          string `json:"logID"`
		}
	}
	if err := json.Unmarshal([]byte(text), &promise); err != nil {
		return nil, err
	}
	var body struct {
		Kind       string `json:"kind"`
		APIVersion string `json:"apiVersion"`
	}
	if err := json.Unmarshal(promise.Payload.Body, &body); err != nil {
		return nil, err
	}
	id, err := hex.DecodeString(promise.Payload.LogID)
	if err != nil {
		return nil, err
	}
	return &protorekor.TransparencyLogEntry{
		LogIndex:          promise.Payload.LogIndex,
		LogId:             &protocommon.LogId{KeyId: id},
		KindVersion:       &protorekor.KindVersion{Kind: body.Kind, Version: body.APIVersion},
		IntegratedTime:    promise.Payload.IntegratedTime,
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: promise.SignedEntryTimestamp},
		CanonicalizedBody: promise.Payload.Body,
	}, nil
}
