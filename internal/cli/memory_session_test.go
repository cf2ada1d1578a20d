package cli_test

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/hallmark-sh/hallmark/internal/cli"
)

// startMemory starts hallmark serve with the policy that is named, until the
// session ends, and sets MEMORY to its address.
func startMemory(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: memory POLICY")
	}
	ctx, stop := context.WithCancel(context.Background())
	log, write := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		ended <- cli.Main(ctx, []string{"serve", "--listen", "127.0.0.1:0", "--db", filepath.Join(ts.Getenv("WORK"), "memory.db"), "--policy", ts.MkAbs(args[0])},
			cli.Streams{In: strings.NewReader(""), Out: io.Discard, Err: write}, []string{"HOME=" + ts.Getenv("HOME")})
		write.Close()
	}()
	ts.Defer(func() { stop(); <-ended })
	lines := bufio.NewScanner(log)
	for lines.Scan() {
		var said struct{ Msg, Address string }
		if json.Unmarshal(lines.Bytes(), &said) == nil && said.Msg == "serving" {
			ts.Setenv("MEMORY", said.Address)
			go io.Copy(io.Discard, log)
			return
		}
		ts.Logf("%s", lines.Text())
	}
	ts.Fatalf("hallmark serve ended without serving")
}

// metric NAME VALUE fails unless the memory shows the value.
func metric(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: metric NAME VALUE")
	}
	resp, err := http.Get(ts.Getenv("MEMORY") + "/metrics")
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	for line := range strings.Lines(string(body)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == args[0] {
			if value != args[1] {
				ts.Fatalf("%s is %s, not %s", name, value, args[1])
			}
			return
		}
	}
	ts.Fatalf("there is no metric %s", args[0])
}
