package index

import (
	"fmt"
	"slices"
	"time"

	"github.com/hallmark-sh/hallmark/internal/finding"
)

// Rename changes the names of an image and nothing else: a tag that came to
// stand for a digest makes no new record of it.
func (ix *Index) Rename(id uint32, repository string, tags []string) error {
	ix.writing.Lock()
	defer ix.writing.Unlock()
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if int(id) >= len(ix.images) || ix.images[id].recorded == 0 {
		return fmt.Errorf("renaming image %d: %w", id, ErrUnknownImage)
	}
	i := &ix.images[id]
	i.tags = slices.Clone(tags)
	if named := ix.texts.id(repository); named != i.repository {
		ix.byRepository[i.repository] = slices.DeleteFunc(ix.byRepository[i.repository], func(other uint32) bool { return other == id })
		i.repository = named
		ix.byRepository[named] = append(ix.byRepository[named], id)
	}
	return nil
}

// Exposure says how many live images there are by the worst severity found in
// them, and the oldest evidence that any of them rests on: when it was signed,
// or taken in where that is not known. Images without a finding are not
// counted. It looks at every finding, so it is for a dashboard and not for
// every request.
func (ix *Index) Exposure() (worst map[finding.Severity]int, oldest time.Time) {
	ix.mu.RLock()
	defer ix.mu.RUnlock()
	worst = map[finding.Severity]int{}
	all := ix.tallies(page{there: ix.live})
	ix.live.all(func(id uint32) {
		for s := finding.Critical; s >= finding.Unknown; s-- {
			if all[id].of[s] > 0 {
				worst[s]++
				break
			}
		}
		at := ix.images[id].built
		if at == 0 {
			at = ix.images[id].recorded
		}
		if t := instant(at); oldest.IsZero() || t.Before(oldest) {
			oldest = t
		}
	})
	return worst, oldest
}
