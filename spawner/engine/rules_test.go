package engine

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
)

func TestRestartsWaitLongerEachTimeUpToACap(t *testing.T) {
	want := []time.Duration{0, 500 * time.Millisecond, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute}
	for n, wait := range want {
		if got := backoff(n); got != wait {
			t.Errorf("restart %d waits %s, want %s", n, got, wait)
		}
	}
	for n, wait := range map[int]time.Duration{-1: 0, 1000: time.Minute} {
		if got := backoff(n); got != wait {
			t.Errorf("restart %d waits %s, want %s", n, got, wait)
		}
	}
}

func TestRestartsAreCountedSinceALongLifeOrWithinAWindow(t *testing.T) {
	const short, long = 5 * time.Second, 31 * time.Second
	for name, test := range map[string]struct {
		limit fleet.RestartLimit
		lives []time.Duration // from one end to the next
		over  int             // the first end that is one too many, from 0; -1 = none
	}{
		"the default allows six":          {fleet.RestartLimit{}, []time.Duration{short, short, short, short, short, short, short}, 6},
		"a long life begins anew":         {fleet.RestartLimit{}, []time.Duration{short, short, short, short, short, short, long, short}, -1},
		"attempts of one's own":           {fleet.RestartLimit{Attempts: 2}, []time.Duration{short, short, short}, 2},
		"a window counts long lives too":  {fleet.RestartLimit{Attempts: 2, Window: fleet.Duration(10 * time.Minute)}, []time.Duration{long, long, long}, 2},
		"a window forgets what is before": {fleet.RestartLimit{Attempts: 2, Window: fleet.Duration(time.Minute)}, []time.Duration{long, long, long, long, long}, -1},
	} {
		var counted tries
		now, over := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), -1
		for n, lived := range test.lives {
			now = now.Add(lived)
			if _, tooMany := counted.again(test.limit, lived, now); tooMany && over < 0 {
				over = n
			}
		}
		if over != test.over {
			t.Errorf("%s: given up at end %d, want %d", name, over, test.over)
		}
	}
}

func TestIdleIsJudgedFromEvidenceAndDoubtIsUse(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	idle := evidence{after: time.Minute, awake: now.Add(-time.Hour), known: true}
	with := func(change func(*evidence)) evidence {
		e := idle
		change(&e)
		return e
	}
	for name, test := range map[string]struct {
		evidence evidence
		idle     bool
		again    time.Duration
		says     string
	}{
		"nothing for an hour":          {idle, true, 0, ""},
		"no policy":                    {with(func(e *evidence) { e.after = 0 }), false, time.Minute, "sleep.after"},
		"a request is held":            {with(func(e *evidence) { e.held = 2 }), false, time.Second, "2 requests"},
		"the counters are unknown":     {with(func(e *evidence) { e.known = false }), false, 5 * time.Second, "counters"},
		"counted 20 s ago":             {with(func(e *evidence) { e.counted = now.Add(-20 * time.Second) }), false, 40 * time.Second, "20s ago"},
		"held 59 s ago":                {with(func(e *evidence) { e.lastHeld = now.Add(-59 * time.Second) }), false, time.Second, "59s ago"},
		"woke a moment ago":            {with(func(e *evidence) { e.awake = now }), false, time.Minute, "0s ago"},
		"used exactly the policy ago":  {with(func(e *evidence) { e.counted = now.Add(-time.Minute) }), true, 0, ""},
		"counted by a clock before us": {with(func(e *evidence) { e.counted = now.Add(time.Second) }), false, 61 * time.Second, "used"},
	} {
		t.Run(name, func(t *testing.T) {
			got := test.evidence.judge(now)
			if got.idle != test.idle || got.again != test.again || !strings.Contains(got.reason, test.says) {
				t.Errorf("got %+v", got)
			}
		})
	}
}

func TestOnlyInboundConnectionsFromOutsideAreUse(t *testing.T) {
	from := func(remote string, inbound bool) fleet.Connection {
		return fleet.Connection{Remote: netip.MustParseAddrPort(remote), Inbound: inbound}
	}
	for name, test := range map[string]struct {
		connection fleet.Connection
		used       bool
	}{
		"of an edge":                   {from("10.1.0.9:4000", true), true},
		"of a host by IPv6":            {from("[fd00::1]:4000", true), true},
		"of an edge by mapped IPv4":    {from("[::ffff:10.1.0.9]:4000", true), true},
		"to a database":                {from("10.1.0.9:5432", false), false},
		"a check from inside":          {from("127.0.0.1:4000", true), false},
		"a check from inside by IPv6":  {from("[::1]:4000", true), false},
		"a check by mapped loopback":   {from("[::ffff:127.0.0.1]:4000", true), false},
		"its own call to itself, out":  {from("127.0.0.1:8080", false), false},
		"silent for long, and inbound": {fleet.Connection{Remote: netip.MustParseAddrPort("10.1.0.9:1"), Inbound: true, LastRecv: fleet.Duration(time.Hour)}, true},
	} {
		if got := len(inUse([]fleet.Connection{test.connection})) == 1; got != test.used {
			t.Errorf("%s: in use %v, want %v", name, got, test.used)
		}
	}
}

func TestWhatAServiceNeedsMayNotLeadBackToIt(t *testing.T) {
	needing := func(name string, needs ...string) fleet.Spec {
		return fleet.Spec{Name: name, Wake: fleet.Wake{Needs: needs}}
	}
	for name, test := range map[string]struct {
		spec   fleet.Spec
		others []fleet.Spec
		chain  string
	}{
		"nothing":                    {needing("a"), nil, ""},
		"one that is unknown":        {needing("a", "b"), nil, ""},
		"itself":                     {needing("a", "a"), nil, "a → a"},
		"one that needs it":          {needing("a", "b"), []fleet.Spec{needing("b", "a")}, "a → b → a"},
		"by two":                     {needing("a", "b"), []fleet.Spec{needing("b", "c"), needing("c", "a")}, "a → b → c → a"},
		"a circle of others":         {needing("a", "b"), []fleet.Spec{needing("b", "c"), needing("c", "b")}, ""},
		"two ways to the same":       {needing("a", "b", "c"), []fleet.Spec{needing("b", "d"), needing("c", "d"), needing("d")}, ""},
		"the second of two":          {needing("a", "b", "c"), []fleet.Spec{needing("b"), needing("c", "a")}, "a → c → a"},
		"what it is now, not before": {needing("a"), []fleet.Spec{needing("b", "a")}, ""},
	} {
		if got := needsItself(test.spec, test.others); got != test.chain {
			t.Errorf("%s: %q, want %q", name, got, test.chain)
		}
	}
}

func TestNamesThatReadLikeReplicasAreTold(t *testing.T) {
	for _, test := range []struct {
		name, service string
		is            bool
	}{
		{"web-0", "web", true}, {"web-12", "web", true}, {"web-a", "web", false}, {"web-", "web", false}, {"web", "web", false},
		{"web-1a", "web", false}, {"webs-0", "web", false}, {"web-0-1", "web", false}, {"web-0-1", "web-0", true}, {"my-web-0", "web", false},
	} {
		if got := replicaOf(test.name, test.service); got != test.is {
			t.Errorf("%s of %s: %v", test.name, test.service, got)
		}
	}
}

func TestAHostPortIsHeldByAddressAndProtocol(t *testing.T) {
	for name, test := range map[string]struct {
		mine, theirs fleet.Port
		taken        bool
	}{
		"the same everywhere":           {fleet.Port{HostPort: 80}, fleet.Port{HostPort: 80}, true},
		"another port":                  {fleet.Port{HostPort: 80}, fleet.Port{HostPort: 81}, false},
		"not published":                 {fleet.Port{}, fleet.Port{}, false},
		"tcp is the default":            {fleet.Port{HostPort: 80, Protocol: "tcp"}, fleet.Port{HostPort: 80}, true},
		"udp beside tcp":                {fleet.Port{HostPort: 53, Protocol: "udp"}, fleet.Port{HostPort: 53, Protocol: "tcp"}, false},
		"two addresses":                 {fleet.Port{HostPort: 80, HostIP: "10.0.0.1"}, fleet.Port{HostPort: 80, HostIP: "10.0.0.2"}, false},
		"one address":                   {fleet.Port{HostPort: 80, HostIP: "10.0.0.1"}, fleet.Port{HostPort: 80, HostIP: "10.0.0.1"}, true},
		"one address beside everywhere": {fleet.Port{HostPort: 80, HostIP: "10.0.0.1"}, fleet.Port{HostPort: 80, HostIP: "0.0.0.0"}, true},
		"everywhere by IPv6":            {fleet.Port{HostPort: 80, HostIP: "::"}, fleet.Port{HostPort: 80, HostIP: "10.0.0.1"}, true},
		"one address in two spellings":  {fleet.Port{HostPort: 80, HostIP: "fd00::1"}, fleet.Port{HostPort: 80, HostIP: "fd00:0::1"}, true},
	} {
		if got := taken(test.mine, fleet.Spec{Ports: []fleet.Port{test.theirs}}); got != test.taken {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestOnlyReferencesThatCanMoveAskTheRegistry(t *testing.T) {
	for _, test := range []struct {
		image string
		pull  fleet.PullPolicy
		asks  bool
	}{
		{"app", fleet.PullMissing, true}, {"app:latest", fleet.PullMissing, true}, {"app:1", fleet.PullMissing, false},
		{"reg:5000/app", fleet.PullMissing, true}, {"reg:5000/app:1", fleet.PullMissing, false}, {"reg:5000/app:latest", fleet.PullMissing, true},
		{"app@sha256:0", fleet.PullMissing, false}, {"app:1", fleet.PullAlways, true}, {"app:latest", fleet.PullNever, false}, {"app", fleet.PullNever, false},
	} {
		if got := asksRegistry(fleet.Spec{Image: test.image, Pull: test.pull}); got != test.asks {
			t.Errorf("%s with %s: %v", test.image, test.pull, got)
		}
	}
}

func TestStrangersGetTheLastSixteenthOfASubnet(t *testing.T) {
	for subnet, want := range map[string]string{
		"10.192.0.0/20": "10.192.15.0/24", "10.9.0.0/24": "10.9.0.240/28", "172.20.0.0/16": "172.20.240.0/20",
		"10.9.0.128/28": "10.9.0.140/30", "10.9.0.0/29": "10.9.0.4/30", "10.0.0.0/8": "10.240.0.0/12", "10.192.3.7/20": "10.192.15.0/24",
	} {
		got := strangersRange(netip.MustParsePrefix(subnet))
		if got.String() != want {
			t.Errorf("%s: %s, want %s", subnet, got, want)
		}
		if !netip.MustParsePrefix(subnet).Overlaps(got) || got != got.Masked() {
			t.Errorf("%s: %s is no range of it", subnet, got)
		}
	}
}

func TestCandidateSubnetsLieSideBySideInOurRange(t *testing.T) {
	n := networks{engine: &Engine{}}
	ours := netip.MustParsePrefix("10.192.0.0/12")
	seen := map[netip.Prefix]bool{}
	for i := range subnetCandidates {
		subnet := n.candidate(i)
		if !ours.Contains(subnet.Addr()) || subnet != subnet.Masked() || seen[subnet] {
			t.Errorf("candidate %d is %s", i, subnet)
		}
		seen[subnet] = true
	}
	if first := n.candidate(0).String(); first != "10.192.0.0/20" {
		t.Errorf("the first is %s", first)
	}
	own := networks{engine: &Engine{config: Config{Subnet: netip.MustParsePrefix("172.30.0.0/16")}}}
	if got := own.candidate(0).String(); got != "172.30.0.0/16" {
		t.Errorf("the one that was asked for is not the first: %s", got)
	}
}

func TestTheHashOfASpecFollowsAllThatShapesItsContainers(t *testing.T) {
	base := fleet.DefaultSpec()
	base.Env = map[string]fleet.Secret{"A": "1", "B": "2"}
	hash := specHash(&base, "image")
	more := base
	more.Replicas = 9
	if specHash(&more, "image") != hash {
		t.Error("the number of replicas changes it")
	}
	secret := base
	secret.Env = map[string]fleet.Secret{"A": "1", "B": "3"}
	if specHash(&secret, "image") == hash {
		t.Error("a value of env does not change it")
	}
	shifted := base
	shifted.Env = map[string]fleet.Secret{"A": "1\x00B=2"}
	if specHash(&shifted, "image") == hash {
		t.Error("two variables hash like one")
	}
	check := fleet.HealthCheck{Type: fleet.CheckHTTP, Headers: map[string]fleet.Secret{"Authorization": "Bearer 1"}}
	asked, askedElse := base, base
	asked.HealthCheck = &check
	other := check
	other.Headers = map[string]fleet.Secret{"Authorization": "Bearer 2"}
	askedElse.HealthCheck = &other
	if specHash(&asked, "image") == specHash(&askedElse, "image") {
		t.Error("the value of a check's header does not count")
	}
	if got := string(withHeaders([]byte(`{"health_check":{"headers":{"Authorization":"redacted"}},"labels":{"headers":"redacted"}}`), &check)); got != `{"health_check":{"headers":{"Authorization":"Bearer 1"}},"labels":{"headers":"redacted"}}` {
		t.Errorf("hashed is %s", got)
	}
	if specHash(&base, "other") == hash {
		t.Error("the image's content does not change it")
	}
}
