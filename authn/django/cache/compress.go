package cache

import (
	"bytes"
	"compress/gzip"
	"compress/zlib"
	"errors"
	"io"
)

// decompress undoes django-redis's compressors, told by their first bytes: neither a pickle (0x80 and the protocol, or the text of protocol 0) nor JSON begins so.
func decompress(data []byte) ([]byte, error) {
	switch {
	case len(data) > 2 && data[0] == 0x78 && (uint(data[0])<<8|uint(data[1]))%31 == 0: // RFC 1950 §2.2
		return inflate(data)
	case bytes.HasPrefix(data, []byte("\x1f\x8b")):
		z, err := gzip.NewReader(bytes.NewReader(data))
		if err != nil {
			return nil, err
		}
		return readAll(z)
	case bytes.HasPrefix(data, []byte("\x28\xb5\x2f\xfd")):
		return nil, errors.New("the cache entry is compressed with zstd, which is not read here: use django-redis's ZlibCompressor or none")
	case bytes.HasPrefix(data, []byte("\xfd7zXZ\x00")):
		return nil, errors.New("the cache entry is compressed with lzma, which is not read here: use django-redis's ZlibCompressor or none")
	case bytes.HasPrefix(data, []byte("\x04\x22\x4d\x18")):
		return nil, errors.New("the cache entry is compressed with lz4, which is not read here: use django-redis's ZlibCompressor or none")
	}
	return data, nil
}

// inflate undoes zlib.
func inflate(data []byte) ([]byte, error) {
	z, err := zlib.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	return readAll(z)
}

func readAll(r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, MaxEntry+1))
	if err == nil && len(data) > MaxEntry {
		err = errTooLarge
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}
