package intake_test

import (
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/hallmark-sh/hallmark/internal/intake"
)

const (
	manifestType = "application/vnd.oci.image.manifest.v1+json"
	blobType     = "application/octet-stream"
)

var hexOf = strings.Repeat("ab", 32)

// event is one of a CNCF Distribution registry, with the fields that its
// documentation shows.
func event(action, mediaType, repository, tag string) string {
	return fmt.Sprintf(`{"id":"320678d8-ca14-430f-8bb6-4ca139cd83f7","timestamp":"2016-03-09T14:44:26.402973972-08:00","action":%q,
		"target":{"mediaType":%q,"size":708,"digest":"sha256:%s","length":708,"repository":%q,"url":"http://192.168.100.227:5000/v2/x","tag":%q},
		"request":{"id":"6df24a34","addr":"192.168.64.11:42961","host":"192.168.100.227:5000","method":"PUT","useragent":"curl/7.38.0"},
		"actor":{},"source":{"addr":"xtal.local:5000","instanceID":"a53db899"}}`, action, mediaType, hexOf, repository, tag)
}

func events(all ...string) string { return `{"events":[` + strings.Join(all, ",") + `]}` }

func names(refs []name.Reference) []string {
	out := []string{}
	for _, r := range refs {
		out = append(out, r.Name())
	}
	return out
}

func TestDistribution(t *testing.T) {
	const host = "192.168.100.227:5000"
	for _, c := range []struct {
		name, body, host string
		want             []string
	}{
		{"tag", events(event("push", manifestType, "team/app", "v1")), "", []string{host + "/team/app:v1"}},
		{"digest", events(event("push", manifestType, "team/app", "")), "", []string{host + "/team/app@sha256:" + hexOf}},
		{"index", events(event("push", "application/vnd.oci.image.index.v1+json", "app", "v1")), "", []string{host + "/app:v1"}},
		{"Docker's list", events(event("push", "application/vnd.docker.distribution.manifest.list.v2+json", "app", "v1")), "", []string{host + "/app:v1"}},
		{"another host", events(event("push", manifestType, "app", "v1")), "registry.acme.example", []string{"registry.acme.example/app:v1"}},
		{"evidence of cosign", events(event("push", manifestType, "app", "sha256-"+strings.Repeat("cd", 32)+".att")), "", []string{host + "/app@sha256:" + strings.Repeat("cd", 32)}},
		{"fallback tag", events(event("push", manifestType, "app", "sha256-"+strings.Repeat("cd", 32))), "", []string{host + "/app@sha256:" + strings.Repeat("cd", 32)}},
		{"blob", events(event("push", blobType, "app", "")), "", []string{}},
		{"pull", events(event("pull", manifestType, "app", "v1")), "", []string{}},
		{"mount and delete", events(event("mount", manifestType, "app", "v1"), event("delete", manifestType, "app", "v1")), "", []string{}},
		{"several", events(event("push", blobType, "app", ""), event("push", manifestType, "a", "1"), event("push", manifestType, "b", "2")), "", []string{host + "/a:1", host + "/b:2"}},
		{"none", `{"events":[]}`, "", []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			refs, err := intake.Distribution([]byte(c.body), c.host)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, names(refs)); diff != "" {
				t.Error(diff)
			}
		})
	}
	for what, body := range map[string]string{
		"half of one":                  events(event("push", manifestType, "app", "v1"))[:60],
		"no repository":                events(event("push", manifestType, "", "v1")),
		"a repository of another form": events(event("push", manifestType, "../../etc/passwd", "v1")),
		"a tag of another form":        events(event("push", manifestType, "app", "v1?x=/")),
		"no host":                      strings.ReplaceAll(events(event("push", manifestType, "app", "v1")), host, ""),
		"no digest and no tag":         strings.Replace(events(event("push", manifestType, "app", "")), "sha256:"+hexOf, "", 1),
		"too many":                     events(strings.Split(strings.Repeat(event("push", manifestType, "app", "v1")+"\x00", intake.MaxEvents+1), "\x00")[:intake.MaxEvents+1]...),
	} {
		if refs, err := intake.Distribution([]byte(body), ""); err == nil {
			t.Errorf("%s is read as %q", what, names(refs))
		}
	}
}

// ecr is an event of Amazon ECR as EventBridge hands it on.
func ecr(region, action, result, tag string) string {
	return fmt.Sprintf(`{"version":"0","id":"13cde686-328b-6117-af20-0e5566167482","detail-type":"ECR Image Action","source":"aws.ecr",
		"account":"123456789012","time":"2019-11-16T01:54:34Z","region":%q,"resources":[],
		"detail":{"result":%q,"repository-name":"team/app","image-digest":"sha256:%s","action-type":%q,"image-tag":%q}}`, region, result, hexOf, action, tag)
}

// sqs are events as the messages of a queue, as AWS hands them to a consumer.
func sqs(t testing.TB, bodies ...string) string {
	t.Helper()
	type message struct {
		ID      string `json:"messageId"`
		Receipt string `json:"receiptHandle"`
		Body    string `json:"body"`
		Source  string `json:"eventSource"`
		ARN     string `json:"eventSourceARN"`
	}
	records := []message{}
	for n, body := range bodies {
		records = append(records, message{fmt.Sprint("059f36b4-", n), "AQEBwJnKyrHigUMZ", body, "aws:sqs", "arn:aws:sqs:eu-central-1:123456789012:pushes"})
	}
	raw, err := json.Marshal(map[string]any{"Records": records})
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestECR(t *testing.T) {
	const host = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
	for _, c := range []struct {
		name, body string
		want       []string
	}{
		{"EventBridge", ecr("eu-central-1", "PUSH", "SUCCESS", "v1"), []string{host + "/team/app:v1"}},
		{"no tag", ecr("eu-central-1", "PUSH", "SUCCESS", ""), []string{host + "/team/app@sha256:" + hexOf}},
		{"China", ecr("cn-north-1", "PUSH", "SUCCESS", "v1"), []string{"123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/team/app:v1"}},
		{"evidence", ecr("eu-central-1", "PUSH", "SUCCESS", "sha256-"+strings.Repeat("cd", 32)+".sig"), []string{host + "/team/app@sha256:" + strings.Repeat("cd", 32)}},
		{"failed", ecr("eu-central-1", "PUSH", "FAILURE", "v1"), []string{}},
		{"deleted", ecr("eu-central-1", "DELETE", "SUCCESS", "v1"), []string{}},
		{"SQS", sqs(t, ecr("eu-central-1", "PUSH", "SUCCESS", "v1"), ecr("eu-central-1", "DELETE", "SUCCESS", "v1"), ecr("eu-central-1", "PUSH", "SUCCESS", "v2")), []string{host + "/team/app:v1", host + "/team/app:v2"}},
		{"an empty queue", sqs(t), []string{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			refs, err := intake.ECR([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, names(refs)); diff != "" {
				t.Error(diff)
			}
		})
	}
	many := strings.Split(strings.Repeat(ecr("eu-central-1", "PUSH", "SUCCESS", "v1")+"\x00", intake.MaxEvents+1), "\x00")[:intake.MaxEvents+1]
	for what, body := range map[string]string{
		"half of one":                ecr("eu-central-1", "PUSH", "SUCCESS", "v1")[:70],
		"an event of another source": strings.Replace(ecr("eu-central-1", "PUSH", "SUCCESS", "v1"), "aws.ecr", "aws.s3", 1),
		"something else":             `{"hello":1}`,
		"a message that is no event": sqs(t, "hello"),
		"a region that is a host":    ecr("evil.example/x?", "PUSH", "SUCCESS", "v1"),
		"too many messages":          sqs(t, many...),
	} {
		if refs, err := intake.ECR([]byte(body)); err == nil {
			t.Errorf("%s is read as %q", what, names(refs))
		}
	}
}

// Whatever a notification says, what comes out of it must be references that
// are what they read as, in bounded number, and never evidence as if it were an
// image.
func FuzzNotifications(f *testing.F) {
	f.Add(events(event("push", manifestType, "team/app", "v1")))
	f.Add(events(event("push", manifestType, "app", "sha256-"+hexOf+".att")))
	f.Add(ecr("eu-central-1", "PUSH", "SUCCESS", "v1"))
	f.Add(ecr("eu.central@1/x:y", "PUSH", "SUCCESS", "v1"))
	f.Add(sqs(f, ecr("cn-north-1", "PUSH", "SUCCESS", "")))
	evidence := regexp.MustCompile(`^sha256-[0-9a-f]{64}($|\.(sig|att|sbom)$)`)
	f.Fuzz(func(t *testing.T, body string) {
		pushed, _ := intake.Distribution([]byte(body), "")
		cloud, _ := intake.ECR([]byte(body))
		for _, r := range append(pushed, cloud...) {
			back, err := name.ParseReference(r.Name(), name.StrictValidation)
			if err != nil || back.Name() != r.Name() || back.Context().Name() != r.Context().Name() {
				t.Fatalf("%q is read again as %v, %v", r.Name(), back, err)
			}
			if tag, ok := r.(name.Tag); ok && evidence.MatchString(tag.TagStr()) {
				t.Fatalf("%q is evidence", r.Name())
			}
		}
		for _, r := range cloud {
			if host := r.Context().RegistryStr(); !strings.HasSuffix(host, ".amazonaws.com") && !strings.HasSuffix(host, ".amazonaws.com.cn") {
				t.Fatalf("an event of ECR is about %s", host)
			}
		}
		if len(pushed) > intake.MaxEvents || len(cloud) > intake.MaxEvents {
			t.Fatalf("%d and %d images of one notification", len(pushed), len(cloud))
		}
	})
}
