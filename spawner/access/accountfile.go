package access

import (
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"
)

// unsettled is how young a file is that may change again without its time
// showing it; it is read at every look.
const unsettled = 2 * time.Second

// accountFile is the password file, read again when it changes. A file that has
// become unreadable leaves the accounts as they were, and that is reported once.
type accountFile struct {
	path    string // empty = no accounts
	log     *slog.Logger
	reports *reports

	mu       sync.Mutex
	accounts map[string]account
	seen     fs.FileInfo // of the file as it was last read, good or bad; nil = it was not there
	settled  bool        // seen tells whether the file has changed
	trouble  string      // of the last reading; empty = none
}

// openAccounts reads the file for the first time; here what is wrong is an error.
func openAccounts(path string, log *slog.Logger, reports *reports) (*accountFile, error) {
	f := &accountFile{path: path, log: log, reports: reports}
	if path == "" {
		return f, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.readLocked(); err != nil {
		return nil, err
	}
	if mode := f.seen.Mode().Perm(); mode&0o007 != 0 {
		log.Warn("Password file is open to everybody on this machine; chmod 600 it", "file", path, "mode", mode.String())
	}
	return f, nil
}

// find returns the account of that name.
func (f *accountFile) find(name string) (account, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.path != "" {
		f.refreshLocked()
	}
	found, known := f.accounts[name]
	return found, known
}

// refreshLocked reads the file again if it may have changed.
func (f *accountFile) refreshLocked() {
	if f.settled {
		if info, err := os.Stat(f.path); err == nil && same(info, f.seen) {
			return
		}
	}
	trouble := ""
	if err := f.readLocked(); err != nil {
		trouble = err.Error()
	}
	if trouble != "" && trouble != f.trouble {
		f.log.Warn("Password file not read again; the accounts stay as they were", "error", trouble)
		f.reports.warn("the password file was not read again, the accounts stay as they were: " + trouble)
	}
	f.trouble = trouble
}

// readLocked reads the file. What is seen is taken before the content, so that a
// change in between is noticed at the next look.
func (f *accountFile) readLocked() error {
	f.seen, f.settled = nil, false
	file, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("cannot read the password file: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return fmt.Errorf("cannot read the password file: %w", err)
	}
	f.seen, f.settled = info, time.Since(info.ModTime()) > unsettled
	accounts, err := parseAccounts(f.path, file)
	if err != nil {
		return err
	}
	f.accounts = accounts
	return nil
}

// same says whether two looks saw the same content.
func same(a, b fs.FileInfo) bool {
	return b != nil && os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
