package localtrust_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	rekornote "github.com/sigstore/rekor-tiles/v2/pkg/note"
	rekorverify "github.com/sigstore/rekor-tiles/v2/pkg/verify"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore/pkg/signature"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/hallmark-sh/hallmark/internal/localtrust"
)

const entryPath = "/api/v2/log/entries"

// entry is a request to log a signature over a digest.
func entry(t testing.TB, key *ecdsa.PrivateKey, digest [32]byte) map[string]any {
	t.Helper()
	sig, err := ecdsa.SignASN1(rand.Reader, key, digest[:])
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return map[string]any{
		"digest": digest[:],
		"signature": map[string]any{"content": sig, "verifier": map[string]any{
			"publicKey": map[string]any{"rawBytes": der}, "keyDetails": "PKIX_ECDSA_P256_SHA_256",
		}},
	}
}

func hashedRekord(t testing.TB, e map[string]any) []byte {
	t.Helper()
	body, err := json.Marshal(map[string]any{"hashedRekordRequestV002": e})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// log logs one entry in process and gives what the log answers.
func log(t testing.TB, l *localtrust.Local) *protorekor.TransparencyLogEntry {
	t.Helper()
	var digest [32]byte
	if _, err := rand.Read(digest[:]); err != nil {
		t.Fatal(err)
	}
	s := l.Services()
	req, err := http.NewRequest(http.MethodPost, s.Rekor[0].URL+entryPath, bytes.NewReader(hashedRekord(t, entry(t, newKey(t), digest))))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := s.Transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		t.Fatal(err)
	}
	at := &protorekor.TransparencyLogEntry{}
	if err := protojson.Unmarshal(b.Bytes(), at); err != nil || resp.StatusCode != http.StatusCreated {
		t.Fatalf("status %s, %v: %s", resp.Status, err, b.String())
	}
	return at
}

// logVerifier is the verifier of the log's checkpoints, out of the trusted root
// alone.
func logVerifier(t testing.TB, l *localtrust.Local) note.Verifier {
	t.Helper()
	tr, err := root.NewTrustedRootFromJSON(l.TrustedRoot())
	if err != nil {
		t.Fatal(err)
	}
	for _, tl := range tr.RekorLogs() {
		u, err := url.Parse(tl.BaseURL)
		if err != nil {
			t.Fatal(err)
		}
		v, err := signature.LoadVerifier(tl.PublicKey, 0)
		if err != nil {
			t.Fatal(err)
		}
		nv, err := rekornote.NewNoteVerifier(u.Hostname(), v)
		if err != nil {
			t.Fatal(err)
		}
		return nv
	}
	t.Fatal("no log in the trusted root")
	return nil
}

func tree(t testing.TB, l *localtrust.Local) tlog.Tree {
	t.Helper()
	n, err := note.Open([]byte(readFile(t, filepath.Join(l.Dir(), "log/checkpoint"))), note.VerifierList(logVerifier(t, l)))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(n.Text, "\n")
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	hash, err := tlog.ParseHash(lines[2])
	if err != nil {
		t.Fatal(err)
	}
	return tlog.Tree{N: size, Hash: hash}
}

func treeSize(t testing.TB, l *localtrust.Local) int { return int(tree(t, l).N) }

// entries reads all entries of the log from its files.
func entries(t testing.TB, l *localtrust.Local, size int64) [][]byte {
	t.Helper()
	var out [][]byte
	for n := int64(0); n*256 < size; n++ {
		name := fmt.Sprintf("log/tile/entries/%03d", n)
		if w := size - n*256; w < 256 {
			name += fmt.Sprintf(".p/%d", w)
		}
		data := []byte(readFile(t, filepath.Join(l.Dir(), name)))
		for len(data) > 0 {
			k := binary.BigEndian.Uint16(data)
			out = append(out, data[2:2+k])
			data = data[2+k:]
		}
	}
	return out
}

// checkTree recomputes the whole tree from its entries.
func checkTree(t testing.TB, l *localtrust.Local) {
	t.Helper()
	want := tree(t, l)
	all := entries(t, l, want.N)
	if int64(len(all)) != want.N {
		t.Fatalf("%d entries in a tree of %d", len(all), want.N)
	}
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	})
	for n, e := range all {
		hashes, err := tlog.StoredHashes(int64(n), e, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
	}
	got, err := tlog.TreeHash(want.N, reader)
	if err != nil {
		t.Fatal(err)
	}
	if got != want.Hash {
		t.Fatalf("the entries' tree is %s, the checkpoint says %s", got, want.Hash)
	}
}

// TestLog grows a log over the borders of its tiles, from several goroutines
// and two openings at once, and has Rekor's own code check each answer.
func TestLog(t *testing.T) {
	l := open(t, localtrust.Options{})
	verifier := logVerifier(t, l)
	if treeSize(t, l) != 0 {
		t.Fatal("a new log is not empty")
	}
	const writers, each = 10, 30
	var wg sync.WaitGroup
	var mu sync.Mutex
	seen := map[int64]bool{}
	for w := range writers {
		opened := l
		if w%2 == 1 {
			opened = reopen(t, l.Dir())
		}
		wg.Go(func() {
			for range each {
				at := log(t, opened)
				if err := rekorverify.VerifyLogEntry(at, verifier); err != nil {
					t.Errorf("entry %d: %v", at.GetLogIndex(), err)
				}
				mu.Lock()
				if seen[at.GetLogIndex()] {
					t.Errorf("two entries have the index %d", at.GetLogIndex())
				}
				seen[at.GetLogIndex()] = true
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if got := treeSize(t, l); got != writers*each {
		t.Errorf("the log has %d entries, want %d", got, writers*each)
	}
	checkTree(t, l)

	// Full tiles have no partial ones left, and the last has at most two.
	for pattern, most := range map[string]int{"log/tile/0/000.p/*": 0, "log/tile/entries/000.p/*": 0, "log/tile/entries/001.p/*": 2, "log/tile/0/001.p/*": 2, "log/tile/1/000.p/*": 2} {
		names, err := filepath.Glob(filepath.Join(l.Dir(), pattern))
		if err != nil {
			t.Fatal(err)
		}
		if len(names) > most {
			t.Errorf("%s has %d files, want at most %d", pattern, len(names), most)
		}
	}
}

// TestLogServed reads a log as a monitor does.
func TestLogServed(t *testing.T) {
	l := open(t, localtrust.Options{})
	base := serve(t, l)
	for range 3 {
		log(t, l)
	}
	for _, tt := range []struct {
		path   string
		status int
		size   int // of the answer, -1 for any
	}{
		{"/api/v2/checkpoint", 200, -1},
		{"/api/v2/tile/0/000.p/3", 200, 3 * 32},
		{"/api/v2/tile/entries/000.p/3", 200, -1},
		{"/api/v2/tile/0/000", 404, -1},
		{"/api/v2/tile/0/000.p/9", 404, -1},
		{"/api/v2/tile/data/000.p/3", 404, -1},
		{"/api/v2/tile/8/0/000", 404, -1},
		{"/api/v2/tile/..%2f..%2fkeys.json", 404, -1},
		{"/api/v2/tile/0/..%2f..%2f..%2f..%2fkeys.json", 404, -1},
		{"/api/v2/tile/", 404, -1},
		{"/keys.json", 404, -1},
	} {
		status, body := send(t, "GET", base+tt.path, "", nil)
		if status != tt.status || tt.size >= 0 && len(body) != tt.size || strings.Contains(body, "mintSecret") {
			t.Errorf("%s: status %d with %d bytes, want %d", tt.path, status, len(body), tt.status)
		}
	}
}

func TestEntryRefused(t *testing.T) {
	l := open(t, localtrust.Options{})
	base := serve(t, l)
	key := newKey(t)
	digest := sha256.Sum256([]byte("x"))
	edited := func(change func(map[string]any)) []byte {
		e := entry(t, key, digest)
		change(e)
		return hashedRekord(t, e)
	}
	for name, body := range map[string][]byte{
		"other digest": edited(func(e map[string]any) { e["digest"] = make([]byte, 32) }),
		"short digest": edited(func(e map[string]any) { e["digest"] = digest[:20] }),
		"no signature": edited(func(e map[string]any) { delete(e, "signature") }),
		"no entry":     []byte(`{}`),
		"other kind":   []byte(`{"dsseRequestV002":{}}`),
		"no JSON":      []byte(`[`),
		"endless":      bytes.Repeat([]byte(" "), 2<<20),
		"algorithm unfit": edited(func(e map[string]any) {
			e["signature"].(map[string]any)["verifier"].(map[string]any)["keyDetails"] = "PKIX_ED25519"
		}),
		"no certificate's": edited(func(e map[string]any) {
			e["signature"].(map[string]any)["verifier"] = map[string]any{"x509Certificate": map[string]any{"rawBytes": []byte("x")}}
		}),
	} {
		if status, answer := send(t, "POST", base+entryPath, "", body); status != 400 {
			t.Errorf("%s: status %d: %s", name, status, answer)
		}
	}
	if treeSize(t, l) != 0 {
		t.Error("a refused entry was logged")
	}
}

// TestLogTampered changes a tile behind the log's back; the log must notice
// before it builds on it.
func TestLogTampered(t *testing.T) {
	l := open(t, localtrust.Options{})
	base := serve(t, l)
	for range 3 {
		log(t, l)
	}
	path := filepath.Join(l.Dir(), "log/tile/0/000.p/3")
	data := []byte(readFile(t, path))
	data[0] ^= 1
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	before := tree(t, l)
	status, answer := send(t, "POST", base+entryPath, "", hashedRekord(t, entry(t, newKey(t), [32]byte{1})))
	if status != 500 || !strings.Contains(answer, "inconsistent") {
		t.Errorf("status %d: %s", status, answer)
	}
	if tree(t, l) != before {
		t.Error("the log went on")
	}
}

// TestLogDiskFault has the disk refuse a tile; the checkpoint must not speak of
// it, and the log goes on once the disk is well.
func TestLogDiskFault(t *testing.T) {
	l := open(t, localtrust.Options{})
	base := serve(t, l)
	for _, lost := range []string{"log/tile", "log/tile/0/000.p", "log/tile/entries/000.p"} {
		path := filepath.Join(l.Dir(), lost)
		if err := os.Rename(path, path+".away"); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		write(t, path, "in the way")
		before := tree(t, l)
		if status, answer := send(t, "POST", base+entryPath, "", hashedRekord(t, entry(t, newKey(t), [32]byte{1}))); status != 500 {
			t.Errorf("%s: status %d: %s", lost, status, answer)
		}
		if tree(t, l) != before {
			t.Errorf("%s: the log speaks of an entry that it could not keep", lost)
		}
		remove(t, path)
		if err := os.Rename(path+".away", path); err != nil && !os.IsNotExist(err) {
			t.Fatal(err)
		}
		log(t, l)
		checkTree(t, l)
	}
}

func BenchmarkOpen(b *testing.B) {
	b.Run("new", func(b *testing.B) {
		dir := b.TempDir()
		for i := 0; b.Loop(); i++ {
			if _, err := localtrust.Open(b.Context(), fmt.Sprintf("%s/%d", dir, i), localtrust.Options{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("again", func(b *testing.B) {
		dir := b.TempDir() + "/trust"
		for b.Loop() {
			if _, err := localtrust.Open(b.Context(), dir, localtrust.Options{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
