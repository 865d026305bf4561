package access

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"strings"
	"time"

	"edgespawner/fleet"
)

// sessionPrefix tells the token of a login from others.
const sessionPrefix = "session_"

// sessions makes and checks the tokens of logins. Nothing is stored: a token
// holds its end (8 bytes, seconds since 1970, big endian) and the account's name,
// followed by the HMAC-SHA-256 of both and of the password's hash, so that a
// changed password ends it.
type sessions struct{ key []byte }

// sessionLifetime is how long the token of a login opens something.
const sessionLifetime = 12 * time.Hour

func newSessions(key []byte) sessions {
	if len(key) == 0 {
		key = make([]byte, sha256.Size)
		rand.Read(key) // never fails
	}
	return sessions{key: key}
}

func isSession(token string) bool { return strings.HasPrefix(token, sessionPrefix) }

// issue makes a token for an account.
func (s sessions) issue(account account) string {
	claim := binary.BigEndian.AppendUint64(nil, uint64(time.Now().Add(sessionLifetime).Unix()))
	claim = append(claim, account.name...)
	return sessionPrefix + base64.RawURLEncoding.EncodeToString(append(claim, s.sign(claim, account)...))
}

// verify returns the name of the account that a token was made for.
func (s sessions) verify(token string, find func(name string) (account, bool)) (string, error) {
	unknown := fleet.Errorf(fleet.Unauthorized, "this token is not known")
	content, err := base64.RawURLEncoding.Strict().DecodeString(strings.TrimPrefix(token, sessionPrefix))
	if err != nil || len(content) < 8+sha256.Size {
		return "", unknown
	}
	claim, signature := content[:len(content)-sha256.Size], content[len(content)-sha256.Size:]
	account, known := find(string(claim[8:]))
	if !hmac.Equal(signature, s.sign(claim, account)) || !known {
		return "", unknown
	}
	if end := time.Unix(int64(binary.BigEndian.Uint64(claim)), 0); !time.Now().Before(end) {
		return "", fleet.Errorf(fleet.Unauthorized, "this login has expired: log in again")
	}
	return account.name, nil
}

// sign returns the HMAC of a claim and of the account's password hash, which has a fixed length.
func (s sessions) sign(claim []byte, account account) []byte {
	mac := hmac.New(sha256.New, s.key)
	mac.Write(account.hash[:])
	mac.Write(claim)
	return mac.Sum(nil)
}
