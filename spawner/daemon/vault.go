package daemon

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/crypto/chacha20poly1305"
)

// vault encrypts the credentials of nodes with a key that lies in a file of the
// state directory and never in the database: a copy of the database alone opens
// no engine. What is sealed for one node opens for no other.
//
// A sealed text is: version (1 byte), the first 8 bytes of the key's SHA-256,
// nonce (24), XChaCha20-Poly1305 with the node's name as associated data.
type vault struct {
	path string

	mu  sync.Mutex
	key []byte // nil until it was read or made
}

const (
	vaultVersion = 1
	keyMarkSize  = 8
)

// keyFile is the vault's key inside a state directory.
func keyFile(stateDir string) string { return filepath.Join(stateDir, "node.key") }

// seal encrypts a node's credentials; the key is made at the first need.
func (v *vault) seal(node string, plain []byte) ([]byte, error) {
	key, err := v.load(true)
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("cannot use the key file %s: %w", v.path, err)
	}
	nonce := make([]byte, aead.NonceSize())
	rand.Read(nonce) // never fails, by its documentation
	sealed := append([]byte{vaultVersion}, keyMark(key)...)
	sealed = append(sealed, nonce...)
	return aead.Seal(sealed, nonce, plain, []byte(node)), nil
}

// open decrypts what seal has made for that node.
func (v *vault) open(node string, sealed []byte) ([]byte, error) {
	key, err := v.load(false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the key file %s is missing", v.path)
	}
	if err != nil {
		return nil, err
	}
	aead, err := chacha20poly1305.NewX(key)
	if err != nil {
		return nil, fmt.Errorf("cannot use the key file %s: %w", v.path, err)
	}
	const header = 1 + keyMarkSize
	if len(sealed) < header+aead.NonceSize() || sealed[0] != vaultVersion {
		return nil, errors.New("they are damaged, or of a newer spawner")
	}
	if !bytes.Equal(sealed[1:header], keyMark(key)) {
		return nil, fmt.Errorf("they were encrypted with another key than that of %s", v.path)
	}
	nonce, text := sealed[header:header+aead.NonceSize()], sealed[header+aead.NonceSize():]
	plain, err := aead.Open(nil, nonce, text, []byte(node))
	if err != nil {
		return nil, errors.New("they are damaged, or were sealed for another node")
	}
	return plain, nil
}

// keyMark tells one key from another and nothing else of it.
func keyMark(key []byte) []byte {
	sum := sha256.Sum256(key)
	return sum[:keyMarkSize]
}

// load reads the key, and makes it where that is wanted and there is none.
func (v *vault) load(create bool) ([]byte, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.key != nil {
		return v.key, nil
	}
	key, err := os.ReadFile(v.path)
	if errors.Is(err, fs.ErrNotExist) && create {
		key, err = makeKey(v.path)
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read the key file: %w", err)
	}
	if len(key) != chacha20poly1305.KeySize {
		return nil, fmt.Errorf("the key file %s has %d bytes, not %d", v.path, len(key), chacha20poly1305.KeySize)
	}
	if err := os.Chmod(v.path, 0o600); err != nil { // a copy that came back may have lost it
		return nil, fmt.Errorf("cannot make the key file private: %w", err)
	}
	v.key = key
	return key, nil
}

// makeKey writes a new key; it is on the disk before anything is encrypted with it.
func makeKey(path string) (key []byte, err error) {
	key = make([]byte, chacha20poly1305.KeySize)
	rand.Read(key)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = file.Write(key)
	err = errors.Join(err, file.Sync(), file.Close(), syncDir(filepath.Dir(path)))
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	return key, nil
}

func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}
