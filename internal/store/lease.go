package store

import (
	"context"
	"time"
)

// Heartbeat calls renew every so often, for as long as alive says yes, until
// stop is called, which returns when no call is under way. An error of renew is
// for nobody: whoever holds the lease finds a lost one by the next piece of
// work under it.
func Heartbeat(ctx context.Context, every time.Duration, alive func() bool, renew func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if alive() {
					_ = renew(ctx)
				}
			}
		}
	}()
	return func() { cancel(); <-ended }
}
