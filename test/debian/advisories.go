package debian

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// WriteAdvisories writes made-up advisories in OSV form into dir, which it makes, and returns how many. Every package of the
// base has two, one fixed by the version installed and one not; none is critical. As many more as elsewhere says concern
// packages the base does not have.
func (b Base) WriteAdvisories(dir string, elsewhere int) (int, error) {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return 0, err
	}
	w := advisoryWriter{dir: dir}
	for _, p := range b.Debian {
		w.write("Debian:12", p.Source, "0.1")
		w.write("Debian:12", p.Source, "999:1")
	}
	for _, p := range b.Python {
		w.write("PyPI", p.Name, "0.0.1")
		w.write("PyPI", p.Name, "9999.0")
	}
	for i := range elsewhere {
		w.write([]string{"Debian:12", "PyPI"}[i%2], fmt.Sprintf("elsewhere-%d", i/4), "2.0")
	}
	return w.count, w.err
}

// advisoryWriter numbers advisories and keeps the first error.
type advisoryWriter struct {
	dir   string
	count int
	err   error
}

func (w *advisoryWriter) write(ecosystem, name, fixed string) {
	if w.err != nil {
		return
	}
	w.count++
	id := fmt.Sprintf("CVE-2026-%d", 100_000+w.count)
	record, err := json.Marshal(map[string]any{
		"schema_version": "1.7.0", "id": id, "published": "2026-01-02T03:04:05Z", "modified": "2026-01-02T03:04:05Z",
		"summary":  "A made-up advisory for tests",
		"severity": []any{map[string]any{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:U/C:L/I:L/A:N"}},
		"affected": []any{map[string]any{
			"package": map[string]any{"ecosystem": ecosystem, "name": name},
			"ranges": []any{map[string]any{
				"type": "ECOSYSTEM", "events": []any{map[string]any{"introduced": "0"}, map[string]any{"fixed": fixed}},
			}},
		}},
	})
	if err != nil {
		w.err = err
		return
	}
	w.err = os.WriteFile(filepath.Join(w.dir, id+".json"), record, 0o644)
}
