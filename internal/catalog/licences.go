package catalog

import (
	"context"
	"fmt"
	"sync"

	"github.com/anchore/syft/syft"
	"github.com/anchore/syft/syft/cataloging"
)

// licences builds the licence scanner once a process, and hands it over inside
// a context because that is the only way syft takes one. Building costs most
// of a second on one core and depends on nothing, so it is a constant that is
// late rather than state: nothing changes it once it is there.
var licences = sync.OnceValues(func() (context.Context, error) {
	ctx, err := syft.SetContextLicenseScanner(context.Background(), cataloging.DefaultLicenseConfig())
	if err != nil {
		return nil, fmt.Errorf("building the licence scanner: %w", err)
	}
	return ctx, nil
})

// Warm starts building what Run needs whatever the image, and returns at once.
// Calling it again, or not at all, changes nothing but the time Run takes.
func Warm() {
	go licences() // Run gets the same error, and reports it.
}

// withValues is a context that lives as long as the first and answers with the
// values of both.
type withValues struct {
	context.Context
	values context.Context
}

func (c withValues) Value(key any) any {
	if v := c.Context.Value(key); v != nil {
		return v
	}
	return c.values.Value(key)
}
