package osv

import "slices"

// Compare orders two versions of one ecosystem: negative, zero or positive.
// It returns an error when either has no place in the order.
type Compare func(a, b string) (int, error)

// Interval is a run of affected versions.
type Interval struct {
	// Low is the first affected version; empty for "from the beginning".
	Low string
	// High ends the run; empty for "no end known".
	High string
	// Closed says that High itself is affected (last_affected, whose fix has
	// no known version); otherwise High is the first version not affected.
	Closed bool
	// Fixed says that High is a fixed version, not merely a limit.
	Fixed bool
}

// All says that the interval holds every version.
func (i Interval) All() bool { return i.Low == "" && i.High == "" }

// Contains says that version v lies in the interval.
func (i Interval) Contains(v string, cmp Compare) (bool, error) {
	if i.Low != "" {
		if c, err := cmp(v, i.Low); err != nil || c < 0 {
			return false, err
		}
	}
	if i.High == "" {
		return true, nil
	}
	c, err := cmp(v, i.High)
	return err == nil && (c < 0 || c == 0 && i.Closed), err
}

// step is an event with its version and what it does.
type step struct {
	version string
	kind    byte // 'i'ntroduced, 'f'ixed, 'l'ast affected
}

// Walk turns the events of one range into intervals, in the order of versions.
// Several introduced/fixed pairs in one range are several intervals, whatever
// the order they are written in, as in the schema's evaluation algorithm.
//
// exact is false when cmp could not order the events: the intervals then
// follow the written order, and the caller should say so.
func Walk(events []Event, cmp Compare) (intervals []Interval, exact bool) {
	steps, limits := split(events)
	exact = true
	slices.SortStableFunc(steps, func(a, b step) int {
		c, err := compareOrigin(a.version, b.version, cmp)
		if err != nil {
			exact = false
		}
		if c == 0 && (a.kind == 'l') != (b.kind == 'l') {
			// What is introduced at a version is there before that version
			// is the last one affected.
			return map[bool]int{true: 1, false: -1}[a.kind == 'l']
		}
		return c
	})
	if !exact {
		steps, _ = split(events)
	}
	intervals = run(steps)
	if limit, ok := largest(limits, cmp); ok {
		intervals = Clip(intervals, "", limit, cmp)
	}
	return intervals, exact
}

func split(events []Event) (steps []step, limits []string) {
	for _, e := range events {
		switch {
		case e.Introduced != "":
			steps = append(steps, step{e.Introduced, 'i'})
		case e.Fixed != "":
			steps = append(steps, step{e.Fixed, 'f'})
		case e.LastAffected != "":
			steps = append(steps, step{e.LastAffected, 'l'})
		case e.Limit != "":
			limits = append(limits, e.Limit)
		}
	}
	return steps, limits
}

// compareOrigin orders versions with "0", the schema's "before any version".
func compareOrigin(a, b string, cmp Compare) (int, error) {
	switch {
	case a == b:
		return 0, nil
	case a == "0":
		return -1, nil
	case b == "0":
		return 1, nil
	}
	return cmp(a, b)
}

func run(steps []step) []Interval {
	var out []Interval
	open, low := false, ""
	for _, s := range steps {
		switch {
		case s.kind == 'i' && !open:
			open, low = true, s.version
			if low == "0" {
				low = ""
			}
		case s.kind != 'i' && open:
			open = false
			// A fix at the very version that opened the run leaves nothing.
			if s.kind == 'f' && s.version == low {
				continue
			}
			out = append(out, Interval{Low: low, High: s.version, Closed: s.kind == 'l', Fixed: s.kind == 'f'})
		}
	}
	if open {
		out = append(out, Interval{Low: low})
	}
	return out
}

// largest gives the greatest limit; "*" and no limit at all mean none.
func largest(limits []string, cmp Compare) (string, bool) {
	best := ""
	for _, l := range limits {
		if l == "*" {
			return "", false
		}
		if c, err := cmp(l, best); best == "" || err == nil && c > 0 {
			best = l
		}
	}
	return best, best != ""
}

// Clip keeps the part of the intervals at or above low and below high; either
// may be empty for no bound. A part whose bounds cannot be compared is kept.
func Clip(intervals []Interval, low, high string, cmp Compare) []Interval {
	var out []Interval
	for _, i := range intervals {
		if low != "" && low != "0" {
			if i.High != "" {
				if c, err := cmp(i.High, low); err == nil && (c < 0 || c == 0 && !i.Closed) {
					continue
				}
			}
			if c, err := compareLow(i.Low, low, cmp); err == nil && c < 0 {
				i.Low = low
			}
		}
		if high != "" {
			if i.Low != "" {
				if c, err := cmp(i.Low, high); err == nil && c >= 0 {
					continue
				}
			}
			if i.High == "" {
				i.High = high
			} else if c, err := cmp(i.High, high); err == nil && (c > 0 || c == 0 && i.Closed) {
				i.High, i.Closed, i.Fixed = high, false, false
			}
		}
		out = append(out, i)
	}
	return out
}

func compareLow(a, b string, cmp Compare) (int, error) {
	if a == "" {
		return -1, nil
	}
	return cmp(a, b)
}
