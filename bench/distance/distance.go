// Package distance puts a network's length between a program and a server on
// the same machine.
package distance

import (
	"net"
	"sync"
	"time"
)

// Line stands between the programs and the servers and makes every byte arrive later, as over a line of that length:
// half a round trip each way, without limiting how much is under way.
type Line struct {
	listener net.Listener
	network  string
	server   string
	oneWay   time.Duration
	open     sync.WaitGroup
}

const (
	chunk  = 64 << 10 // bytes read at once
	flight = 512      // chunks that may be under way at once in one direction of one connection
)

// Listen accepts connections at a TCP address and carries them to the server on a network, as net.Dial takes the two, and back,
// each way taking half of roundTrip.
func Listen(address, network, server string, roundTrip time.Duration) (*Line, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	d := &Line{listener: listener, network: network, server: server, oneWay: roundTrip / 2}
	d.open.Go(d.accept)
	return d, nil
}

func (d *Line) accept() {
	for {
		near, err := d.listener.Accept()
		if err != nil {
			return // closed
		}
		d.open.Go(func() { d.connect(near) })
	}
}

// connect joins one connection to one of the server's, until both directions have ended.
func (d *Line) connect(near net.Conn) {
	defer near.Close()
	time.Sleep(2 * d.oneWay) // the handshake
	far, err := net.Dial(d.network, d.server)
	if err != nil {
		return // the program sees a connection that is closed at once
	}
	defer far.Close()
	var both sync.WaitGroup
	both.Go(func() { d.carry(far, near) })
	both.Go(func() { d.carry(near, far) })
	both.Wait()
}

// carry moves bytes one way, each oneWay after it was read, and then the end of the stream.
func (d *Line) carry(to, from net.Conn) {
	type parcel struct {
		bytes []byte
		due   time.Time
	}
	line := make(chan parcel, flight)
	var delivery sync.WaitGroup
	delivery.Go(func() {
		for p := range line {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.bytes); err != nil {
				_ = from.Close() // ends the reading below; what is left on the line is dropped
			}
		}
	})
	for {
		buf := make([]byte, chunk)
		n, err := from.Read(buf)
		if n > 0 {
			line <- parcel{buf[:n], time.Now().Add(d.oneWay)}
		}
		if err != nil {
			break
		}
	}
	close(line)
	delivery.Wait()
	if half, ok := to.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
}

// Addr is where it listens.
func (d *Line) Addr() string { return d.listener.Addr().String() }

// Close ends the listening and waits until open connections have ended by themselves: the programs that made them are gone.
func (d *Line) Close() error {
	err := d.listener.Close()
	d.open.Wait()
	return err
}
