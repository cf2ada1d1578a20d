package cli

import (
	"fmt"
	"os"
	"sync"

	"github.com/hallmark-sh/hallmark/internal/localregistry"
)

// accessLog appends a line per request to a file, or nowhere.
type accessLog struct {
	mu   sync.Mutex
	file *os.File
}

func openAccessLog(path string) (*accessLog, error) {
	if path == "" {
		return &accessLog{}, nil
	}
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the access log: %w", err)
	}
	return &accessLog{file: f}, nil
}

func (l *accessLog) write(a localregistry.Access) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file == nil {
		return
	}
	path := a.Path
	if a.Query != "" {
		path += "?" + a.Query
	}
	fmt.Fprintf(l.file, "%s %s %d\n", a.Method, path, a.Status)
}

func (l *accessLog) Close() error {
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}
