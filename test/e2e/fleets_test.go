//go:build e2e

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"edgespawner/fleet"
	"edgespawner/test/stand"
)

func TestTwoFleetsOnOneEngineLeaveEachOtherAlone(t *testing.T) {
	t.Parallel()
	one, two := stand.Start(t), stand.Start(t)
	for _, s := range []*stand.Stand{one, two} { // the same names in both
		app := s.MockApp("web", "web.test")
		app.Env["CONNSTR"] = secret(s.FleetID)
		app.Replicas = 2
		s.Deploy(app)
	}
	mustAnswer := func() {
		t.Helper()
		for _, s := range []*stand.Stand{one, two} {
			for range 4 {
				s.Get("web.test", "/").MustBe(200).MustContain("connstr: " + s.FleetID)
			}
		}
	}
	mustAnswer()
	before := two.Listing()
	one.Sleep("web")
	one.Spawner.Restart()
	one.Restart("web")
	mustAnswer()
	one.Spawner.Kill()
	stand.Docker(t, append([]string{"rm", "-f"}, one.Containers("web", "")...)...)
	one.Spawner.Start()
	one.Spawner.WaitReady()
	mustAnswer()
	one.Remove("web")
	if left := one.Containers("web", ""); len(left) > 0 {
		t.Errorf("of the removed service are left: %v", left)
	}
	if after := two.Listing(); after != before {
		t.Errorf("the other fleet's containers were:\n%s\nand are:\n%s", before, after)
	}
	two.Get("web.test", "/").MustBe(200)
	one.Get("web.test", "/").MustBe(404)
}

func TestContainersAndNetworksOfStrangersAreLeftAlone(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	stranger, network := s.Name("stranger"), s.Name("theirs")
	stand.Docker(t, "network", "create", network)
	stand.Docker(t, "run", "-d", "--name", stranger, "--network", network, "--label", "origin=spawner", "--label", "spawner.service=web",
		"--env", "IDLE=0", stand.MockAppImage)
	stand.Docker(t, "run", "-d", "--name", "web-0-"+s.Suffix, "--env", "IDLE=0", stand.MockAppImage)
	t.Cleanup(func() {
		stand.Docker(t, "rm", "-f", stranger, "web-0-"+s.Suffix)
		stand.Docker(t, "network", "rm", network)
	})
	name := "web-" + s.Suffix
	app := s.MockApp(name, "web.test")
	app.Networks = []string{network}
	s.Deploy(app)
	s.Get("web.test", "/").MustBe(200)
	s.Sleep(name)
	s.Get("web.test", "/").MustBe(200)
	s.Remove(name)
	s.Spawner.Restart()
	for _, container := range []string{stranger, "web-0-" + s.Suffix} {
		if state := stand.StateOf(t, container); state != "running" {
			t.Errorf("%s is %s", container, state)
		}
	}
	if on := stand.Inspect(t, stranger, "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}"); strings.TrimSpace(on) != network {
		t.Errorf("the stranger is on the networks %s", on)
	}
}

func TestNetworksComeWithTheirServicesAndGo(t *testing.T) {
	t.Parallel()
	s := stand.Start(t, stand.Boxed())
	s.Deploy(s.MockApp("steady", "steady.test"))
	traffic := s.StartLoad(stand.Load{Host: "steady.test", Rate: 50})
	for round := range 3 {
		var names []string
		for _, network := range []string{"a-first", "m-middle", "z-last"} {
			name := fmt.Sprintf("%s%d", network[2:], round)
			app := s.MockApp(name, name+".test")
			app.Networks = []string{s.Name(network)}
			s.Deploy(app)
			s.Get(name+".test", "/").MustBe(200)
			names = append(names, name)
		}
		s.Sleep(names[0])
		s.Get(names[0]+".test", "/").MustBe(200)
		for _, name := range names {
			s.Remove(name)
		}
		stand.Eventually(t, 60*time.Second, "the networks are gone", func() error {
			left := stand.Docker(t, "network", "ls", "--format", "{{.Name}}", "--filter", "name="+s.Suffix)
			if names := strings.Fields(left); !slices.Equal(names, []string{s.Network}) {
				return fmt.Errorf("there are %v", names)
			}
			return nil
		})
	}
	traffic.Stop().MustBeClean(t)
}

func TestAnEdgeOnTheHostsOwnNetworkIsInNobodysWay(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	edge := s.Name("hosted")
	stand.Docker(t, "run", "-d", "--name", edge, "--network", "host", "--label", "spawner.role=edge", "--label", "spawner.fleet="+s.FleetID,
		"--entrypoint", "/sandbox", stand.SandboxImage)
	t.Cleanup(func() { stand.Docker(t, "rm", "-f", edge) })
	s.Deploy(s.MockApp("web", "web.test"))
	s.Get("web.test", "/").MustBe(200)
}

func TestANetworkThatIsTakenAwayIsMadeAgainByTheWake(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	app := s.MockApp("web", "web.test")
	app.Networks = []string{s.Name("extra")}
	app.Sleep.Mode = fleet.SleepDeep
	s.Deploy(app)
	s.Sleep("web")
	network := stand.Docker(t, "network", "ls", "--format", "{{.Name}}", "--filter", "name=extra-"+s.Suffix)
	stand.Docker(t, "network", "rm", network)
	s.Get("web.test", "/").MustBe(200)
}

func TestAFixedAddressIsNobodyElsesWhileItsServiceSleeps(t *testing.T) {
	t.Parallel()
	s := stand.Start(t)
	s.Deploy(s.MockApp("first", "first.test"))
	address := s.Service("first").Detail[0].Address
	app := s.MockApp("deep", "deep.test")
	app.Sleep.Mode = fleet.SleepDeep
	s.Deploy(app)
	deep := s.Service("deep").Detail[0].Address
	s.Sleep("deep")
	s.Remove("first")
	for i := range 5 {
		name := fmt.Sprintf("other%c", 'a'+i)
		s.Deploy(s.MockApp(name, name+".test"))
		if got := s.Service(name).Detail[0].Address; got == deep || got == address && i == 0 {
			t.Errorf("%s got the address %s, which was or is another's", name, got)
		}
	}
	s.Get("deep.test", "/").MustBe(200).MustContain("hostname: deep-0")
	if now := s.Service("deep").Detail[0].Address; now != deep {
		t.Errorf("deep had the address %s and has %s", deep, now)
	}
}
