// Package v1 stands in for the package of the same path; see package rest of client-go.
package v1

// GetOptions are those of a question about one object.
type GetOptions struct{}
