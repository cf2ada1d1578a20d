package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// The marks between which the figures stand in the documentation.
const (
	begin = "<!-- query figures: written by make bench-query -->"
	end   = "<!-- end of query figures -->"
)

func postRequest(ctx context.Context, s *server, path, kind string, body io.Reader) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.base+path, body)
	if err != nil {
		return "", err
	}
	req.Header.Set("Content-Type", kind)
	resp, err := s.client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	out, _ := io.ReadAll(io.LimitReader(resp.Body, 4<<10))
	if resp.StatusCode >= 300 {
		return string(out), fmt.Errorf("%s", resp.Status)
	}
	return string(out), nil
}

// markdown is the figures as a section of the documentation.
func markdown(all []figures) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Median and 99th percentile of each question, in milliseconds; the factor is how many times hallmark's over HTTP it is, by the median.\n\n")
	fmt.Fprintln(&b, "| images | question | contender | p50 | p99 | factor |\n|--:|---|---|--:|--:|--:|")
	for _, f := range all {
		for _, kind := range f.kinds {
			base := percentile(f.times[[2]string{kind, overHTTP}], 0.5)
			for _, c := range f.contenders {
				times := f.times[[2]string{kind, c}]
				if len(times) == 0 {
					continue
				}
				if c == "files" {
					c = map[string]string{whoHasVersion: "`grep -rlF` over the files", whoHasAny: "`jq` over the files"}[kind]
				}
				p50 := percentile(times, 0.5)
				fmt.Fprintf(&b, "| %d | %s | %s | %s | %s | %.2f |\n", f.stats.Images, kind, c, ms(p50), ms(percentile(times, 0.99)), float64(p50)/float64(max(base, 1)))
			}
		}
	}
	fmt.Fprintln(&b, "\n| images | packages an image | distinct | findings | intake | of documents | start | memory at start | after all questions | one advisory until answered | re-match | SQLite's file |")
	fmt.Fprintln(&b, "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	for _, f := range all {
		intake := "-"
		if f.intake > 0 {
			intake = fmt.Sprintf("%.0f/s", f.intake)
		}
		fmt.Fprintf(&b, "| %d | %.0f | %d | %d | %s | %.0f/s of %.0f packages | %.2f s | %d MB | %d MB | %.0f ms | %d in %.2f s | %s |\n", f.stats.Images,
			float64(f.stats.Occurrences)/float64(f.stats.Images), f.stats.Packages, f.stats.Findings, intake, f.paced.perSecond, f.paced.packages, f.start.Seconds(), f.loaded>>20,
			f.resident>>20, float64(f.fresh.Microseconds())/1000, f.rematched, f.rematch.Seconds(), f.tables)
	}
	b.WriteString(markdownPostgres(all))
	for _, f := range all {
		for _, note := range f.notes {
			fmt.Fprintf(&b, "\n%s.", note)
		}
	}
	return strings.TrimRight(b.String(), "\n")
}

// markdownPostgres is the table of two replicas on PostgreSQL; empty without.
func markdownPostgres(all []figures) string {
	var b strings.Builder
	for _, f := range all {
		p := f.postgres
		if p == nil {
			continue
		}
		if b.Len() == 0 {
			fmt.Fprintf(&b, "\nOn PostgreSQL, two replicas of the service on one database; in brackets, how many times as long as on SQLite it takes. Away means %v to the database and back.\n", length)
			fmt.Fprintln(&b, "\n| images | intake | of documents | by two replicas | until both answer | away | start | second replica | memory at start | one advisory until answered | by the other replica |")
			fmt.Fprintln(&b, "|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %.0f ms | %s | %.2f s | %.2f s | %d MB | %.0f ms | %.0f ms |\n", f.stats.Images,
			beside(p.intake, f.intake), beside(p.paced.perSecond, f.paced.perSecond), beside(p.shared.perSecond, f.paced.perSecond),
			p.shared.behind.Seconds()*1000, beside(p.away.perSecond, f.paced.perSecond), p.start.Seconds(), p.second.Seconds(), p.loaded>>20,
			p.fresh.Seconds()*1000, p.followed.Seconds()*1000)
	}
	return b.String()
}

// beside is a pace, and how many times as long another's takes.
func beside(pace, other float64) string {
	if other == 0 {
		return fmt.Sprintf("%.0f/s", pace)
	}
	return fmt.Sprintf("%.0f/s (%.2f)", pace, other/pace)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d.Microseconds())/1000) }

// replace puts text between the marks of the file at path.
func replace(path, text string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(b), begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return fmt.Errorf("replacing the figures in %s: no lines %q and %q", path, begin, end)
	}
	return os.WriteFile(path, []byte(before+begin+"\n\n"+text+"\n\n"+end+after), 0o644)
}
