// Command query measures hallmark's memory against what people do without it, on an estate of images grown from real package
// lists (see bench/estate).
//
// The same questions go to four contenders that hold the same estate and findings: hallmark over HTTP (a process of its own on
// loopback), the bare call of its index, four plain tables of SQLite asked in process, and grep and jq over the SBOM files. A
// question is the count of images and the first page of a hundred with what hits in each. Contenders take turns, question by
// question, so that whatever else the machine does meets all.
//
// SQLite is asked generously: its page comes in whatever order is cheapest, where hallmark's is the newest first; it is told the
// package versions an advisory hits, where hallmark worked that out; and it serves nobody.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench-query:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	sizes := flag.String("sizes", "5000,10000,100000", "numbers of images, separated by commas")
	packages := flag.Int("packages", 400, "mean number of packages in an image")
	versions := flag.Int("versions", 60, "mean number of versions a package goes through")
	advisories := flag.Int("advisories", 8000, "number of advisories")
	questions := flag.Int("questions", 400, "questions of each kind")
	files := flag.Int("files", 5000, "largest number of images written as files for grep and jq")
	peer := flag.Bool("sqlite", true, "build the four tables of SQLite")
	dir := flag.String("dir", "", "`folder` for the stores; a temporary one by default")
	docs := flag.String("docs", "", "Markdown `file` whose figures to replace")
	pg := flag.String("postgres", os.Getenv("HALLMARK_POSTGRES"), "`URL` of a database of PostgreSQL whose user may make databases, for two replicas of the service; none by default")
	serve := flag.String("serve", "", "serve the store in a `place` and do nothing else; used by the program itself")
	flag.Parse()
	if *serve != "" {
		return serveStore(ctx, *serve)
	}
	if *dir == "" {
		tmp, err := os.MkdirTemp("", "hallmark-query-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		*dir = tmp
	}
	var all []figures
	for size := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil || n < 10 {
			return fmt.Errorf("%q is not a number of images", size)
		}
		b := bench{images: n, packages: *packages, versions: *versions, advisories: *advisories, questions: *questions,
			files: *files, peer: *peer, dir: *dir, postgres: *pg}
		f, err := b.measure(ctx)
		if err != nil {
			return fmt.Errorf("measuring %d images: %w", n, err)
		}
		all = append(all, f)
		debug.FreeOSMemory()
	}
	text := markdown(all)
	fmt.Println(text)
	if *docs == "" {
		return nil
	}
	return replace(*docs, text)
}
