package advisory

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hallmark-sh/hallmark/internal/hint"
)

func TestFetch(t *testing.T) {
	res := small(t)
	m := serve(t, filepath.Dir(res.Dir))
	archive := "/v6/" + filepath.Base(res.Archive)
	for name, from := range map[string]string{"base": "", "base with a slash": "/", "latest.json": "/v6/latest.json", "archive": archive} {
		t.Run(name, func(t *testing.T) {
			o := remoteOptions(t, m.URL+from)
			_, db := open(t, o)
			if db.Source != m.URL+archive || db.Digest != res.Database.Digest {
				t.Errorf("database %+v", db)
			}
			m.took()
			open(t, o)
			for _, line := range m.took() {
				if strings.HasPrefix(line, "200") && strings.Contains(line, ".tar") {
					t.Errorf("fetched again: %s", line)
				}
			}
			if left, _ := filepath.Glob(filepath.Join(o.CacheDir, "downloads", "*.[pd][ao]*")); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// TestFetchFaults holds the download against a server that fails in each way,
// and then gives what is wanted.
func TestFetchFaults(t *testing.T) {
	res := small(t)
	m := serve(t, filepath.Dir(res.Dir))
	name := filepath.Base(res.Archive)
	info, err := os.Stat(res.Archive)
	if err != nil {
		t.Fatal(err)
	}
	half := int(info.Size() / 2)
	rest := fmt.Sprintf("206 %s bytes=%d-", name, half)
	other := filepath.Join(t.TempDir(), "other")
	writeTo(t, other, []byte(strings.Repeat("x", 1000)))
	for _, tt := range []struct {
		name   string
		faults []http.HandlerFunc
		want   []string
		base   bool // ask by latest.json, which tells the digest
	}{
		{"429", []http.HandlerFunc{status(429, "Retry-After", "0")}, []string{"429 " + name, "200 " + name}, false},
		{"503 without a time", []http.HandlerFunc{status(503)}, []string{"503 " + name, "200 " + name}, false},
		{"500 three times", []http.HandlerFunc{status(500), status(502), status(504)}, []string{"500 " + name, "502 " + name, "504 " + name, "200 " + name}, false},
		{"reset", []http.HandlerFunc{reset}, []string{"200 " + name, "200 " + name}, false},
		{"broken off, then the rest", []http.HandlerFunc{cut(res.Archive, half)}, []string{"200 " + name, rest}, false},
		{"broken off twice", []http.HandlerFunc{cut(res.Archive, half), reset}, []string{"200 " + name, "200 " + name + fmt.Sprintf(" bytes=%d-", half), rest}, false},
		{"broken off, then another file", []http.HandlerFunc{cut(other, 500)}, []string{"200 " + name, "200 " + name + " bytes=500-"}, false},
		{"range refused", []http.HandlerFunc{cut(res.Archive, half), status(416)}, []string{"200 " + name, "416 " + name + fmt.Sprintf(" bytes=%d-", half), "200 " + name}, false},
		{"another range", []http.HandlerFunc{cut(res.Archive, half), status(206, "Content-Range", "bytes 0-1/9")}, []string{"200 " + name, "206 " + name + fmt.Sprintf(" bytes=%d-", half), "200 " + name}, false},
		{"broken off, digest known", []http.HandlerFunc{cut(res.Archive, half)}, []string{"200 latest.json", "200 " + name, rest}, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := remoteOptions(t, m.URL+"/v6/"+name)
			if tt.base {
				o.From = m.URL
			}
			m.fail(tt.faults...)
			open(t, o)
			if got := m.took(); !slices.Equal(got, tt.want) {
				t.Errorf("requests %q, want %q", got, tt.want)
			}
		})
	}
}

// TestFetchGoesOn breaks off every try of one process and lets the next one
// fetch the rest only.
func TestFetchGoesOn(t *testing.T) {
	res := small(t)
	m := serve(t, filepath.Dir(res.Dir))
	o := remoteOptions(t, m.URL+"/v6/"+filepath.Base(res.Archive))
	m.fail(cut(res.Archive, 100), reset, reset, reset)
	refusal(t, o, Unreachable)
	m.took()
	open(t, o)
	if got, want := m.took(), []string{"206 " + filepath.Base(res.Archive) + " bytes=100-"}; !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
}

// TestFetchFindsItWhole starts after a process that was killed between the last
// byte and the check.
func TestFetchFindsItWhole(t *testing.T) {
	res := small(t)
	m := serve(t, filepath.Dir(res.Dir))
	o := remoteOptions(t, m.URL)
	at, err := parseRemote(o.From, false)
	if err != nil {
		t.Fatal(err)
	}
	d := o.downloader(at)
	copyTo(t, res.Archive, filepath.Join(d.dir, d.key+".part"))
	open(t, o)
	name, size := filepath.Base(res.Archive), int64(0)
	if f, err := os.Stat(res.Archive); err == nil {
		size = f.Size()
	}
	if got, want := m.took(), []string{"200 latest.json", fmt.Sprintf("416 %s bytes=%d-", name, size)}; !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
}

// TestFetchWaitsAsTold has a server that names the time for the next try: it is
// used in the place of our own, which here would be an hour.
func TestFetchWaitsAsTold(t *testing.T) {
	res := small(t)
	m := serve(t, filepath.Dir(res.Dir))
	o := remoteOptions(t, m.URL)
	o.patience.first = time.Hour
	m.fail(status(429, "Retry-After", "0"), status(503, "Retry-After", "0"))
	open(t, o)
	o.CacheDir = t.TempDir()
	m.fail(status(429, "Retry-After", "86400"))
	refusal(t, o, Unreachable)
}

func TestFetchRefuses(t *testing.T) {
	res := small(t)
	root := filepath.Dir(res.Dir)
	m := serve(t, root)
	other := func(change func(*latest)) string {
		var doc latest
		data, _ := os.ReadFile(res.Latest)
		if err := json.Unmarshal(data, &doc); err != nil {
			t.Fatal(err)
		}
		change(&doc)
		data, _ = json.Marshal(doc)
		name := fmt.Sprintf("other%d.json", time.Now().UnixNano())
		writeTo(t, filepath.Join(root, "v6", name), data)
		return m.URL + "/v6/" + name
	}
	writeTo(t, filepath.Join(root, "v6", "text.json"), []byte("<html>"))
	with := func(from string) Options { return remoteOptions(t, from) }
	for _, tt := range []struct {
		name   string
		o      Options
		faults []http.HandlerFunc
		code   Code
		text   string
		tries  int // of the archive
	}{
		{"404", with(m.URL + "/v6/none.tar.zst"), nil, Unreachable, "404", 1},
		{"401", with(m.URL + "/v6/x.tar.gz"), []http.HandlerFunc{status(401)}, Unreachable, "401", 1},
		{"500 for ever", with(m.URL + "/v6/x.tar.gz"), []http.HandlerFunc{status(500), status(500), status(500), status(500)}, Unreachable, "500", 4},
		{"no base", with(m.URL + "/nowhere"), nil, Unreachable, "404", 0},
		{"no answer", with("http://127.0.0.1:1/"), nil, Unreachable, "", 0},
		{"wrong checksum", with(other(func(l *latest) { l.Digest = "sha256:" + strings.Repeat("0", 64) })), nil, Corrupt, "digest", 1},
		{"no checksum", with(other(func(l *latest) { l.Digest = "" })), nil, Unreachable, "checksum", 0},
		{"path upward", with(other(func(l *latest) { l.Path = "../../x.tar" })), nil, Unreachable, "path", 0},
		{"schema 5", with(other(func(l *latest) { l.Schema = "v5.0.0" })), nil, OtherSchema, "v5.0.0", 0},
		{"no latest.json", with(m.URL + "/v6/text.json"), nil, Unreachable, "latest.json", 0},
		{"no archive", with(m.URL + "/6/import.json.tar"), nil, Unreachable, "404", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m.took()
			m.fail(tt.faults...)
			e := refusal(t, tt.o, tt.code)
			if !strings.Contains(e.Error(), tt.text) {
				t.Errorf("error %q, want %q in it", e, tt.text)
			}
			tries := 0
			for _, line := range m.took() {
				if strings.Contains(line, ".tar") {
					tries++
				}
			}
			if tries != tt.tries {
				t.Errorf("%d tries, want %d", tries, tt.tries)
			}
		})
	}
}

// TestFetchGivesUpOnSilence holds a server that answers nothing, and one that
// stops in the middle.
func TestFetchGivesUpOnSilence(t *testing.T) {
	res := small(t)
	m := serve(t, filepath.Dir(res.Dir))
	stop := func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("a"))
		http.NewResponseController(w).Flush()
		hang(w, r)
	}
	for _, fault := range []http.HandlerFunc{hang, stop} {
		o := remoteOptions(t, m.URL+"/v6/"+filepath.Base(res.Archive))
		o.patience = patience{first: time.Millisecond, tries: 2, idle: 50 * time.Millisecond}
		m.fail(fault, fault)
		if e := refusal(t, o, Unreachable); !strings.Contains(e.Error(), "no byte came for 50ms") {
			t.Errorf("error %v", e)
		}
	}
}

func TestFetchURLs(t *testing.T) {
	for _, tt := range []struct{ from, text string }{
		{"http://mirror.example.com/db", "plain http"},
		{"ftp://mirror.example.com/db", "no http or https URL"},
		{"https:///db", "no http or https URL"},
		{"https://user:secret@host:bad/db", "cannot be read"},
	} {
		_, _, err := Open(context.Background(), remoteOptions(t, tt.from))
		if err == nil || !strings.Contains(err.Error(), tt.text) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v, want one with %q", tt.from, err, tt.text)
		}
	}
	for from, want := range map[string]bool{"http://localhost:1/x": true, "http://127.0.0.1/x": true, "http://[::1]:8/x": true, "http://10.0.0.1/x": false} {
		if _, err := parseRemote(from, false); (err == nil) != want {
			t.Errorf("%s: %v", from, err)
		}
	}
	if _, err := parseRemote("http://mirror.example.com/x", true); err != nil {
		t.Errorf("plain http with a signer: %v", err)
	}
}

// TestFetchHidesCredentials looks for the password and the signed query in all
// that comes out.
func TestFetchHidesCredentials(t *testing.T) {
	res := small(t)
	inner := serve(t, filepath.Dir(res.Dir))
	var mu sync.Mutex
	var seen []string
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, pass, _ := r.BasicAuth()
		mu.Lock()
		seen = append(seen, user+" "+pass+" "+r.URL.RawQuery)
		mu.Unlock()
		if pass != "hunter2" {
			w.WriteHeader(403)
			return
		}
		inner.Config.Handler.ServeHTTP(w, r)
	}))
	defer front.Close()
	secret := strings.Replace(front.URL, "http://", "http://bob:hunter2@", 1) + "/v6/" + filepath.Base(res.Archive) + "?sig=topsecret"
	var said []string
	o := remoteOptions(t, secret)
	o.Progress = func(s string) { said = append(said, s) }
	_, db := open(t, o)
	wrong := remoteOptions(t, strings.Replace(secret, "hunter2", "wrongpass", 1))
	wrong.Progress = o.Progress
	_, _, err := Open(context.Background(), wrong)
	closed := httptest.NewServer(nil)
	closed.Close()
	gone := remoteOptions(t, strings.Replace(closed.URL, "http://", "http://bob:hunter2@", 1)+"/x.tar.gz?sig=topsecret")
	gone.Progress = o.Progress
	_, _, err2 := Open(context.Background(), gone)
	out := strings.Join(append(said, db.Source, fmt.Sprint(err), fmt.Sprint(err2), hint.Of(err)), "\n")
	for _, word := range []string{"hunter2", "wrongpass", "topsecret", "bob"} {
		if strings.Contains(out, word) {
			t.Errorf("%q comes out:\n%s", word, out)
		}
	}
	if len(seen) == 0 || seen[0] != "bob hunter2 sig=topsecret" {
		t.Errorf("the server saw %q", seen)
	}
	filepath.WalkDir(o.CacheDir, func(p string, d os.DirEntry, _ error) error {
		if data, err := os.ReadFile(p); err == nil && strings.HasSuffix(p, ".json") && strings.Contains(string(data), "secret") {
			t.Errorf("%s holds a credential", p)
		}
		return nil
	})
}

// TestFetchFallsBack takes the server away: what it gave before is used, but
// not when it says that there is nothing.
func TestFetchFallsBack(t *testing.T) {
	res := small(t)
	m := serve(t, filepath.Dir(res.Dir))
	for _, from := range []string{m.URL, m.URL + "/v6/" + filepath.Base(res.Archive)} {
		o := remoteOptions(t, from)
		var said []string
		o.Progress = func(s string) { said = append(said, s) }
		open(t, o)
		down := o
		down.Transport = unreachable{}
		open(t, down)
		if !strings.Contains(strings.Join(said, "\n"), "is out of reach; using the database of 2026-03-04") {
			t.Errorf("nothing was said of it: %q", said)
		}
		os.RemoveAll(filepath.Join(o.CacheDir, "databases"))
		refusal(t, down, Unreachable)
	}
	o := remoteOptions(t, m.URL+"/v6/"+filepath.Base(res.Archive))
	open(t, o)
	m.fail(status(404))
	refusal(t, o, Unreachable)
}

func TestFetchFollowsSafely(t *testing.T) {
	res := small(t)
	m := serve(t, filepath.Dir(res.Dir))
	secure := httptest.NewTLSServer(http.RedirectHandler(m.URL+"/v6/"+filepath.Base(res.Archive), http.StatusFound))
	defer secure.Close()
	o := remoteOptions(t, secure.URL+"/x.tar.zst")
	o.Transport = secure.Client().Transport
	if e := refusal(t, o, Unreachable); !strings.Contains(e.Error(), "from https to plain http") {
		t.Errorf("error %v", e)
	}
	plain := httptest.NewServer(http.RedirectHandler(m.URL+"/v6/"+filepath.Base(res.Archive), http.StatusFound))
	defer plain.Close()
	open(t, remoteOptions(t, plain.URL+"/x.tar.zst"))
}

func TestFetchStopsWithContext(t *testing.T) {
	res := small(t)
	m := serve(t, filepath.Dir(res.Dir))
	ctx, cancel := context.WithCancel(context.Background())
	m.fail(func(w http.ResponseWriter, r *http.Request) { cancel(); hang(w, r) })
	if _, _, err := Open(ctx, remoteOptions(t, m.URL)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

// TestFetchTogether opens the same URL many times at once.
func TestFetchTogether(t *testing.T) {
	res := small(t)
	m := serve(t, filepath.Dir(res.Dir))
	o := remoteOptions(t, m.URL)
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if _, _, err := Open(context.Background(), o); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	archives := 0
	for _, line := range m.took() {
		if strings.Contains(line, ".tar") {
			archives++
		}
	}
	if archives != 1 {
		t.Errorf("the archive was fetched %d times", archives)
	}
}
