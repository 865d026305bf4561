// Package fleet holds the nouns of the product: the spec that a user asks for,
// the services, replicas, nodes, jobs and events that come of it, and the error
// that a person sees. Their JSON tags are the wire format of the private API.
//
// It checks what can be known from a spec alone (Validate) and does nothing
// else: no I/O, no clock, and it imports nothing of this module.
package fleet
