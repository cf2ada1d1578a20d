package intake

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/hallmark-sh/hallmark/internal/registry"
	"github.com/hallmark-sh/hallmark/internal/store"
)

// MaxNotification is the size of a notification, in bytes, and MaxEvents how
// many images one may name.
const (
	MaxNotification = 1 << 20
	MaxEvents       = 256
)

// Distribution reads a notification of a CNCF Distribution registry
// (https://distribution.github.io/distribution/about/notifications/) and gives
// the images that were pushed. Other events, and pushes of what is no image,
// are passed over. host is the registry's name in references when the event
// does not tell it; the registry knows itself by the name its clients used.
func Distribution(body []byte, host string) ([]name.Reference, error) {
	var envelope struct {
		Events []struct {
			Action string `json:"action"`
			Target struct {
				MediaType  string `json:"mediaType"`
				Digest     string `json:"digest"`
				Repository string `json:"repository"`
				Tag        string `json:"tag"`
			} `json:"target"`
			Request struct {
				Host string `json:"host"`
			} `json:"request"`
		} `json:"events"`
	}
	if err := json.Unmarshal(body, &envelope); err != nil {
		return nil, fmt.Errorf("reading the registry's notification: %w", err)
	}
	if len(envelope.Events) > MaxEvents {
		return nil, fmt.Errorf("reading the registry's notification: %d events, more than %d", len(envelope.Events), MaxEvents)
	}
	var refs []name.Reference
	for _, e := range envelope.Events {
		if e.Action != "push" || !isManifest(e.Target.MediaType) {
			continue
		}
		at := host
		if at == "" {
			at = e.Request.Host
		}
		ref, err := reference(at, e.Target.Repository, e.Target.Tag, e.Target.Digest)
		if err != nil {
			return nil, fmt.Errorf("reading the registry's notification: %w", err)
		}
		refs = append(refs, ref)
	}
	return refs, nil
}

// ECR reads an event "ECR Image Action" of Amazon EventBridge
// (https://docs.aws.amazon.com/AmazonECR/latest/userguide/ecr-eventbridge.html),
// by itself or as the body of messages that SQS hands to a consumer, and gives
// the images that were pushed.
func ECR(body []byte) ([]name.Reference, error) {
	var messages struct {
		Records []struct {
			Body string `json:"body"`
		} `json:"Records"`
	}
	if err := json.Unmarshal(body, &messages); err != nil {
		return nil, fmt.Errorf("reading the ECR event: %w", err)
	}
	if len(messages.Records) > MaxEvents {
		return nil, fmt.Errorf("reading the ECR event: %d messages, more than %d", len(messages.Records), MaxEvents)
	}
	events := [][]byte{body}
	if messages.Records != nil {
		events = nil
		for _, m := range messages.Records {
			events = append(events, []byte(m.Body))
		}
	}
	var refs []name.Reference
	for _, e := range events {
		ref, err := ecrEvent(e)
		if err != nil {
			return nil, fmt.Errorf("reading the ECR event: %w", err)
		}
		if ref != nil {
			refs = append(refs, ref)
		}
	}
	return refs, nil
}

func ecrEvent(body []byte) (name.Reference, error) {
	var e struct {
		Source  string `json:"source"`
		Type    string `json:"detail-type"`
		Account string `json:"account"`
		Region  string `json:"region"`
		Detail  struct {
			Result     string `json:"result"`
			Action     string `json:"action-type"`
			Repository string `json:"repository-name"`
			Digest     string `json:"image-digest"`
			Tag        string `json:"image-tag"`
		} `json:"detail"`
	}
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, err
	}
	if e.Source != "aws.ecr" {
		return nil, fmt.Errorf("its source is %q, not aws.ecr", e.Source)
	}
	if e.Type != "ECR Image Action" || e.Detail.Action != "PUSH" || e.Detail.Result != "SUCCESS" {
		return nil, nil
	}
	suffix := ".amazonaws.com"
	if strings.HasPrefix(e.Region, "cn-") {
		suffix += ".cn"
	}
	return reference(e.Account+".dkr.ecr."+e.Region+suffix, e.Detail.Repository, e.Detail.Tag, e.Detail.Digest)
}

// repositoryPath is the distribution specification's form of a repository's
// name. Package name lets more pass, such as steps up in a path.
var repositoryPath = regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)

// reference prefers the tag, which becomes a name of the image, and falls back
// on the digest. Evidence under a tag is a push of its own, about another.
func reference(host, repository, tag, digest string) (name.Reference, error) {
	if host == "" || repository == "" {
		return nil, errors.New("an event names no registry or no repository")
	}
	if !repositoryPath.MatchString(repository) {
		return nil, fmt.Errorf("an event names the repository %q, which no registry has", repository)
	}
	base, err := name.NewRepository(host+"/"+repository, name.StrictValidation)
	if err != nil {
		return nil, err
	}
	if m := evidenceTag.FindStringSubmatch(tag); m != nil {
		tag, digest = "", "sha256:"+m[1]
	}
	if tag != "" {
		return name.NewTag(base.Name()+":"+tag, name.StrictValidation)
	}
	return name.NewDigest(base.Name()+"@"+digest, name.StrictValidation)
}

func isManifest(mediaType string) bool {
	return strings.Contains(mediaType, "manifest") || strings.Contains(mediaType, "image.index")
}

// Waiting is the result of a pushed image that nothing is attested about yet.
const Waiting store.Result = "waiting"

// Notified takes in an image that a registry says was pushed. What was pushed
// may be evidence about another image: then that one is taken in. An image
// that is pushed before its evidence is waiting, not refused: the push of the
// evidence, or of its tag, brings the next notification.
func (in *Intake) Notified(ctx context.Context, ref name.Reference) (Result, error) {
	if _, err := in.Judge(ctx, ref.Context().Name()); err != nil {
		return Result{}, fmt.Errorf("taking in %s: %w", ref, err)
	}
	digest, untagged := ref.(name.Digest)
	if !untagged {
		return in.image(ctx, ref, false)
	}
	raw, _, err := in.Registry.Manifest(ctx, digest)
	if err != nil && !registry.IsNotFound(err) {
		return Result{}, fmt.Errorf("taking in %s: %w", ref, err)
	}
	if m, err := v1.ParseManifest(bytes.NewReader(raw)); err == nil && m.Subject != nil {
		ref = ref.Context().Digest(m.Subject.Digest.String())
	}
	return in.image(ctx, ref, true)
}
