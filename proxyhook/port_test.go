package proxyhook

import (
	"strings"
	"testing"

	"edgespawner/fleet"
)

func TestPortIsFoundInItsOrder(t *testing.T) {
	const label = "traefik.http.services.x.loadbalancer.server.port"
	ports := func(ports ...fleet.Port) func(*fleet.Spec) { return func(s *fleet.Spec) { s.Ports = ports } }
	tcp := func(port int) fleet.Port { return fleet.Port{ContainerPort: port} }
	route := withHosts("a.com")
	cases := []struct {
		name    string
		spec    *fleet.Spec
		exposed []int
		want    int
		field   string
	}{
		{"the route's", serviceSpec("s", withRoute(fleet.Route{Port: 1, Hosts: []string{"a.com"}}), withLabels(label, "2"), ports(tcp(3))), []int{4}, 1, ""},
		{"the label's", serviceSpec("s", route, withLabels(label, "2"), ports(tcp(3))), []int{4}, 2, ""},
		{"a label in other letters", serviceSpec("s", route, withLabels("traefik.HTTP.services.x.loadBalancer.server.port", "2")), nil, 2, ""},
		{"the spec's only", serviceSpec("s", route, ports(tcp(3), tcp(3), fleet.Port{ContainerPort: 53, Protocol: "udp"})), []int{4, 5}, 3, ""},
		{"the image's only", serviceSpec("s", route), []int{4}, 4, ""},
		{"none needed", serviceSpec("s"), nil, 0, ""},
		{"none needed of several", serviceSpec("s", ports(tcp(1), tcp(2))), []int{4, 5}, 0, ""},
		{"broken label", serviceSpec("s", withLabels(label, "http")), nil, 0, "labels." + label},
		{"several in the spec", serviceSpec("s", route, ports(tcp(1), tcp(2))), []int{4}, 0, "route.port"},
		{"several in the image", serviceSpec("s", route), []int{4, 5}, 0, "route.port"},
		{"none", serviceSpec("s", withLabels("traefik.http.routers.x.rule", "Host(`a.com`)")), nil, 0, "route.port"},
		{"an instance", minionCookie(1), nil, 9000, ""},
		{"an instance by its image", minionPath(1), []int{9000}, 9000, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := Port(*c.spec, c.exposed)
			if got != c.want || (err == nil) != (c.field == "") {
				t.Fatalf("Port() = %d, %v, want %d and field %q", got, err, c.want, c.field)
			}
			if err != nil {
				if field := strings.Join(fieldsOf(t, err, fleet.Invalid), " "); field != c.field {
					t.Errorf("field %s, want %s", field, c.field)
				}
			}
		})
	}
}
