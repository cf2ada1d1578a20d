package distance

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"testing"
	"time"
)

// TestDistance sends more than may be under way at once to a server that sends it back, and wants all of it, no sooner than
// the way there and back takes.
func TestDistance(t *testing.T) {
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	go func() {
		for {
			c, err := server.Accept()
			if err != nil {
				return
			}
			_, _ = io.Copy(c, c)
			_ = c.Close()
		}
	}()
	const roundTrip = 20 * time.Millisecond
	d, err := Listen("127.0.0.1:0", "tcp", server.Addr().String(), roundTrip)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	c, err := net.Dial("tcp", d.Addr())
	if err != nil {
		t.Fatal(err)
	}
	sent := make([]byte, 3*chunk+1)
	_, _ = rand.Read(sent)
	go func() {
		_, _ = c.Write(sent)
		_ = c.(*net.TCPConn).CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes came back of %d, or other ones", len(got), len(sent))
	}
	if took := time.Since(began); took < 2*roundTrip { // one for the handshake, one for the bytes
		t.Errorf("there and back in %s, which is less than two round trips of %s", took, roundTrip)
	}
	_ = c.Close()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}

// TestDistanceToNobody wants a connection to a server that is gone to end, not to hang.
func TestDistanceToNobody(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	d, err := Listen("127.0.0.1:0", "tcp", gone.Addr().String(), 0)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", d.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
		t.Errorf("read %d bytes from nobody, error %v", n, err)
	}
	_ = c.Close()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
