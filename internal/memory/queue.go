package memory

import "sync/atomic"

// ahead bounds how many rows a store may be ahead of the index.
const ahead = 512

// queue takes rows into the index beside the reading of the next ones, in the
// order in which they come.
type queue struct {
	work  chan func() error
	ended chan error
	// broken says that a row could not be taken in; those after it are not.
	broken atomic.Bool
}

func startQueue() *queue {
	q := &queue{work: make(chan func() error, ahead), ended: make(chan error, 1)}
	go func() {
		var err error
		for f := range q.work {
			if err != nil {
				continue
			}
			if err = f(); err != nil {
				q.broken.Store(true)
			}
		}
		q.ended <- err
	}()
	return q
}

// end waits for the rows that are under way and gives the first error.
func (q *queue) end() error {
	close(q.work)
	return <-q.ended
}

// errBroken ends the reading of a store; end has the reason.
type errBroken struct{}

func (errBroken) Error() string { return "a row could not be taken in" }

// queued gives a function that puts the taking in of a row into the queue.
func queued[T any](q *queue, f func(T) error) func(T) error {
	return func(row T) error {
		if q.broken.Load() {
			return errBroken{}
		}
		q.work <- func() error { return f(row) }
		return nil
	}
}
