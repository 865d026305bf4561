package proxyhook

import "testing"

func TestLooseRulesAreRewrittenToWhatTheyMean(t *testing.T) {
	const exactOne = "HeaderRegexp(`Cookie`, `(^|;\\s*)instance=\"?minion-1\"?\\s*(;|$)`)"
	cases := []struct{ name, text, want, syntax string }{
		{"v2", `HeadersRegexp("Cookie",".*instance=minion-1.*")`, exactOne, syntaxV3},
		{"v3", "HeaderRegexp(`Cookie`, `.*instance=minion-1.*`)", exactOne, syntaxV3},
		{"bare", "HeaderRegexp(`cookie`, `instance=minion-1`)", exactOne, syntaxV3},
		{"anchored", "HeaderRegexp(`Cookie`, `^.*instance=minion-1.*$`)", exactOne, syntaxV3},
		{"a dot in the value", "HeaderRegexp(`Cookie`, `.*instance=a\\.b.*`)", "HeaderRegexp(`Cookie`, `(^|;\\s*)instance=\"?a\\.b\"?\\s*(;|$)`)", syntaxV3},
		{"beside a host", `Host("a.com") && HeadersRegexp("Cookie",".*instance=minion-1.*")`, `Host("a.com") && ` + exactOne, syntaxV3},
		{"two", `HeadersRegexp("Cookie","instance=minion-1") || HeadersRegexp("Cookie","instance=minion-1.*")`, exactOne + " || " + exactOne, syntaxV3},
		{"beside what only v2 knows", "Host(`a.com`, `b.com`) && HeadersRegexp(`Cookie`, `instance=m.*`)",
			"Host(`a.com`, `b.com`) && HeadersRegexp(`Cookie`, `(^|;\\s*)instance=\"?m\"?\\s*(;|$)`)", syntaxV2},
		{"under a negation", "!HeaderRegexp(`Cookie`, `.*instance=minion-1.*`)", "!HeaderRegexp(`Cookie`, `.*instance=minion-1.*`)", syntaxV3},
		{"another pattern", "HeaderRegexp(`Cookie`, `instance=minion-[0-9]+`)", "HeaderRegexp(`Cookie`, `instance=minion-[0-9]+`)", syntaxV3},
		{"another header", "HeaderRegexp(`X-Cookie`, `.*instance=minion-1.*`)", "HeaderRegexp(`X-Cookie`, `.*instance=minion-1.*`)", syntaxV3},
		{"inside a string", "Path(`/HeaderRegexp(\"Cookie\", \"a=b\")`)", "Path(`/HeaderRegexp(\"Cookie\", \"a=b\")`)", syntaxV3},
		{"a path", "PathPrefix(`/minion-1`)", "(Path(`/minion-1`) || PathPrefix(`/minion-1/`))", syntaxV3},
		{"the site", "PathPrefix(`/`)", "PathPrefix(`/`)", syntaxV3},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, _, err := readRule(c.text, syntaxV3, true, true)
			if err != nil {
				t.Fatalf("readRule(%s) = %v", c.text, err)
			}
			if got.text != c.want || got.syntax != c.syntax {
				t.Errorf("%s became %s (%s), want %s (%s)", c.text, got.text, got.syntax, c.want, c.syntax)
			}
		})
	}
}

func TestARuleOfV2ForTheCookieAloneBecomesOneOfV3(t *testing.T) {
	got, warnings, err := readRule(`HeadersRegexp("Cookie",".*instance=minion-1.*")`, syntaxV2, false, false)
	if err != nil || got.syntax != syntaxV3 || len(warnings) != 1 {
		t.Errorf("readRule() = %+v, %v, %v, want a rule of v3 and one warning", got, warnings, err)
	}
}

func TestPrioritiesRankAsPeopleExpect(t *testing.T) {
	ranked := []string{ // each above the next
		"Host(`a.com`) && HeaderRegexp(`Cookie`, `(^|;\\s*)instance=\"?m\"?\\s*(;|$)`) && (Path(`/x`) || PathPrefix(`/x/`))",
		"Host(`a.com`) && HeaderRegexp(`Cookie`, `(^|;\\s*)instance=\"?m\"?\\s*(;|$)`)",
		"Host(`a.com`) && (Path(`/x/y/z`) || PathPrefix(`/x/y/z/`))",
		"(Host(`a.com`) || Host(`some.very.long.name.in.a.list.of.many.hosts.example.com`)) && (Path(`/x`) || PathPrefix(`/x/`))",
		"Host(`a.com`)",
		"Host(`a.b`)",
		"HeaderRegexp(`Cookie`, `(^|;\\s*)instance=\"?m\"?\\s*(;|$)`) && (Path(`/some/long/path/below`) || PathPrefix(`/some/long/path/below/`))",
		"HeaderRegexp(`Cookie`, `(^|;\\s*)instance=\"?m\"?\\s*(;|$)`)",
		"PathPrefix(`/x/y`)",
		"PathPrefix(`/x`)",
		"Host(`*`)",
	}
	last := probePriority
	for _, text := range ranked {
		parsed, err := parseRule(text, syntaxV3)
		if err != nil {
			t.Fatal(err)
		}
		got := priorityOf("service", "router", parsed)
		if got >= last || got <= catchAllPriority+1 || got%2 != 0 {
			t.Errorf("%s has the priority %d, want an even one below %d", text, got, last)
		}
		last = got
	}
	if highest := userPriority("service", "router", maxUserPriority); highest+1 >= probePriority {
		t.Errorf("labels can ask for %d, above the probe", highest)
	}
}
