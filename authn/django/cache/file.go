package cache

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/gatecast/gatecast/authn/django/pickle"
)

// fileCache reads the folder of a FileBasedCache (django/core/cache/backends/filebased.py): a file for each entry, named by the MD5 of the key,
// holding the pickle of its end and then the deflated pickle of its value.
type fileCache struct{ dir string }

func openFiles(dir string) (Cache, error) {
	info, err := os.Stat(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // Django makes it with the first entry
		return nil, err
	}
	if err == nil && !info.IsDir() {
		return nil, fmt.Errorf("%s is not a folder", dir)
	}
	return fileCache{dir}, nil
}

// Ping implements Cache.
func (f fileCache) Ping(context.Context) error {
	d, err := os.Open(f.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return d.Close()
}

// Close implements Cache.
func (fileCache) Close() error { return nil }

// Get implements Cache.
func (f fileCache) Get(ctx context.Context, keys ...string) (map[string]Entry, error) {
	found := make(map[string]Entry, len(keys))
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		sum := md5.Sum([]byte(key))
		data, err := readFile(filepath.Join(f.dir, hex.EncodeToString(sum[:])+".djcache"))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, errTooLarge):
			found[key] = Entry{Err: err}
			continue
		case err != nil: // no right to read, too many open files: it is there
			return nil, err
		}
		if e := fileEntry(data); e.Expires.IsZero() || e.Expires.After(time.Now()) {
			found[key] = e
		}
	}
	return found, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxEntry+1))
	if err == nil && len(data) > MaxEntry {
		err = errTooLarge
	}
	return data, err
}

func fileEntry(data []byte) Entry {
	end, rest, err := pickle.Decode(data)
	if err != nil {
		return Entry{Err: fmt.Errorf("the end of the cache entry: %w", err)}
	}
	var e Entry
	switch end := end.(type) {
	case nil:
	case float64:
		if math.IsNaN(end) || math.Abs(end) > 1<<40 {
			return Entry{Err: errors.New("the end of the cache entry is no time")}
		}
		e.Expires = time.UnixMicro(int64(end * 1e6))
	case int64:
		e.Expires = time.Unix(end, 0)
	default:
		return Entry{Err: errors.New("the end of the cache entry is no time")}
	}
	e.Data, e.Err = inflate(rest)
	return e
}
