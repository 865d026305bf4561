package access

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
	"unicode/utf8"

	"edgespawner/fleet"
)

const (
	maxPasswordFile = 1 << 20 // bytes
	maxUserName     = 128     // bytes
	mostMistakes    = 10      // named in one error
)

// account is one line of the password file. The zero one matches no password
// that anybody knows.
type account struct {
	name string // empty = there is no such account
	hash [sha256.Size]byte
}

// matches compares a password in constant time.
func (a account) matches(password string) bool {
	sum := sha256.Sum256([]byte(password))
	return subtle.ConstantTimeCompare(sum[:], a.hash[:]) == 1
}

// parseAccounts reads a password file: one "username,sha256hex(password)" a line;
// empty lines and lines that begin with # are left out. Errors name the file and
// the lines, never what stands there.
func parseAccounts(name string, from io.Reader) (map[string]account, error) {
	content, err := io.ReadAll(io.LimitReader(from, maxPasswordFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the password file: %w", err)
	}
	if len(content) > maxPasswordFile {
		return nil, fleet.Errorf(fleet.Invalid, "%s: a password file has at most %d bytes", name, maxPasswordFile)
	}
	accounts := map[string]account{}
	lines := map[string]int{}
	var mistakes []error
	scanner := bufio.NewScanner(bytes.NewReader(content))
	scanner.Buffer(nil, maxPasswordFile+1)
	for number := 1; scanner.Scan(); number++ {
		line := scanner.Text()
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			continue
		}
		one, err := parseAccount(line)
		if earlier, twice := lines[one.name]; err == nil && twice {
			err = fmt.Errorf("this user name stands on line %d already", earlier)
		}
		if err != nil {
			mistakes = append(mistakes, fleet.Errorf(fleet.Invalid, "%s:%d: %v", name, number, err))
			if len(mistakes) == mostMistakes {
				break
			}
			continue
		}
		accounts[one.name], lines[one.name] = one, number
	}
	if err := errors.Join(append(mistakes, scanner.Err())...); err != nil {
		return nil, err
	}
	return accounts, nil
}

// parseAccount reads one line. Its errors do not repeat the line, which may hold
// a password by mistake.
func parseAccount(line string) (account, error) {
	name, digest, found := strings.Cut(line, ",")
	switch {
	case !found:
		return account{}, errors.New("a line is a user name, a comma, and the SHA-256 of the password in hexadecimal; this one has no comma")
	case name == "" || len(name) > maxUserName:
		return account{}, fmt.Errorf("a user name has 1 to %d bytes, this one has %d", maxUserName, len(name))
	case !utf8.ValidString(name) || strings.ContainsFunc(name, unacceptable) || name != strings.TrimSpace(name):
		return account{}, errors.New("a user name holds no colon, no space at its ends and nothing that cannot be printed")
	case len(digest) != 2*sha256.Size:
		return account{}, fmt.Errorf("after the comma stand %d hexadecimal digits, the SHA-256 of the password; here are %d characters", 2*sha256.Size, len(digest))
	}
	one := account{name: name}
	if _, err := hex.Decode(one.hash[:], []byte(digest)); err != nil {
		return account{}, errors.New("after the comma stands something that is not hexadecimal")
	}
	return one, nil
}

// unacceptable says whether a user name may not hold a character: basic
// authentication ends a name at a colon.
func unacceptable(r rune) bool { return r == ':' || !unicode.IsPrint(r) }
