// Package stand sets up a whole installation for one test or benchmark and
// takes it away again: a spawner as a process of the host with its own state,
// fleet, ports and network, one or more real Traefik processes before it, and
// traffic through them. Tests that use it read as prose:
//
//	s := stand.Start(t)
//	s.Deploy(s.MockApp("web", "web.test"))
//	s.Sleep("web")
//	s.Get("web.test", "/").MustBe(200)
//
// It drives the built binaries, a real Docker engine and a stock Traefik, and
// knows nothing of the product's insides.
package stand
