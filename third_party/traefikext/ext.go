// Package ext stands in for Traefik's nested module of the same path, which is
// in no published module zip. Traefik embeds these two types in its dynamic
// configuration so that forks can extend them; stock Traefik leaves them empty.
package ext

// HTTP extends the HTTP part of a dynamic configuration: with nothing.
type HTTP struct{}

// Router extends a router: with nothing.
type Router struct{}
