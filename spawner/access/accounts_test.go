package access

import (
	"os"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

func TestAPasswordFileIsReadLineByLine(t *testing.T) {
	text := "# who\r\n" + line("alice", "a") + "\r\n\n  \n" + strings.ToUpper(line("bob", "b")) + "\n" + line("José Müller", "c")
	accounts, err := parseAccounts("users", strings.NewReader(text))
	must(t, err)
	for user, password := range map[string]string{"alice": "a", "BOB": "b", "José Müller": "c"} {
		if !accounts[user].matches(password) || accounts[user].matches(password+" ") {
			t.Errorf("%s does not match", user)
		}
	}
	if len(accounts) != 3 {
		t.Errorf("got %d accounts", len(accounts))
	}
}

func TestEachMistakeInAPasswordFileIsNamedByFileAndLine(t *testing.T) {
	good := Hash("x")
	for text, want := range map[string]string{
		"alice " + good:                        "users:1: a line is a user name, a comma,",
		"alice":                                "no comma",
		"\n," + good:                           "users:2: a user name has 1 to 128 bytes, this one has 0",
		"a:b," + good:                          "no colon",
		" alice," + good:                       "no space at its ends",
		"a\x00b," + good:                       "nothing that cannot be printed",
		"\ufeffalice," + good:                  "nothing that cannot be printed",
		"a\xff," + good:                        "nothing that cannot be printed",
		"alice,hunter2":                        "here are 7 characters",
		"alice, " + good:                       "here are 65 characters",
		"alice," + good + ",x":                 "here are 66 characters",
		"alice,g" + good[1:]:                   "not hexadecimal",
		"a," + good + "\n\na," + good:          "users:3: this user name stands on line 1 already",
		strings.Repeat("#", maxPasswordFile+1): "at most 1048576 bytes",
		strings.Repeat("a", maxUserName+1) + "," + good: "this one has 129",
	} {
		_, err := parseAccounts("users", strings.NewReader(text))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "users") {
			t.Errorf("got %v, want %q in it", err, want)
			continue
		}
		wantKind(t, err, fleet.Invalid)
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), good) {
			t.Errorf("the error shows the line: %v", err)
		}
	}
}

func TestSeveralMistakesAreNamedTogetherAndManyAreCutOff(t *testing.T) {
	_, err := parseAccounts("users", strings.NewReader("x\n"+line("a", "b")+"\ny\n"))
	if err == nil || !strings.Contains(err.Error(), "users:1:") || !strings.Contains(err.Error(), "users:3:") {
		t.Errorf("got %v", err)
	}
	_, err = parseAccounts("users", strings.NewReader(strings.Repeat("x\n", 1000)))
	if err == nil || strings.Count(err.Error(), "\n")+1 != mostMistakes {
		t.Errorf("got %v", err)
	}
}

func TestAChangedPasswordFileCountsAtOnce(t *testing.T) {
	s := newSite(t)
	try := func(user, password string) string {
		kind, _ := s.loginAs(t, user, password, "")
		s.failures = newThrottle(maxPairs) // only the file is tried here
		return string(kind)
	}
	s.write(t, line("alice", "second-hors")) // the same length, within the same tick of the clock
	if try("alice", "second-hors") != "" || try("alice", alicesPassword) == "" {
		t.Error("a changed password does not count")
	}
	s.write(t, line("bob", "b"))
	if try("bob", "b") != "" || try("alice", "second-hors") == "" {
		t.Error("a changed account does not count")
	}
	// A file of long ago, replaced by another of long ago.
	old := time.Now().Add(-time.Hour)
	must(t, os.Chtimes(s.file, old, old))
	if try("bob", "b") != "" || !s.accounts.settled {
		t.Error("an old file is not taken as settled")
	}
	must(t, os.WriteFile(s.file+".new", []byte(line("eve", "e")), 0o600))
	must(t, os.Chtimes(s.file+".new", old, old))
	must(t, os.Rename(s.file+".new", s.file))
	if try("eve", "e") != "" {
		t.Error("a replaced file does not count")
	}
}

func TestABrokenOrMissingPasswordFileLeavesTheAccountsAndIsToldOnce(t *testing.T) {
	s := newSite(t)
	s.write(t, line("alice", "new"), "bob,hunter2")
	for range 3 {
		if kind, _ := s.loginAs(t, "alice", alicesPassword, ""); kind != "" {
			t.Errorf("with a broken file: %v", kind)
		}
	}
	must(t, os.Remove(s.file))
	for range 3 {
		if kind, _ := s.loginAs(t, "alice", alicesPassword, ""); kind != "" {
			t.Errorf("without the file: %v", kind)
		}
	}
	s.write(t, line("alice", "new"))
	if kind, _ := s.loginAs(t, "alice", "new", ""); kind != "" {
		t.Errorf("with a mended file: %v", kind)
	}
	told := s.events.text()
	if strings.Count(told, "warning: ") != 2 || !strings.Contains(told, s.file+":2: ") || strings.Contains(told, "hunter2") {
		t.Errorf("told:\n%s", told)
	}
}

func FuzzPasswordFile(f *testing.F) {
	f.Add("alice," + Hash("x") + "\n")
	f.Add("# c\r\n\r\nalice,x\n")
	f.Add("a," + Hash("x") + "\na," + Hash("y"))
	f.Add("\ufeffa:b, ,,")
	f.Fuzz(func(t *testing.T, text string) {
		accounts, err := parseAccounts("users", strings.NewReader(text))
		if err != nil {
			if len(accounts) != 0 || fleet.KindOf(err) != fleet.Invalid || !strings.HasPrefix(err.Error(), "users") {
				t.Errorf("got %v and %d accounts", err, len(accounts))
			}
			return
		}
		var again strings.Builder
		for name, one := range accounts {
			if name != one.name || strings.ContainsAny(name, ":,\r\n") {
				t.Errorf("accepted the name %q as %q", name, one.name)
			}
			again.WriteString(name + "," + hexOf(one) + "\n")
		}
		same, err := parseAccounts("users", strings.NewReader(again.String()))
		if err != nil || len(same) != len(accounts) {
			t.Errorf("what was accepted is not accepted again: %v", err)
		}
		for name := range accounts {
			if same[name] != accounts[name] {
				t.Errorf("%q came back as another", name)
			}
		}
	})
}
