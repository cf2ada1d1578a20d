package release

import (
	"strings"
	"sync"
	"time"
)

// pending is a value that is being made while other work goes on.
type pending[T any] struct {
	done  chan struct{}
	value T
	err   error
}

func (p *pending[T]) start(produce func() (T, error)) {
	p.done = make(chan struct{})
	go func() {
		defer close(p.done)
		p.value, p.err = produce()
	}()
}

func (p *pending[T]) wait() (T, error) {
	<-p.done
	return p.value, p.err
}

// stopwatch records how long stages took, from any goroutine.
type stopwatch struct {
	mu    sync.Mutex
	times []Time
}

// start begins a stage; calling what it gives ends the stage.
func (w *stopwatch) start(stage string) func() {
	began := time.Now()
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.times = append(w.times, Time{stage, time.Since(began)})
	}
}

func list(words []string) string {
	if len(words) == 0 {
		return "no path named"
	}
	return strings.Join(words, ", ")
}
