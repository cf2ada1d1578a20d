package localtrust

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/sigstore/rekor-tiles/v2/pkg/note"
	"github.com/sigstore/sigstore/pkg/signature"
	sumdbnote "golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// tlogDir is a transparency log kept as files in the layout of C2SP's
// tlog-tiles. The signed checkpoint is the log's state: it is written last,
// under another name and then renamed, so what a stopped writer left beyond it
// is no part of the log and is written over. A lock on a file lets one writer
// at a time in, of any process; entries that wait together are committed
// together, under one checkpoint.
//
// The tree's arithmetic is that of the Go checksum database, package tlog. A
// general log server such as Tessera publishes at most ten checkpoints a
// second, in the background; here a signer waits for its own.
type tlogDir struct {
	dir      string
	origin   string
	id       []byte
	signer   sumdbnote.Signer
	verifier sumdbnote.Verifier

	turn  chan struct{} // holds one token while a commit runs in this process
	mu    sync.Mutex
	queue []*pending
}

// pending is an entry that waits for a commit; done is closed when at or err
// are set.
type pending struct {
	data []byte
	at   logged
	err  error
	done chan struct{}
}

// logged is where an entry is in the log, with the proof for it.
type logged struct {
	index      int64
	size       int64
	root       tlog.Hash
	proof      tlog.RecordProof
	checkpoint []byte
}

// maxEntry is the length of the longest entry, in bytes (tlog-tiles, "log
// entries").
const maxEntry = 1<<16 - 1

// checkpointFile is the log's state.
const checkpointFile = "checkpoint"

// openLog opens the log in dir, and begins an empty one when there is none.
func openLog(dir, origin string, key ed25519.PrivateKey) (*tlogDir, error) {
	sv, err := signature.LoadED25519SignerVerifier(key)
	if err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	l := &tlogDir{dir: dir, origin: origin, turn: make(chan struct{}, 1)}
	if l.signer, err = note.NewNoteSigner(context.Background(), origin, sv); err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	if l.verifier, err = note.NewNoteVerifier(origin, sv); err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	if l.id, err = logID(origin, key); err != nil {
		return nil, fmt.Errorf("opening log: %w", err)
	}
	if err := l.begin(); err != nil {
		return nil, fmt.Errorf("opening log %s: %w", dir, err)
	}
	return l, nil
}

// begin writes the checkpoint of the empty tree in a new log. A log with
// entries and no checkpoint lost it, and is not begun again.
func (l *tlogDir) begin() error {
	if err := os.Mkdir(l.dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if _, err := l.tree(); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	unlock, err := l.lock(context.Background())
	if err != nil {
		return err
	}
	defer unlock()
	if _, err := l.tree(); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Lstat(filepath.Join(l.dir, "tile")); err == nil {
		return errors.New("it has entries but no checkpoint")
	}
	empty, err := tlog.TreeHash(0, nil)
	if err != nil {
		return err
	}
	_, err = l.sign(tlog.Tree{Hash: empty})
	return err
}

func (l *tlogDir) lock(ctx context.Context) (unlock func(), err error) {
	return lockFile(ctx, filepath.Join(l.dir, "lock"))
}

// Add appends an entry and gives its place once a checkpoint on disk covers it.
func (l *tlogDir) Add(ctx context.Context, data []byte) (logged, error) {
	if len(data) == 0 || len(data) > maxEntry {
		return logged{}, fmt.Errorf("logging entry: %d bytes, not 1 to %d", len(data), maxEntry)
	}
	p := &pending{data: data, done: make(chan struct{})}
	l.mu.Lock()
	l.queue = append(l.queue, p)
	l.mu.Unlock()
	select {
	case <-p.done:
	case <-ctx.Done():
		l.drop(p)
		return logged{}, fmt.Errorf("logging entry: %w", ctx.Err())
	case l.turn <- struct{}{}:
		err := l.lead(ctx)
		<-l.turn
		if err != nil {
			l.drop(p)
			return logged{}, fmt.Errorf("logging entry: %w", err)
		}
	}
	if p.err != nil {
		return logged{}, fmt.Errorf("logging entry: %w", p.err)
	}
	return p.at, nil
}

// lead commits all that waits. It fails only when it could not begin, and then
// what waits is left to the next. Once begun a commit is not given up.
func (l *tlogDir) lead(ctx context.Context) error {
	unlock, err := l.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	l.mu.Lock()
	batch := l.queue
	l.queue = nil
	l.mu.Unlock()
	if len(batch) == 0 {
		return nil
	}
	err = l.commit(batch)
	for _, p := range batch {
		p.err = err
		close(p.done)
	}
	return nil
}

// drop takes back an entry that nobody waits for any more.
func (l *tlogDir) drop(p *pending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = slices.DeleteFunc(l.queue, func(q *pending) bool { return q == p })
}

// commit appends the batch to the tree and sets where each entry is.
func (l *tlogDir) commit(batch []*pending) error {
	old, err := l.tree()
	if err != nil {
		return err
	}
	hashes := overlay{base: tlog.TileHashReader(old, tiles{l.dir}), added: map[int64]tlog.Hash{}}
	for i, p := range batch {
		n := old.N + int64(i)
		stored, err := tlog.StoredHashes(n, p.data, hashes)
		if err != nil {
			return err
		}
		for j, h := range stored {
			hashes.added[tlog.StoredHashIndex(0, n)+int64(j)] = h
		}
	}
	tree := tlog.Tree{N: old.N + int64(len(batch))}
	if tree.Hash, err = tlog.TreeHash(tree.N, hashes); err != nil {
		return err
	}
	for i, p := range batch {
		p.at = logged{index: old.N + int64(i), size: tree.N, root: tree.Hash}
		if p.at.proof, err = tlog.ProveRecord(tree.N, p.at.index, hashes); err != nil {
			return err
		}
	}
	written, err := l.write(old.N, tree.N, batch, hashes)
	if err != nil {
		return err
	}
	checkpoint, err := l.sign(tree)
	if err != nil {
		return err
	}
	for _, p := range batch {
		p.at.checkpoint = checkpoint
	}
	l.tidy(old.N, written)
	return nil
}

// write puts the new tiles on disk, of hashes and of entries, and gives them.
func (l *tlogDir) write(from, to int64, batch []*pending, hashes tlog.HashReader) ([]tlog.Tile, error) {
	written := tlog.NewTiles(tileHeight, from, to)
	for _, t := range written {
		data, err := tlog.ReadTileData(t, hashes)
		if err != nil {
			return nil, err
		}
		if err := l.put(t, data); err != nil {
			return nil, err
		}
		if t.L != 0 {
			continue
		}
		t.L = -1
		if data, err = l.entries(t, from, batch); err != nil {
			return nil, err
		}
		if err := l.put(t, data); err != nil {
			return nil, err
		}
	}
	return written, nil
}

// entries gives the content of an entry bundle: what it had of the first from
// entries, then those of the batch, each with its length before it.
func (l *tlogDir) entries(t tlog.Tile, from int64, batch []*pending) ([]byte, error) {
	var data []byte
	first := t.N << tileHeight
	if had := from - first; had > 0 {
		old := t
		old.W = int(had)
		var err error
		if data, err = os.ReadFile(l.path(old)); err != nil {
			return nil, err
		}
	}
	for n := max(first, from); n < first+int64(t.W); n++ {
		entry := batch[n-from].data
		data = binary.BigEndian.AppendUint16(data, uint16(len(entry)))
		data = append(data, entry...)
	}
	return data, nil
}

func (l *tlogDir) put(t tlog.Tile, data []byte) error {
	path := l.path(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	return writeFile(path, data)
}

func (l *tlogDir) path(t tlog.Tile) string { return filepath.Join(l.dir, tilePath(t)) }

// tidy removes partial tiles that neither the checkpoint before nor the one
// now speaks of. What stays by mistake does no harm.
func (l *tlogDir) tidy(before int64, written []tlog.Tile) {
	for _, t := range written {
		levels := []int{t.L}
		if t.L == 0 {
			levels = append(levels, -1)
		}
		keep := []string{strconv.Itoa(t.W), strconv.FormatInt(before>>(tileHeight*t.L)-t.N<<tileHeight, 10)}
		for _, level := range levels {
			partial := t
			partial.L, partial.W = level, 1
			dir := filepath.Dir(l.path(partial))
			if t.W == 1<<tileHeight {
				_ = os.RemoveAll(dir)
				continue
			}
			names, _ := os.ReadDir(dir)
			for _, name := range names {
				if !slices.Contains(keep, name.Name()) {
					_ = os.Remove(filepath.Join(dir, name.Name()))
				}
			}
		}
	}
}

// sign makes the tree the log's state.
func (l *tlogDir) sign(tree tlog.Tree) ([]byte, error) {
	text := fmt.Sprintf("%s\n%d\n%s\n", l.origin, tree.N, base64.StdEncoding.EncodeToString(tree.Hash[:]))
	checkpoint, err := sumdbnote.Sign(&sumdbnote.Note{Text: text}, l.signer)
	if err != nil {
		return nil, err
	}
	return checkpoint, writeFile(filepath.Join(l.dir, checkpointFile), checkpoint)
}

// tree reads the log's state, and believes it only with our signature.
func (l *tlogDir) tree() (tlog.Tree, error) {
	data, err := os.ReadFile(filepath.Join(l.dir, checkpointFile))
	if err != nil {
		return tlog.Tree{}, err
	}
	n, err := sumdbnote.Open(data, sumdbnote.VerifierList(l.verifier))
	if err != nil {
		return tlog.Tree{}, fmt.Errorf("reading its checkpoint: %w", err)
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[0] != l.origin {
		return tlog.Tree{}, errors.New("reading its checkpoint: it is of another log")
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 {
		return tlog.Tree{}, errors.New("reading its checkpoint: the size is no number")
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return tlog.Tree{}, errors.New("reading its checkpoint: the root is no hash")
	}
	return tlog.Tree{N: size, Hash: root}, nil
}
